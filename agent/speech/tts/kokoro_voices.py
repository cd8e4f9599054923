"""Kokoro's voices: what is known of them, their style tables on disk, and mixtures of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sayso.errors import IntegrityError, ModelMissingError, UsageError
from sayso.speech.tts.base import unknown_voice
from sayso.voices import Voice

StyleTable = NDArray[np.float32]
"""Shape (rows, 1, 256), float32: the style for each number of tokens, from 0 on."""

DEFAULT_VOICE = "af_heart"
_STYLE_SIZE = 256
_LANGUAGES = {
    "a": "en-US",
    "b": "en-GB",
    "e": "es",
    "f": "fr",
    "h": "hi",
    "i": "it",
    "j": "ja",
    "p": "pt-BR",
    "z": "zh",
}
_LANGUAGE_NAMES = {
    "en-US": "American English",
    "en-GB": "British English",
    "es": "Spanish",
    "fr": "French",
    "hi": "Hindi",
    "it": "Italian",
    "ja": "Japanese",
    "pt-BR": "Brazilian Portuguese",
    "zh": "Chinese",
}


@dataclass(frozen=True, slots=True)
class MeasuredVoice:
    """What was measured of a voice; the figures' source is named in ``kokoro_voices.json``.

    Attributes:
        name: Such as ``af_heart``.
        language: BCP 47.
        gender: ``female`` or ``male``.
        pitch_hz: Median fundamental frequency.
        pitch_sd_semitones: How much the pitch moves.
        words_per_s: Pace at speed 1.
        centroid_hz: Spectral centroid: how bright it sounds.
        note: What the figures do not say.
    """

    name: str
    language: str
    gender: str
    pitch_hz: int
    pitch_sd_semitones: float
    words_per_s: float
    centroid_hz: int
    note: str = ""

    @property
    def description(self) -> str:
        """In a few words."""
        low, high = (100, 130) if self.gender == "male" else (160, 210)
        pitch = "low" if self.pitch_hz < low else "high" if self.pitch_hz > high else "middle"
        pace = "slow" if self.words_per_s < 3.6 else "quick" if self.words_per_s > 4.15 else "even"
        tone = "dark" if self.centroid_hz < 1300 else "bright" if self.centroid_hz > 1850 else ""
        melody = "lively" if self.pitch_sd_semitones >= 4.4 else "calm" if self.pitch_sd_semitones < 2.8 else ""
        words = [f"{pitch} pitch ({self.pitch_hz} Hz)", f"{pace} pace", tone, melody, self.note]
        return f"{_LANGUAGE_NAMES[self.language]}, {self.gender}: " + ", ".join(word for word in words if word)


@cache
def measured_voices() -> Mapping[str, MeasuredVoice]:
    """The 54 published voices by name."""
    text = resources.files("sayso.speech.tts").joinpath("kokoro_voices.json").read_text("utf-8")
    rows: list[dict[str, Any]] = json.loads(text)["voices"]
    return {row["name"]: MeasuredVoice(**row) for row in rows}


def describe(name: str) -> Voice:
    """The `Voice` of that name; a voice that is not among the published ones is known by its first letters only."""
    voice = measured_voices().get(name)
    if voice is not None:
        gender = "female" if voice.gender == "female" else "male"
        return Voice(name, voice.language, gender, voice.description)
    is_named = len(name) > 2 and name[2] == "_"
    return Voice(name, _LANGUAGES.get(name[:1], "und") if is_named else "und")


class VoiceFolder:
    """The style tables of a folder of ``NAME.bin`` files, read when first asked for."""

    def __init__(self, folder: Path) -> None:
        """List ``folder``.

        Raises:
            ModelMissingError: It is no folder, or holds no voice.
        """
        names = sorted(path.stem for path in folder.glob("*.bin")) if folder.is_dir() else []
        if not names:
            raise ModelMissingError(f"There are no Kokoro voices in {folder}.", "Fetch them with: sayso models pull")
        if DEFAULT_VOICE in names:
            names.remove(DEFAULT_VOICE)
            names.insert(0, DEFAULT_VOICE)
        self._folder = folder
        self._tables: dict[str, StyleTable] = {}
        self.voices = tuple(describe(name) for name in names)
        self._names = frozenset(names)

    def first(self, language: str) -> Voice | None:
        """The first voice for a language ("zh" finds "zh" and "zh-CN")."""
        return next((voice for voice in self.voices if voice.language.split("-")[0] == language), None)

    def mixture(self, spec: str | None) -> tuple[Voice, StyleTable]:
        """A voice's style table, or the weighted mean of several.

        Args:
            spec: A name, or names with weights such as ``af_heart:0.6+bf_emma:0.4`` (a weight left out is 1; they are
                scaled to a sum of 1), or None for the default. With ``@en-US`` at the end, text is read as that
                language and not as the voice's own: ``jf_alpha:1@en-US`` speaks English.

        Returns:
            The voice with the largest weight, renamed to ``spec``, and the table.

        Raises:
            UsageError: No such voice, no such language, or a weight that is not a positive number.
            IntegrityError: A voice file is broken.
        """
        mix, _, language = (spec or "").partition("@")
        if language and language not in _LANGUAGE_NAMES:
            raise UsageError(f"Nothing is read as {language!r}.", f"Languages are: {', '.join(_LANGUAGE_NAMES)}.")
        parts = parse_mixture(mix) if mix else {self.voices[0].name: 1.0}
        for name in parts:
            if name not in self._names:
                raise unknown_voice(name, self._names)
        main = describe(max(parts, key=lambda name: parts[name]))
        if len(parts) == 1:
            voice = replace(main, language=language) if language else main
            return voice, self._table(main.name)
        tables = [self._table(name) * np.float32(weight) for name, weight in parts.items()]
        rows = min(len(table) for table in tables)
        mixed: StyleTable = np.stack([table[:rows] for table in tables]).sum(axis=0, dtype=np.float32)
        return Voice(str(spec), language or main.language, main.gender, f"a mixture led by {main.name}"), mixed

    def _table(self, name: str) -> StyleTable:
        if name not in self._tables:
            self._tables[name] = _read_table(self._folder / f"{name}.bin")
        return self._tables[name]


def _read_table(path: Path) -> StyleTable:
    values = np.fromfile(path, "<f4") if path.stat().st_size % 4 == 0 else np.zeros(0, np.float32)
    if not len(values) or len(values) % _STYLE_SIZE or not np.isfinite(values).all():
        raise IntegrityError(
            f"The voice file {path} is broken.", "Delete it and fetch it again with: sayso models pull"
        )
    return values.astype(np.float32).reshape(-1, 1, _STYLE_SIZE)


def parse_mixture(spec: str) -> dict[str, float]:
    """``"a:3+b"`` as ``{"a": 0.75, "b": 0.25}``.

    Raises:
        UsageError: A weight is not a positive number, or a name is missing.
    """
    weights: dict[str, float] = {}
    for part in spec.split("+"):
        name, colon, written = part.strip().partition(":")
        try:
            weight = float(written) if colon else 1.0
        except ValueError:
            weight = 0.0
        if not name or not 0 < weight < float("inf"):
            raise UsageError(f"{spec!r} is no voice.", "Write a name, or a mixture such as af_heart:0.6+bf_emma:0.4")
        weights[name.strip()] = weights.get(name.strip(), 0.0) + weight
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
