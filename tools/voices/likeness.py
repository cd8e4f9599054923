"""Which of the synthesiser's voices is most similar to a clip, with the real models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sayso.errors import UsageError
from sayso.items import Audio
from sayso.tools.voices.library import Entry, VoiceLibrary
from sayso.tools.voices.mixture import PROBE, Fit, fit

if TYPE_CHECKING:
    from sayso.tools.voices.embed import Embedding


def like_audio(audio: Audio, *, stopped: Callable[[], bool] = lambda: False) -> Fit:
    """The voice or mixture that is most similar to somebody's speech; some seconds of work.

    Raises:
        AudioError: It is too short, too long, or holds no speech.
        ModelMissingError: Kokoro or the speaker embedder is not on this machine.
    """
    from sayso.tools.voices.clips import require_speech
    from sayso.tools.voices.embed import speaker_embedder

    speech = require_speech(audio)
    return like_embedding(speaker_embedder().embed(speech), stopped=stopped)


def like_clip(library: VoiceLibrary, entry: Entry, *, stopped: Callable[[], bool] = lambda: False) -> Fit:
    """The same for a clip of the library; it is looked for once and remembered.

    Raises:
        UsageError: The entry is not a clip of a voice.
        ModelMissingError: Kokoro or the speaker embedder is not on this machine.
    """
    if entry.speaks_as and entry.likeness is not None:
        return Fit(entry.speaks_as, entry.likeness, entry.speaks_as, entry.likeness)
    embedding = library.embedding(entry.name)
    if embedding is None:
        embedding = _embedding(library, entry)
    found = like_embedding(embedding, stopped=stopped)
    if not stopped():
        library.set_likeness(entry.name, found.voice, found.likeness)
    return found


def _embedding(library: VoiceLibrary, entry: Entry) -> Embedding:
    """The embedding of a clip that was added before the embedder was here."""
    from sayso.speech.audio import load
    from sayso.tools.voices.clips import require_speech
    from sayso.tools.voices.embed import speaker_embedder

    path = library.path(entry)
    if entry.kind != "clip" or path is None:
        raise UsageError(f"{entry.name} is no clip of a voice.", "Add it again with: sayso voices add")
    embedding = speaker_embedder().embed(require_speech(load(path)))
    library.set_embedding(entry.name, embedding)
    return embedding


def like_embedding(
    target: Embedding, *, without: Iterable[str] = (), stopped: Callable[[], bool] = lambda: False
) -> Fit:
    """The same for an embedding.

    Args:
        target: Of the clip.
        without: Voices that may not be used.
        stopped: See `sayso.tools.voices.mixture.fit`.
    """
    from sayso.speech.tts.kokoro_voices import measured_voices
    from sayso.tools.voices.embed import speaker_embedder
    from sayso.tools.voices.samples import READS_ITSELF, speaker
    from sayso.tools.voices.stock import voice_embeddings

    left_out = frozenset(without)
    usable = {
        name: embedding
        for name, embedding in voice_embeddings().items()
        if name not in left_out and measured_voices()[name].language.split("-")[0] in READS_ITSELF
    }

    def speak(spec: str) -> Audio:
        return speaker().synthesize(PROBE, spec)

    return fit(target, usable, speak, speaker_embedder().embed, stopped=stopped)
