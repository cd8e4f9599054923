"""Spoken requests for the benchmarks, and how well speech is understood again."""

from __future__ import annotations

import hashlib
import re
from functools import cache

import jiwer

from benchmarks.words import in_words
from sayso.items import Audio
from sayso.models.cascade import Recognizer
from sayso.models.embedded import loaded, synthesizer, whisper
from sayso.models.store import Store
from sayso.settings import cache_root
from sayso.speech.audio import load, save
from sayso.speech.tts.base import Synthesizer


def spoken(text: str, voice: str) -> Audio:
    """``text`` in one of Kokoro's voices; rendered once and kept in the cache folder."""
    folder = cache_root() / "benchmarks"
    path = folder / f"{voice}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.flac"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save(path, _synthesizer().synthesize(text, voice))
    return load(path)


def recognised_wer(audio: Audio, text: str) -> float:
    """The word error rate of what Whisper base hears in ``audio``, against ``text``."""
    heard = _recognizer().transcribe(audio, "en").text
    reference = normalised(text)
    return float(jiwer.wer(reference, normalised(heard))) if reference else 0.0


def normalised(text: str) -> str:
    """Words only: lower case, numbers spelled out, no punctuation."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.casefold())
    text = re.sub(r"\b([ap])\.?m\.?(?=\W|$)", r"\1m", text)
    text = re.sub(r"(\d{1,2}):(\d\d)", _clock, text)
    text = text.replace("%", " percent ").replace("°c", " degrees ").replace("°", " degrees ")
    text = re.sub(r"\d+(?:\.\d+)?", lambda match: f" {in_words(match.group())} ", text)
    return " ".join(re.findall(r"[\w']+", text.replace("-", " ")))


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    return f"{hour} o'clock" if minute == 0 else f"{hour} {'oh ' if minute < 10 else ''}{minute}"


@cache
def _synthesizer() -> Synthesizer:
    return loaded(synthesizer("kokoro"))


@cache
def _recognizer() -> Recognizer:
    return whisper(Store().path("whisper-base"), 2)
