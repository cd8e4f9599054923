"""Number words as digits: "two hundred and forty" -> "240", "three point five" -> "3.5", "2 million" -> "2000000"."""

from __future__ import annotations

import re
from decimal import Decimal

_ONES = "zero one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SMALL = {
    **{word: (value, "one") for value, word in enumerate(_ONES)},
    **{word: (value, "teen") for value, word in enumerate(_TEENS, 10)},
    **{word: (value * 10, "ten") for value, word in enumerate(_TENS, 2)},
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|.", re.DOTALL)
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_SPACES = {" ", "-", "\t", "\n"}


def replace_number_words(text: str) -> str:
    """``text`` in lower case with every spoken cardinal number written in digits; the rest is kept."""
    tokens = _TOKEN.findall(text.casefold())
    out: list[str] = []
    index = 0
    while index < len(tokens):
        reader = _Reader(tokens, index)
        if reader.read():
            out.append(reader.digits())
            index = reader.end
        else:
            out.append(tokens[index])
            index += 1
    return "".join(out)


class _Reader:
    """Reads one number from ``tokens[start:]``; ``end`` is behind its last word."""

    def __init__(self, tokens: list[str], start: int) -> None:
        self._tokens = tokens
        self.end = start
        self._total = Decimal(0)  # closed by a scale: the "two thousand" of "two thousand and five"
        self._open = Decimal(0)
        self._last = ""
        self._least_scale = 10**15
        self._decimals = ""

    def read(self) -> bool:
        """Whether a number begins here; reads all of it."""
        while (word := self._next_word()) and self._take(word[0]):
            self.end = word[1]
        if self._last and self._last != "a":
            self._read_decimals()
            return True
        return False

    def digits(self) -> str:
        """The number that was read."""
        value = self._total + self._open
        return f"{value:f}{'.' if self._decimals else ''}{self._decimals}"

    def _next_word(self, skip_and: bool = True) -> tuple[str, int] | None:
        """The next word and the index behind it; inside a number spaces, hyphens and an "and" are passed over."""
        index = self.end
        while self._last and index < len(self._tokens) and self._tokens[index] in _SPACES:
            index += 1
        if index >= len(self._tokens):
            return None
        if skip_and and self._tokens[index] == "and" and self._last in ("hundred", "scale"):
            after = index + 1
            while after < len(self._tokens) and self._tokens[after] in _SPACES:
                after += 1
            small = _SMALL.get(self._tokens[after]) if after < len(self._tokens) else None
            return (self._tokens[after], after + 1) if small else None
        return self._tokens[index], index + 1

    def _take(self, word: str) -> bool:
        last = self._last
        if word in _SMALL:
            value, kind = _SMALL[word]
            if last not in ("", "hundred", "scale") and not (last == "ten" and kind == "one" and value):
                return False
            self._open, self._last = self._open + value, kind
        elif word == "hundred":
            if last not in ("a", "one", "teen", "ten", "digits"):
                return False
            self._open, self._last = self._open * 100, "hundred"
        elif word in _SCALES:
            scale = _SCALES[word]
            if not last or last == "scale" or scale >= self._least_scale:
                return False
            self._total, self._open = self._total + self._open * scale, Decimal(0)
            self._last, self._least_scale = "scale", scale
        elif _DIGITS.fullmatch(word):
            if last or not self._magnitude_follows():
                return False
            self._open, self._last = Decimal(word), "digits"
        elif word in ("a", "an"):
            if last or not self._magnitude_follows():
                return False
            self._open, self._last = Decimal(1), "a"
        else:
            return False
        return True

    def _magnitude_follows(self) -> bool:
        """Whether the word after this one is "hundred" or a scale: only then is "2" or "a" part of a spoken number."""
        index = self.end + 1
        while index < len(self._tokens) and self._tokens[index] in _SPACES:
            index += 1
        return (
            index > self.end + 1
            and index < len(self._tokens)
            and (self._tokens[index] == "hundred" or self._tokens[index] in _SCALES)
        )

    def _read_decimals(self) -> None:
        """The "point one four" of "three point one four"."""
        word = self._next_word(skip_and=False)
        if word is None or word[0] != "point":
            return
        before, self.end = self.end, word[1]
        while (word := self._next_word(skip_and=False)) and word[0] in _ONES:
            self._decimals += str(_ONES.index(word[0]))
            self.end = word[1]
        if not self._decimals:
            self.end = before
