"""Cuts a long sentence where a speaker may breathe, so that its first words can be heard early."""

from __future__ import annotations

import re

from sayso.speech.tts.sentences import SentenceSplitter

_CONJUNCTIONS = frozenset("and but or so because which that when while if where who then until unless".split())
_PREPOSITIONS = frozenset("for with from after before during between about into through".split())
_NUMBER_WORDS = frozenset(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion half "
    "point percent oh quarter past o'clock".split()
)
_SHORT_CHARS = 42
_MIN_HEAD_CHARS = 14
_MIN_TAIL_CHARS = 12
_CLAUSE = re.compile(r"[,;:]\s+|\s[–—-]\s+|[，；：]")


def first_phrase(text: str, *, short_chars: int = _SHORT_CHARS) -> tuple[str, str]:
    """Cut off the first words of a sentence that make a phrase of their own.

    The cut is after a comma or the like, else before a conjunction, else before a preposition; never inside a number
    or between two capitalised words. A comma is added to a head that had none, so that the voice stays up.

    Args:
        text: One sentence.
        short_chars: A sentence up to this length is left whole.

    Returns:
        The head and the rest; the rest is empty where there is no good cut.
    """
    if len(text.strip()) <= short_chars:
        return text, ""
    cuts = [match.end() for match in _CLAUSE.finditer(text) if _divides(text, match.start(), match.end())]
    if cut := _earliest(text, cuts):
        head, tail = first_phrase(text[:cut], short_chars=short_chars)
        return head, tail + text[cut:]
    for words in (_CONJUNCTIONS, _PREPOSITIONS):
        cuts = [match.start() for match in re.finditer(r"(?<= )[a-z]+(?= )", text) if match[0] in words]
        if cut := _earliest(text, [cut for cut in cuts if _divides(text, cut - 1, cut)]):
            return f"{text[:cut].rstrip()}, ", text[cut:]
    return text, ""


def chunks(text: str, *, short_chars: int = _SHORT_CHARS) -> list[str]:
    """A sentence as its first phrase and the rest: the rest is spoken while the first plays."""
    return [piece for piece in first_phrase(text, short_chars=short_chars) if piece.strip()]


class EarlyPhrases:
    """Cuts a stream of text into sentences, the first of which begins with a phrase that does not wait for its end.

    Feed it text as it arrives. The pieces are to be spoken one after another; joined they hold the words of the input.
    """

    def __init__(self) -> None:
        self._splitter = SentenceSplitter()
        self._begun = ""  # what has not been spoken of the first sentence
        self._started = False

    def feed(self, delta: str) -> list[str]:
        """Take the next characters; returns the pieces that can be spoken now."""
        if self._started:
            return self._splitter.feed(delta)
        self._begun += delta
        head, rest = first_phrase(self._begun)
        if SentenceSplitter().feed(self._begun):
            head, rest = "", self._begun
        elif not rest:
            return []
        self._started = True
        return [*([head] if head else []), *self._splitter.feed(rest)]

    def flush(self) -> list[str]:
        """The stream is over: returns what is left."""
        begun = "" if self._started else self._begun
        self._started, self._begun = False, ""
        return [*self._splitter.feed(begun), *self._splitter.flush()]


def _earliest(text: str, cuts: list[int]) -> int:
    for cut in cuts:
        wide = 2 if ord(text[cut - 1]) > 0x2E7F else 1  # a Chinese character holds more sound than a letter
        if len(text[:cut].strip()) * wide >= _MIN_HEAD_CHARS and len(text[cut:].strip()) * wide >= _MIN_TAIL_CHARS:
            return cut
    return 0


def _divides(text: str, before: int, after: int) -> bool:
    """Whether a pause between the words round ``before`` and ``after`` splits neither a name nor a number."""
    left, right = re.findall(r"[\w'.]+", text[:before]), re.findall(r"[\w'.]+", text[after:])
    if not left or not right:
        return False
    conjunction = right[0].lower() in _CONJUNCTIONS | _PREPOSITIONS
    following = right[1] if conjunction and len(right) > 1 else right[0]
    if left[-1][0].isupper() and following[0].isupper() and following not in ("I", "I'm", "I'll", "I've"):
        return False
    return not (_is_number(left[-1]) and _is_number(following))


def _is_number(word: str) -> bool:
    return any(character.isdecimal() for character in word) or bool(
        _NUMBER_WORDS.intersection(word.lower().strip(".").split("-"))
    )
