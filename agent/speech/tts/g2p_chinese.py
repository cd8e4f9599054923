"""Mandarin pronunciation by ``misaki.zh``, with its figures and tones; Latin words go to the English pronouncer."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Callable
from typing import Any

from sayso.errors import ModelMissingError
from sayso.speech.tts.plain import plain

_LATIN = re.compile(r"[A-Za-z][A-Za-z'’.&-]*(?:\s+[A-Za-z][A-Za-z'’.&-]*)*")


class ChinesePronouncer:
    """Mandarin.

    Args:
        english: What reads Latin words in the text.

    Raises:
        ModelMissingError: The extra ``chinese`` is not installed.
    """

    def __init__(self, english: Callable[[str], str]) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # jieba's old idioms
                from misaki.zh import ZHG2P  # pyright: ignore

                logging.getLogger("jieba").setLevel(logging.WARNING)
                self._g2p: Any = ZHG2P()
                self._g2p("好")  # jieba loads its dictionary at the first word
        except ImportError as error:
            raise ModelMissingError(
                f"Speaking Chinese needs the package {error.name}.", "Install it with: pip install 'sayso[chinese]'"
            ) from error
        self._english = english
        self._lock = threading.Lock()

    def __call__(self, text: str) -> str:
        """The phonemes of ``text``."""
        text = plain(text)
        parts: list[str] = []
        start = 0
        for match in _LATIN.finditer(text):
            parts += [self._chinese(text[start : match.start()]), self._english(match[0])]
            start = match.end()
        parts.append(self._chinese(text[start:]))
        return re.sub(r"\s+([,.;:!?])", r"\1", " ".join(part for part in parts if part))

    def _chinese(self, text: str) -> str:
        if not text.strip():
            return ""
        with self._lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            phonemes, _ = self._g2p(text)
        return str(phonemes).strip()
