"""What people and agents say, as plain words: the common ground of `consent`, `promises` and `stopping`.

A transcript comes in any case, with or without punctuation, with numbers in words or figures and, in Chinese, without
spaces and in either script. `words` takes all that away; `Lexicon` finds known phrases in what is left.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from sayso.tools.spoken_numbers import replace_number_words

_TRADITIONAL = (
    "對沒問題認確錯發說這樣為會個過還後萬億兩幫麼嗎請錢點塊給轉來時見別謝"
    "當實議絕煩處辦讓現馬設計聯訂關開幾從該嗯夠應許準變裡裏查門鎖將願"
)
_SIMPLIFIED = (
    "对没问题认确错发说这样为会个过还后万亿两帮么吗请钱点块给转来时见别谢"
    "当实议绝烦处办让现马设计联订关开几从该嗯够应许准变里里查门锁将愿"
)
_SCRIPT = str.maketrans(_TRADITIONAL, _SIMPLIFIED)
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_APOSTROPHE = re.compile(r"(?<=[^\W\d])['’ʼ`´](?=[^\W\d])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SIGN = re.compile(r"(?:(?<!\w)(?:minus|negative)\s+|[负負]\s*|(?<![\w)])[-−])(?=\d)")
_ZERO = re.compile(r"(?<=\d)\s+oh?\b")
_WORD = re.compile(rf"-?\d+(?:\.\d+)?|[{_HAN}]|[^\W\d_{_HAN}]+|[^\s.,!;:'\"()\-–—…·~。，、！；：“”‘’「」『』（）《》]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")

_SECTION = "(?:{d}千)?零?(?:{d}百)?零?(?:{d}?十)?零?{d}?".format(d="[一二两三四五六七八九]")
_HAN_CARDINAL = re.compile(f"(?![万亿])(?:{_SECTION}亿)?(?!万)(?:{_SECTION}万)?{_SECTION}")
_HAN_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_HAN_UNITS = {"十": 10, "百": 100, "千": 1000}
_HAN_NUMBER = re.compile(
    r"(?!万一|千万别|千万不)(?<![第万统同专单])[零〇一二两三四五六七八九十百千万亿]++(?![下定样些会般直起切旦别])"
)
"""A numeral, but for those that are part of another word (``一下``, ``万一``)."""


def words(text: str) -> tuple[str, ...]:
    """The words of ``text`` in order: lower case, numbers in figures, Chinese by character and simplified.

    Punctuation is left out, but for question marks, which change what a yes means. Whatever else is no word (``<``,
    ``$``) is a word of its own, so that nothing unknown is passed over.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_SCRIPT)
    plain = _THOUSANDS.sub("", _APOSTROPHE.sub("", plain))
    plain = _HAN_NUMBER.sub(lambda found: f" {_han_number(found[0])} ", plain)
    plain = _SIGN.sub(" -", _ZERO.sub(" 0", replace_number_words(plain)))
    return tuple(_canonical(word) for word in _WORD.findall(plain))


def simplified(text: str) -> str:
    """``text`` with the characters that the tables of this package use in the simplified script."""
    return text.translate(_SCRIPT)


def is_number(word: str) -> bool:
    """Whether a word of `words` is a number."""
    return _NUMBER.fullmatch(word) is not None


def _canonical(word: str) -> str:
    """One spelling a number: ``50.0`` is ``50``. Leading zeros stay, as in a code."""
    if "." not in word or not is_number(word):
        return word
    return f"{Decimal(word).normalize():f}"


def _han_number(said: str) -> str:
    """A Chinese cardinal in figures, digits said one by one as they are; what is neither falls into characters."""
    if all(character in _HAN_DIGITS for character in said):
        return "".join(str(_HAN_DIGITS[character]) for character in said)
    if not _HAN_CARDINAL.fullmatch(said):
        return " ".join(said)
    total = section = digit = 0
    last_unit, zero = 1, False
    for character in said:
        if character in _HAN_DIGITS:
            digit, zero = _HAN_DIGITS[character], zero or character in "零〇"
        elif character in _HAN_UNITS:
            last_unit, zero = _HAN_UNITS[character], False
            section, digit = section + (digit or 1) * last_unit, 0
        else:
            last_unit, zero = (10**4 if character == "万" else 10**8), False
            total, section, digit = (total + section + digit) * last_unit, 0, 0
    if digit and last_unit >= 100 and not zero:  # "两千五" is 2500, "两千零五" is 2005
        digit *= last_unit // 10
    return str(total + section + digit)


@dataclass(frozen=True, slots=True)
class Unit:
    """A known phrase, or one word that is none.

    Attributes:
        kind: The phrase's kind in the lexicon, or None.
        words: What it consists of.
    """

    kind: str | None
    words: tuple[str, ...]


class Lexicon:
    """Phrases by kind.

    Args:
        phrases: By kind, phrases as they are written; a later kind wins where two have the same phrase.
    """

    def __init__(self, phrases: Mapping[str, Iterable[str]]) -> None:
        self._kinds = {words(phrase): kind for kind, some in phrases.items() for phrase in some}
        self._longest: dict[str, int] = {}
        for phrase in self._kinds:
            self._longest[phrase[0]] = max(self._longest.get(phrase[0], 0), len(phrase))

    def units(self, said: tuple[str, ...]) -> list[Unit]:
        """``said`` cut into phrases, the longest first from the left."""
        found: list[Unit] = []
        at = 0
        while at < len(said):
            size = next(
                (n for n in range(self._longest.get(said[at], 0), 0, -1) if said[at : at + n] in self._kinds), 0
            )
            piece = said[at : at + max(size, 1)]
            found.append(Unit(self._kinds.get(piece), piece))
            at += len(piece)
        return found
