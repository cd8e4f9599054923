"""Transcriptions in the forms that clients ask for: JSON with times, and captions."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from sayso.models.transcription import Segment, Transcription


class Duration(BaseModel):
    """What it took, by the length of the sound."""

    type: Literal["duration"] = "duration"
    seconds: float


class Plain(BaseModel):
    """``json``."""

    text: str
    usage: Duration


class TimedWord(BaseModel):
    """A word with its times in seconds."""

    word: str
    start: float
    end: float


class TimedSegment(BaseModel):
    """A stretch of speech with its times in seconds. ``tokens`` is empty: they mean nothing to a client."""

    id: int
    seek: int = 0
    start: float
    end: float
    text: str
    tokens: list[int] = []
    temperature: float = 0.0
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class Verbose(BaseModel):
    """``verbose_json``. ``language`` is a BCP 47 tag, ``und`` where it is not known."""

    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    segments: list[TimedSegment] | None = None
    words: list[TimedWord] | None = None
    usage: Duration


def verbose(found: Transcription, task: Literal["transcribe", "translate"], granularities: Sequence[str]) -> Verbose:
    """``found`` with times of what ``granularities`` names (``segment``, ``word``)."""
    words = [
        TimedWord(word=word.text.strip(), start=round(word.start_s, 2), end=round(word.end_s, 2))
        for segment in found.segments
        for word in segment.words
    ]
    segments = [_timed(at, segment) for at, segment in enumerate(found.segments)]
    return Verbose(
        task=task,
        language=found.language or "und",
        duration=round(found.seconds, 3),
        text=found.text,
        segments=segments if "segment" in granularities else None,
        words=words if "word" in granularities else None,
        usage=Duration(seconds=round(found.seconds, 3)),
    )


def _timed(at: int, segment: Segment) -> TimedSegment:
    data = segment.text.encode()
    return TimedSegment(
        id=at,
        start=round(segment.start_s, 2),
        end=round(segment.end_s, 2),
        text=segment.text,
        avg_logprob=segment.average_log_probability,
        compression_ratio=round(len(data) / max(1, len(zlib.compress(data))), 3),
        no_speech_prob=segment.no_speech_probability,
    )


def srt(segments: Sequence[Segment]) -> str:
    """SubRip captions."""
    blocks = [
        f"{number}\n{_clock(segment.start_s, ',')} --> {_clock(segment.end_s, ',')}\n{_line(segment)}\n"
        for number, segment in enumerate(segments, 1)
    ]
    return "\n".join(blocks)


def vtt(segments: Sequence[Segment]) -> str:
    """WebVTT captions."""
    blocks = [
        f"{_clock(segment.start_s, '.')} --> {_clock(segment.end_s, '.')}\n{_escaped(segment)}\n"
        for segment in segments
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _clock(seconds: float, point: str) -> str:
    milliseconds = max(0, round(seconds * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _line(segment: Segment) -> str:
    """One line that is no time: an arrow would end the caption."""
    return " ".join(segment.text.split()).replace("-->", "->")


def _escaped(segment: Segment) -> str:
    return _line(segment).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
