"""Which voices a checkpoint speaks with: its default clips, and the clips that the user added. Knows no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from sayso.errors import ModelMissingError
from sayso.items import Audio
from sayso.models.store import Store
from sayso.voices import Voice, clip_voices

DEFAULT_VOICES: Final = (
    Voice("default_female", gender="female", description="the default female voice"),
    Voice("default_male", gender="male", description="the default male voice"),
)
"""As StepFun's examples name them; the clips lie beside its code, not in the checkpoint."""
CLIPS: Final = "step-audio-voices"
"""The artefact that holds them."""
PROMPT_S: Final = 15.0
"""So much of a clip is used: the reference overflows at 17 s, and each second takes 65 MB beside the model."""


def default_clips(token2wav: Path) -> dict[str, Path]:
    """The default voices' clips beside a checkpoint: in the folder, its ``assets``, or those of the folder above."""
    return _found(token2wav, token2wav / "assets", token2wav.parent / "assets")


def voices_of(checkpoint: Path) -> tuple[Voice, ...]:
    """The voices of a checkpoint, the default ones first."""
    clips = _pulled() | default_clips(checkpoint / "token2wav")
    defaults = [replace(voice, clip=clips[voice.name]) for voice in DEFAULT_VOICES if voice.name in clips]
    return (*defaults, *clip_voices())


def read_clip(path: Path) -> Audio:
    """A clip as it is used: at most `PROMPT_S` of it.

    Raises:
        AudioError: The file cannot be used.
    """
    from sayso.speech.audio import load

    audio = load(path)
    return Audio(audio.samples[: round(PROMPT_S * audio.sample_rate_hz)], audio.sample_rate_hz)


def no_voice() -> ModelMissingError:
    """What to say where a checkpoint has no voice at all."""
    return ModelMissingError(
        "There is no voice to speak with: StepFun's default clips are not here, and none was added.",
        f"Fetch them with: sayso models pull {CLIPS}. Or add one with: sayso voices add",
    )


def _pulled() -> dict[str, Path]:
    """The default clips that the store holds."""
    store = Store()
    return _found(store.path(CLIPS)) if store.has(CLIPS) else {}


def _found(*folders: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for voice in DEFAULT_VOICES:
        places = (folder / f"{voice.name}.wav" for folder in folders)
        path = next((path for path in places if path.is_file()), None)
        if path is not None:
            found[voice.name] = path
    return found
