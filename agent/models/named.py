"""Models by name, for `sayso.agent.Agent.model` and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sayso.errors import ModelMissingError, UsageError
from sayso.models.base import VoiceModel
from sayso.settings import model_override, model_variable, models_root

STEP_AUDIO: Final = "step-audio-2-mini"
NAMES: Final = ("embedded", "embedded-small", STEP_AUDIO)


def named(name: str) -> VoiceModel:
    """The model called ``name``, or the one of the checkpoint folder ``name``; loaded when it is first asked.

    Args:
        name: One of `NAMES`, or the path of a checkpoint of Step-Audio 2.

    Raises:
        UsageError: There is no such model.
        ModelMissingError: Its files or packages are not here.
    """
    if name in ("embedded", "embedded-small"):
        from sayso.models.embedded import embedded_model

        return embedded_model(size="small" if name == "embedded-small" else "default")
    if name == STEP_AUDIO:
        return _step_audio(model_override(STEP_AUDIO) or _kept())
    if (Path(name) / "config.json").is_file():
        return _step_audio(Path(name))
    raise UsageError(
        f"There is no model {name!r}.", f"Models are: {', '.join(NAMES)}; or give the folder of a checkpoint."
    )


def _kept() -> Path:
    folder = models_root() / STEP_AUDIO
    if not (folder / "config.json").is_file():
        raise ModelMissingError(
            f"The checkpoint {STEP_AUDIO} is not here.",
            f"Download it from its publisher and set {model_variable(STEP_AUDIO)} to its folder.",
        )
    return folder


def _step_audio(folder: Path) -> VoiceModel:
    try:
        from sayso.models.step_audio2.loaded import Options
        from sayso.models.step_audio2.model import StepAudio2Model
    except ModuleNotFoundError as error:
        raise ModelMissingError(
            f"{STEP_AUDIO} needs the package {error.name}.", "Install it with: pip install 'sayso[step-audio]'"
        ) from error
    return StepAudio2Model(Options(folder))
