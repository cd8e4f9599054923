"""What the library holds from the start: the Kokoro voices with their measured figures, and the sounds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from sayso.speech.tts.kokoro_voices import MeasuredVoice, measured_voices
from sayso.tools.voices.library import Entry
from sayso.tools.voices.sounds import LICENCE, SOUNDS

if TYPE_CHECKING:
    from sayso.tools.voices.embed import Embedding

VOICE_LICENCE = "Apache-2.0"
_CONSENT = "a published synthetic voice"
_NOTES = {"whispers": "whisper", "sounds like a child": "child", "character voice": "character"}
_SANTA = "santa claus father christmas"


def stock() -> Iterator[tuple[Entry, str]]:
    """Each entry with the words that it is found by."""
    for voice in measured_voices().values():
        yield _voice(voice), f"{voice.name} {voice.note}{' ' + _SANTA if 'santa' in voice.name else ''}"
    for sound in SOUNDS:
        entry = Entry(
            sound.name, "sound", sound.description.partition(";")[0], licence=LICENCE, seconds=sound.render().seconds
        )
        yield entry, f"{sound.name} {sound.description}"


def _voice(voice: MeasuredVoice) -> Entry:
    return Entry(
        name=voice.name,
        kind="voice",
        description=voice.description,
        gender=voice.gender,
        language=voice.language,
        note=_NOTES.get(voice.note, ""),
        pitch_hz=voice.pitch_hz,
        pitch_sd_semitones=voice.pitch_sd_semitones,
        words_per_s=voice.words_per_s,
        centroid_hz=voice.centroid_hz,
        licence=VOICE_LICENCE,
        consent=_CONSENT,
        speaks_as=voice.name,
        likeness=1.0,
    )


@cache
def voice_embeddings() -> Mapping[str, Embedding]:
    """The speaker embeddings of the Kokoro voices (source: ``kokoro_embeddings.json``)."""
    import numpy as np

    from sayso.tools.voices.embed import mean_direction

    text = resources.files("sayso.speech.tts").joinpath("kokoro_embeddings.json").read_text("utf-8")
    vectors: dict[str, str] = json.loads(text)["voices"]
    return {name: mean_direction(np.frombuffer(base64.b64decode(code), "<f2")[None]) for name, code in vectors.items()}
