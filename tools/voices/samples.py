"""Spoken samples of voices: rendered once with Kokoro, kept in the cache, and what is measured on them.

python -m sayso.tools.voices.samples    # writes the embeddings that come with sayso anew
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sayso.items import Audio

if TYPE_CHECKING:
    from sayso.tools.voices.library import VoiceLibrary

SENTENCES = (
    "The train to Boston leaves from platform four, a little before noon.",
    "I would rather walk by the river this evening than sit inside.",
    "Please bring three apples, some bread and a bottle of water.",
)
"""Written for this. Every voice says them in English, so that nothing but the voice differs."""

READS_ITSELF = ("en", "zh")
"""Languages of voices that read English text without help."""


class Speaker(Protocol):
    """Whatever speaks a sentence in a voice; `sayso.speech.tts.kokoro.Kokoro` is one."""

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> Audio:
        """``text`` in ``voice``."""
        ...


@cache
def speaker() -> Speaker:
    """Kokoro from the store; one a process, loaded at its first sentence.

    Raises:
        ModelMissingError: It is not on this machine.
    """
    from sayso.models.embedded import synthesizer

    return synthesizer("kokoro", threads=2)


def spoken_name(name: str, language: str, conversation: str = "en") -> str:
    """What `Context.speak_as` takes so that a voice speaks the language of the conversation.

    Args:
        name: The voice.
        language: Its own language.
        conversation: What is spoken in the conversation.
    """
    own = language.split("-")[0]
    return name if own in READS_ITSELF or own == conversation.split("-")[0] else f"{name}:1@en-US"


def render(voice: Speaker, spec: str) -> Audio:
    """The three sentences in a voice or mixture, about 11 s."""
    from sayso.speech.audio import concatenate
    from sayso.speech.tts.base import silence

    pieces = [voice.synthesize(sentence, spec) for sentence in SENTENCES]
    pause = silence(pieces[0].sample_rate_hz, 0.3)
    return concatenate([part for piece in pieces for part in (piece, pause)][:-1])


def make_samples(library: VoiceLibrary, progress: Callable[[str, int, int], None]) -> int:
    """Render the samples that are not in the cache yet (about two minutes for all of them on two cores).

    Args:
        library: Of which voices, and where samples are kept.
        progress: Called with a voice's name, how many are there, and how many there will be.

    Returns:
        How many were made.

    Raises:
        ModelMissingError: Kokoro is not on this machine.
    """
    from sayso.speech.audio import save

    voices = [entry for entry in library.entries() if entry.kind == "voice"]
    library.samples.mkdir(parents=True, exist_ok=True)
    made = 0
    for done, entry in enumerate(voices):
        path = library.samples / f"{entry.name}.flac"
        if not path.is_file():
            save(path, render(speaker(), spoken_name(entry.name, entry.language)))
            made += 1
        progress(entry.name, done + 1, len(voices))
    return made


def write_embeddings(target: Path) -> None:
    """Make the embeddings of the published voices anew from their samples."""
    from sayso.speech.audio import load
    from sayso.tools.voices.embed import speaker_embedder
    from sayso.tools.voices.library import open_library

    library = open_library()
    make_samples(library, lambda name, done, total: print(f"{done} of {total}  {name}"))
    voices = [entry.name for entry in library.entries() if entry.kind == "voice"]
    vectors = {name: speaker_embedder().embed(load(library.samples / f"{name}.flac")) for name in voices}
    source = "The artefact speaker-embedder on sayso.tools.voices.samples of each Kokoro voice; float16, base64."
    rows = {name: base64.b64encode(vector.astype("<f2").tobytes()).decode() for name, vector in vectors.items()}
    target.write_text(json.dumps({"source": source, "voices": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    import sayso.speech.tts

    write_embeddings(Path(sayso.speech.tts.__path__[0]) / "kokoro_embeddings.json")
