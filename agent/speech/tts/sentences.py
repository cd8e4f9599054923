"""Cuts a stream of text into pieces worth speaking, as soon as their end is certain."""

from __future__ import annotations

import re

_CLOSERS = "\"'”’»)]}*_`」』）】》"
_LATIN_ENDS = ".!?…"
_CJK_ENDS = "。！？；"
_CLAUSE_ENDS = ",;:，、：—"
_WAIT = -1
_SLACK = 64  # characters of look-ahead after which an undecided end counts as none

_TITLES = frozenset(
    "mr mrs ms dr prof st gen capt sgt lt col sen rep gov rev hon mt ft fig vs approx e.g i.e cf ca al".split()
)
_BEFORE_NUMBERS = frozenset("no nos p pp vol ch sec fig art jan feb mar apr jun jul aug sep sept oct nov dec".split())
_OPEN_ABBREVIATIONS = frozenset("a.m p.m etc inc ltd co corp jr sr ph.d b.c a.d".split())
_STARTERS = frozenset(
    "the a an it he she they we i you this that these those there here in on at but and so if when what who how why "
    "my your his her our their its do does did is are was were can could would will should shall have has no yes "
    "please let for as after before then now".split()
)


class SentenceSplitter:
    """Feed it text as it arrives; take out sentences.

    The pieces joined together are the input, character for character, and where the cuts fall does not depend on how
    the input was chunked. A piece holds at least one letter or digit, but for the last one of a stream without any.

    Args:
        max_chars: A sentence longer than this is cut at a clause, a space, or, failing both, right there.
    """

    def __init__(self, *, max_chars: int = 300) -> None:
        if max_chars < 1:
            raise ValueError(f"max_chars must be at least 1, not {max_chars}")
        self._max_chars = max_chars
        self._text = ""
        self._scanned = 0

    def feed(self, delta: str) -> list[str]:
        """Take the next characters; returns the pieces that are certain now."""
        self._text += delta
        return self._cut(final=False)

    def flush(self) -> list[str]:
        """The stream is over: returns what is left. The splitter can be used again."""
        pieces = self._cut(final=True)
        if self._text:
            pieces.append(self._text)
        self._text, self._scanned = "", 0
        return pieces

    def _cut(self, *, final: bool) -> list[str]:
        pieces: list[str] = []
        while (end := self._next_end(final)) > 0:
            pieces.append(self._text[:end])
            self._text, self._scanned = self._text[end:], 0
        return pieces

    def _next_end(self, final: bool) -> int:
        """Where the next piece ends, or 0 while that is not certain."""
        limit = self._max_chars + _SLACK
        window = self._text[:limit]
        closed = final or len(self._text) >= limit
        for index in range(self._scanned, min(len(window), self._max_chars)):
            end = self._end_at(window, index, closed)
            if end == _WAIT:
                return 0
            if end and end <= self._max_chars and _speakable(window[:end]):
                return end
            self._scanned = index + 1
        return self._forced_end() if len(self._text) > self._max_chars else 0

    def _end_at(self, text: str, index: int, closed: bool) -> int:
        """The end of a piece whose closing mark stands at ``index``: 0 for none, `_WAIT` for not yet known."""
        mark = text[index]
        if mark == "\n":
            return index + 1
        if mark in _CJK_ENDS:
            return _after_closers(text, index + 1, closed)
        if mark in _LATIN_ENDS:
            return _latin_end(text, index, closed)
        return 0

    def _forced_end(self) -> int:
        head = self._text[: self._max_chars]
        for pattern in (rf".*[{_CLAUSE_ENDS}](?=\s|[^\x00-\x7f])\s?", r".*\s"):
            match = re.match(pattern, head, re.DOTALL)
            if match and _speakable(match[0]):
                return match.end()
        return len(head)


def split_sentences(text: str) -> list[str]:
    """The sentences of a whole text; joined together they are the text."""
    splitter = SentenceSplitter()
    return splitter.feed(text) + splitter.flush()


def _speakable(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _after_closers(text: str, index: int, closed: bool) -> int:
    while index < len(text) and text[index] in _CLOSERS:
        index += 1
    return index if index < len(text) or closed else _WAIT


def _latin_end(text: str, index: int, closed: bool) -> int:
    if index + 1 < len(text) and text[index + 1] in _LATIN_ENDS:
        return 0  # the last mark of the run decides
    if index + 1 == len(text):
        return index + 1 if closed else _WAIT
    after = _after_closers(text, index + 1, closed)
    if after == _WAIT or after >= len(text):
        return after
    if not text[after].isspace():
        return after if ord(text[after]) > 0x2E7F else 0  # Chinese goes on without a space
    start = _run_start(text, index)
    if text[start : index + 1] != ".":
        return _after_run(text, start, index, after, closed)
    return _after_dot(text, index, after, closed)


def _run_start(text: str, index: int) -> int:
    while index > 0 and text[index - 1] in _LATIN_ENDS:
        index -= 1
    return index


def _after_run(text: str, start: int, index: int, after: int, closed: bool) -> int:
    """After "!", "?" or an ellipsis. "Well... maybe" goes on, "Well... No." does not."""
    if any(mark in "!?" for mark in text[start : index + 1]):
        return after + 1
    if after + 1 == len(text):
        return after + 1 if closed else _WAIT
    return 0 if text[after + 1].islower() else after + 1


def _after_dot(text: str, index: int, after: int, closed: bool) -> int:
    """After a single full stop and a space: an abbreviation may go on."""
    match = re.search(r"[\w.'’&]+$", text[:index])
    word = match[0].strip(".").lower() if match else ""
    line = text[text.rfind("\n", 0, index) + 1 : index].strip()
    if word in _TITLES or (line.isdecimal() and len(line) <= 3):  # "1. First"
        return 0
    following = text[after + 1 : after + 17]
    if word in _BEFORE_NUMBERS:
        if not following:
            return after + 1 if closed else _WAIT
        return 0 if following[0].isdecimal() else after + 1
    is_initial = len(word) == 1 and word.isalpha() and word != "i"
    if not (is_initial or word in _OPEN_ABBREVIATIONS or re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]", word)):
        return after + 1
    next_word = re.match(r"[^\W\d_]*", following)
    letters = next_word[0] if next_word else ""
    if len(letters) == len(following) < 16 and not closed:
        return _WAIT
    starts = letters[:1].isupper() and letters.lower() in _STARTERS
    return after + 1 if starts or not letters else 0
