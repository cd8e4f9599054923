"""What Whisper wrote, looked at as text: was it said at all, and does it say the same thing twice."""

from __future__ import annotations

import re
import zlib

_COMPRESSION_LIMIT = 2.4  # Whisper's own limit (transcribe.py): text that repeats itself
_NO_SPEECH_SURE = 0.75  # speech reached 0.70 in 300 clips, noise began at 0.4; see test_whisper.py
NO_SPEECH_LIKELY = 0.5
_LOG_PROBABILITY_LOW = -1.0
_LOG_PROBABILITY_LOST = -1.8

_CJK = r"\u3040-\u30ff\u3400-\u9fff"  # written without blanks: each character counts as a word
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+(?:['’.-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?。！？…][\"'”’)]*\s*$")
_PHANTOMS = frozenset(
    "you|thank you|thanks|thank you very much|thank you for watching|thanks for watching|please subscribe|bye|bye bye|"
    "oh|yeah|i|i'm|the|so|uh|um|hmm|1.5|1.0|1.5kg|1 5 cm".split("|")
)
"""What Whisper writes for noise (its training subtitles' fillers). Only taken for that where it is unsure as well."""


def is_speech(text: str, no_speech_probability: float, log_probability: float) -> bool:
    """Whether what Whisper wrote for a clip was said in it, and not read into silence or noise.

    Stricter than Whisper's own rule (no-speech over 0.6 and log-probability under -1), which lets "you" through for
    silence; the limits lie between the speech and the noise of ``benchmarks/recognition.py``.
    """
    words = _words(text)
    if not words or no_speech_probability > _NO_SPEECH_SURE or log_probability < _LOG_PROBABILITY_LOST:
        return False
    unsure = log_probability < _LOG_PROBABILITY_LOW
    if no_speech_probability > NO_SPEECH_LIKELY and (unsure or " ".join(words) in _PHANTOMS):
        return False
    return not (unsure and " ".join(words) in _PHANTOMS)


def repeats_itself(text: str) -> bool:
    """Whether ``text`` compresses too well for speech (Whisper's measure and limit)."""
    data = text.encode()
    return len(data) > _COMPRESSION_LIMIT * len(zlib.compress(data))


def cut_restart(text: str, *, truncated: bool = False) -> str:
    """Cut a text where it starts its last sentence, or all of itself, again.

    The repeat must begin a sentence, run to the end, and be of two or more words that are not all the same: "no no" and
    "two two four" stay. A text that ends with "twenty two, twenty two" is cut; only the sound can tell whether it
    was said twice, so callers who have it look again.

    Args:
        text: What the decoder wrote.
        truncated: It was stopped in the middle; the last repeat may then be unfinished ("what time is it what ti").

    Returns:
        ``text`` up to the end of the first copy, or all of it.
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    words = _words(text)
    for start, (begin, _) in enumerate(spans):
        if start and not _SENTENCE_END.search(text, spans[start - 1][1], begin):
            continue
        period, repeated = _repeat(words[start:], truncated)
        if period >= 2 and repeated >= (2 if truncated else period):
            return text[: spans[start + period][0]].rstrip(" ,;:-，、")
    return text


def _repeat(words: list[str], truncated: bool) -> tuple[int, int]:
    """How many words are repeated up to the end, and how many repeat them; if truncated, half a word may follow."""
    period = _period(words)
    if truncated and period == len(words) > 1:
        whole = words[:-1]
        period = _period(whole)
        if not whole[len(whole) - period].startswith(words[-1]):
            return len(words), 0
        return period, len(whole) - period
    return period, len(words) - period


def _period(words: list[str]) -> int:
    """The smallest p > 0 with words[i] == words[i + p] throughout (Knuth-Morris-Pratt failure function)."""
    border = [0] * len(words)
    length = 0
    for index in range(1, len(words)):
        while length and words[index] != words[length]:
            length = border[length - 1]
        length += words[index] == words[length]
        border[index] = length
    return len(words) - border[-1]


def _words(text: str) -> list[str]:
    return [match.group().casefold() for match in _WORD.finditer(text)]
