"""Piper voices through ``piper-tts``: ten times faster than real time on one core, one voice a file.

``piper-tts`` is GPL-3.0-or-later and is not part of any default install: it comes with the extra ``piper``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sayso.errors import IntegrityError, ModelMissingError
from sayso.items import Audio
from sayso.speech.tts.base import check_speed, finish, silence, unknown_voice
from sayso.speech.tts.g2p_english import split_lexicon
from sayso.speech.tts.normalize import normalize
from sayso.speech.tts.plain import plain
from sayso.voices import Voice


class Piper:
    """Speech by a Piper voice.

    Args:
        model: A Piper ``.onnx`` file with its ``.onnx.json`` beside it, or a folder that holds one such pair.
        lexicon: Respellings of words; see `sayso.speech.tts.g2p_english.EnglishPronouncer`.

    Raises:
        ModelMissingError: The files are not there.
        IntegrityError: The JSON is not a Piper configuration.
    """

    def __init__(self, model: Path, *, lexicon: Mapping[str, str] | None = None) -> None:
        self._path = _find(model)
        config = _read_config(Path(f"{self._path}.json"))
        self._rate: int = config["audio"]["sample_rate"]
        self._language = str(config.get("language", {}).get("code", "und")).replace("_", "-")
        self._voice = Voice(self._path.stem, self._language, description="a Piper voice")
        self._respell = split_lexicon(lexicon or {})[1]
        self._piper: Any = None
        self._lock = threading.Lock()

    @property
    def sample_rate_hz(self) -> int:
        """As the voice's configuration says: 22,050 for most."""
        return self._rate

    @property
    def voices(self) -> tuple[Voice, ...]:
        """The one voice of the file."""
        return (self._voice,)

    def load(self) -> None:
        """Load the voice and speak a word. Blocking, idempotent.

        Raises:
            ModelMissingError: piper-tts is not installed.
        """
        with self._lock:
            if self._piper is None:
                self._piper = _load(self._path)
                self._speak("one moment.", 1.0)

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> Audio:
        """Speak ``text``; see `sayso.speech.tts.base.Synthesizer.synthesize`.

        Raises:
            UsageError: Another voice than this one, or the speed is out of range.
            ModelMissingError: piper-tts is not installed.
        """
        check_speed(speed)
        if voice not in (None, self._voice.name):
            raise unknown_voice(str(voice), [self._voice.name])
        text = self._respell(text)
        words = normalize(text) if self._language.startswith("en") else plain(text)
        if not any(character.isalnum() for character in words):
            return silence(self._rate)
        self.load()
        with self._lock:
            return self._speak(words, speed)

    def _speak(self, words: str, speed: float) -> Audio:
        from piper import SynthesisConfig

        config = SynthesisConfig(length_scale=1 / speed)
        pieces = [chunk.audio_float_array for chunk in self._piper.synthesize(words, config)]
        samples = (
            np.concatenate([np.asarray(piece, np.float32) for piece in pieces]) if pieces else np.zeros(0, np.float32)
        )
        return finish(samples, self._rate)


def _find(model: Path) -> Path:
    found = sorted(model.glob("*.onnx")) if model.is_dir() else [model]
    path = found[0] if found else model
    if not path.is_file() or not Path(f"{path}.json").is_file():
        raise ModelMissingError(
            f"There is no Piper voice (.onnx with .onnx.json) at {model}.", "Fetch it with: sayso models pull piper-joe"
        )
    return path


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config: Any = json.loads(path.read_text("utf-8"))
        int(config["audio"]["sample_rate"])
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{path} is no Piper configuration.", "Fetch the voice again: sayso models pull"
        ) from error
    return config


def _load(path: Path) -> Any:
    try:
        from piper import PiperVoice
    except ImportError as error:
        raise ModelMissingError(
            "Piper needs the package piper-tts (GPL).", "Install it with: pip install 'sayso[piper]'"
        ) from error
    return PiperVoice.load(path)
