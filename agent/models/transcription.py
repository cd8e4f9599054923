"""Speech to text, beside conversations: what a `Transcribing` model gives, and long sound cut where people pause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from sayso.items import Audio

PIECE_S = 25.0
"""How much is recognised at once: less than the 30 s that Whisper looks at, and what Step-Audio 2 was trained with."""

_MARGIN_S = 0.2  # kept round the speech of a piece
_DIVIDES_MS = 300  # a pause this long may divide two pieces


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it is written, with the blanks and marks beside it; when it was said, in seconds of the sound."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, as a caption would show it.

    Attributes:
        text: The words.
        start_s: When it begins, in seconds of the sound.
        end_s: When it ends.
        language: BCP 47 tag of what was spoken, or None where it is not known.
        words: With their times, where they were asked for and the model knows them.
        average_log_probability: Natural logarithm, mean over tokens; 0 where the model does not tell.
        no_speech_probability: That nobody spoke, 0 to 1; 0 where the model does not tell.
    """

    text: str
    start_s: float
    end_s: float
    language: str | None = None
    words: tuple[Word, ...] = ()
    average_log_probability: float = 0.0
    no_speech_probability: float = 0.0

    def later(self, seconds: float) -> Segment:
        """The same, in a sound that began so much earlier."""
        words = tuple(Word(word.text, word.start_s + seconds, word.end_s + seconds) for word in self.words)
        return replace(self, start_s=self.start_s + seconds, end_s=self.end_s + seconds, words=words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to write down.

    Attributes:
        language: BCP 47 tag of what is spoken; None: what the model expects, or finds.
        translate: Write it in English; only where `sayso.models.base.Profile.translates`.
        prompt: Words that may occur, or what was said before: names and spellings are taken from it, where the model
            can.
        times: Segments as short as captions, not as long as `PIECE_S`.
        words: Words with times, where the model can; segments are as with ``times``.
    """

    language: str | None = None
    translate: bool = False
    prompt: str = ""
    times: bool = False
    words: bool = False


PLAIN = Task()


@dataclass(frozen=True, slots=True)
class Transcription:
    """All that was said in a sound.

    Attributes:
        text: The segments' words.
        language: Of the first segment that knows it.
        seconds: The length of the sound.
        segments: In order.
    """

    text: str
    language: str | None
    seconds: float
    segments: tuple[Segment, ...]


@runtime_checkable
class Transcribing(Protocol):
    """A model that writes down what was said; see `sayso.models.base.Profile.transcribes`."""

    def transcribe(self, audio: Audio, task: Task = PLAIN) -> AsyncGenerator[Segment, None]:
        """Write down ``audio``, of any length, segment by segment. Closing the generator stops the computation.

        Raises:
            UsageError: The model does not know the language, or does not translate.
            ModelError: The model failed.
        """
        ...


async def transcribe(model: Transcribing, audio: Audio, task: Task = PLAIN) -> Transcription:
    """The whole transcription; see `Transcribing.transcribe`."""
    segments: list[Segment] = []
    async with aclosing(model.transcribe(audio, task)) as stream:
        async for segment in stream:
            segments.append(segment)
    return joined(segments, audio.seconds)


def joined(segments: Sequence[Segment], seconds: float) -> Transcription:
    """The transcription that these segments of a sound make."""
    language = next((segment.language for segment in segments if segment.language), None)
    text = ""
    for segment in segments:
        text += separator(text, segment.text) + segment.text
    return Transcription(text, language, seconds, tuple(segments))


def separator(before: str, after: str) -> str:
    """What stands between two texts: a blank, but not in Chinese or Japanese, nor at the beginning."""
    if not before or not after:
        return ""
    return "" if ord(before[-1]) > 0x2E7F or ord(after[0]) > 0x2E7F else " "


def pieces(audio: Audio, longest_s: float = PIECE_S) -> Iterator[tuple[float, Audio]]:
    """Cut a sound into pieces of speech that can be recognised alone, at pauses. Blocks, but only up to the next piece.

    Silence before, after and between them is left out. Speech without a pause for longer than ``longest_s`` is cut
    right there.

    Yields:
        Each piece with the second at which it begins; none where nobody speaks.
    """
    rate = audio.sample_rate_hz
    for start, end in _spans(audio, longest_s):
        first, last = max(0, round((start - _MARGIN_S) * rate)), round((end + _MARGIN_S) * rate)
        yield first / rate, Audio(audio.samples[first:last], rate)


def _spans(audio: Audio, longest_s: float) -> Iterator[tuple[float, float]]:
    """Stretches of speech, as many together as ``longest_s`` holds."""
    from sayso.speech.vad import each_segment

    span: tuple[float, float] | None = None
    for start, end in each_segment(audio, min_speech_ms=100, min_silence_ms=_DIVIDES_MS):
        if span is not None and end - span[0] <= longest_s:
            span = span[0], end
            continue
        if span is not None:
            yield span
        while end - start > longest_s:
            yield start, start + longest_s
            start += longest_s
        span = start, end
    if span is not None:
        yield span


async def each_piece(audio: Audio) -> AsyncGenerator[tuple[float, Audio], None]:
    """As `pieces`, with the listening in a thread."""
    found = pieces(audio)
    while (piece := await asyncio.to_thread(next, found, None)) is not None:
        yield piece
