"""Clips that users add: checked, measured and copied into the library."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sayso.errors import AudioError, ModelMissingError, UsageError
from sayso.items import Audio
from sayso.tools.voices.library import Entry, VoiceLibrary
from sayso.tools.voices.words import parse_wish
from sayso.voices import Voice, write_facts

if TYPE_CHECKING:
    from sayso.tools.voices.embed import Embedding, SpeakerEmbedder

MIN_SPEECH_S = 2.0
MAX_CLIP_S = 60.0
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_TEXT_CHARS = 500
MIN_RATE_HZ = 16_000
"""Speech models hear up to 8 kHz: below this rate a voice sounds as over a telephone."""
MAX_CLIPPED = 0.005
"""Share of samples at full scale; a good recording has none."""
MIN_LEVEL_DB = -45.0
"""Least power of the speech against full scale: quieter, and it is the noise that would be imitated."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_UNSTATED = frozenset({"", "no", "none", "unknown", "n/a", "na", "?", "-", "not stated", "unlicensed", "tbd"})


def stated(text: str) -> bool:
    """Whether a licence or a consent says anything: "unknown" does not."""
    return text.strip().casefold().rstrip(".!") not in _UNSTATED


def may_speak(entry: Entry) -> bool:
    """Whether the agent may speak like this entry: licence and consent are stated."""
    return stated(entry.licence) and stated(entry.consent)


def add_clip(
    library: VoiceLibrary,
    source: Path,
    description: str,
    *,
    licence: str = "",
    consent: str = "",
    kind: Literal["clip", "sound"] = "clip",
    name: str | None = None,
    transcript: str = "",
    embedder: SpeakerEmbedder | None = None,
) -> Entry:
    """Add somebody's speech, or a sound, from a file.

    The sound is decoded and written anew under a name of our own: nothing of the file but its samples is kept. Speech
    whose licence and consent are stated becomes a voice of models that speak by example.

    Args:
        library: Where to.
        source: Any file that libsndfile reads, at most `MAX_CLIP_S`; speech: at least `MIN_SPEECH_S` of it.
        description: By which it is found.
        licence: Under which it may be used. Without it the clip can be found and heard, but not spoken with.
        consent: How the speaker agreed to be imitated; likewise.
        kind: ``clip``: somebody's speech; ``sound``: anything else.
        name: Lower-case letters, digits and hyphens; made from the description if None.
        transcript: What is said, for the pace.
        embedder: Compares voices; None: the store's, and later where it is not here. Not asked for a sound.

    Raises:
        UsageError: The file, name or description cannot be used, or the name is taken.
        AudioError: The sound is broken, too short or too long; or of a voice: there is no speech in it, it is too
            quiet or overdriven, or its rate is too low.
    """
    from sayso.speech.audio import save

    description = " ".join(description.split())
    if not description or len(description) > MAX_TEXT_CHARS:
        raise UsageError(f"A description has 1 to {MAX_TEXT_CHARS} characters.", "Say what one hears.")
    name = _free_name(library, name, description)
    audio = _load(source)
    entry, embedding = Entry(name, kind, description), None
    if kind == "clip":
        speech = require_speech(audio)
        _check_recording(audio, speech)
        entry = _measured(name, description, speech, transcript)
        embedding = _embedding(speech, embedder)
    file = f"{name}-{secrets.token_hex(4)}.flac"
    entry = replace(entry, seconds=round(audio.seconds, 2), licence=licence.strip(), consent=consent.strip(), file=file)
    save(library.clips / file, audio)
    try:
        library.add(entry, embedding)
    except BaseException:
        (library.clips / file).unlink(missing_ok=True)
        raise
    if kind == "clip" and may_speak(entry):
        write_facts(library.clips / file, _voice(entry), licence=entry.licence, consent=entry.consent)
    return entry


def require_speech(audio: Audio) -> Audio:
    """The part of a clip from its first to its last speech.

    Raises:
        AudioError: There is less than `MIN_SPEECH_S` of speech, or more than `MAX_CLIP_S` of sound.
    """
    from sayso.speech.vad import trim

    if audio.seconds > MAX_CLIP_S:
        raise AudioError(
            f"The clip is {audio.seconds:.0f} s long; at most {MAX_CLIP_S:.0f} s are taken.", "Cut out a part."
        )
    speech = trim(audio, before_ms=0, after_ms=0)
    if speech is None or speech.seconds < MIN_SPEECH_S:
        found = 0.0 if speech is None else speech.seconds
        raise AudioError(
            f"There are {found:.1f} s of speech in the clip; {MIN_SPEECH_S:.0f} s are needed to compare voices.",
            "Give a longer clip of one person speaking.",
        )
    return speech


def _check_recording(audio: Audio, speech: Audio) -> None:
    """Refuse what no voice can be made of."""
    import numpy as np

    if audio.sample_rate_hz < MIN_RATE_HZ:
        raise AudioError(
            f"The clip has {audio.sample_rate_hz} samples a second; a voice needs {MIN_RATE_HZ}.",
            "Give the recording as it was made, not as it went over a telephone.",
        )
    clipped = float(np.mean(np.abs(speech.samples) >= 0.999))
    if clipped > MAX_CLIPPED:
        raise AudioError(
            f"The clip is overdriven: {clipped:.1%} of its speech is at full scale.", "Record it again, less loudly."
        )
    level_db = 10 * float(np.log10(np.mean(np.square(speech.samples, dtype=np.float64)) + 1e-12))
    if level_db < MIN_LEVEL_DB:
        raise AudioError(
            f"The clip is too quiet: its speech is at {level_db:.0f} dB of full scale; {MIN_LEVEL_DB:.0f} are needed.",
            "Record it again, nearer to the microphone.",
        )


def _embedding(speech: Audio, embedder: SpeakerEmbedder | None) -> Embedding | None:
    from sayso.tools.voices.embed import speaker_embedder

    try:
        return (embedder or speaker_embedder()).embed(speech)
    except ModelMissingError:  # only mixtures need it, and they ask for it then
        return None


def _voice(entry: Entry) -> Voice:
    gender = entry.gender if entry.gender in ("female", "male") else "unknown"
    return Voice(entry.name, entry.language or "und", gender, entry.description)


def _load(source: Path) -> Audio:
    from sayso.speech.audio import load

    if not source.is_file():
        raise UsageError(f"There is no file {source}.", "Check the path.")
    if source.stat().st_size > MAX_FILE_BYTES:
        raise AudioError(f"{source} is larger than {MAX_FILE_BYTES >> 20} MiB.", "Cut out a minute of it.")
    audio = load(source)
    if audio.seconds > MAX_CLIP_S:
        raise AudioError(
            f"{source} is {audio.seconds:.0f} s long; at most {MAX_CLIP_S:.0f} s are taken.", "Cut out a part."
        )
    return audio


def _measured(name: str, description: str, speech: Audio, transcript: str) -> Entry:
    from sayso.tools.voices.measure import measure

    wish, figures = parse_wish(description), measure(speech, transcript)
    return Entry(
        name,
        "clip",
        description,
        gender=wish.gender or "",
        language=wish.language or "",
        note=next(iter(sorted(wish.notes)), ""),
        pitch_hz=round(figures.pitch_hz, 1),
        pitch_sd_semitones=round(figures.pitch_sd_semitones, 2),
        words_per_s=None if figures.words_per_s is None else round(figures.words_per_s, 2),
        centroid_hz=round(figures.centroid_hz),
    )


def _free_name(library: VoiceLibrary, name: str | None, description: str) -> str:
    if name is not None:
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name for a clip.", "Use up to 40 of a-z, 0-9 and hyphens.")
        if library.entry(name) is not None:
            raise UsageError(f"There is an entry {name!r} already.", "Give another --name.")
        return name
    stem = re.sub(r"[^a-z0-9]+", "-", description.casefold()).strip("-")[:32].strip("-") or "clip"
    taken = {entry.name for entry in library.entries()}
    return next(free for number in range(1, len(taken) + 2) if (free := f"{stem}-{number}") not in taken)
