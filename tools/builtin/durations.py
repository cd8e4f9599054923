"""Lengths of time as people say them: "25 minutes", "an hour and a half", "3/4 of an hour", "1:30", "PT25M"."""

from __future__ import annotations

import re
from datetime import datetime
from fractions import Fraction

from sayso.tools.spoken_numbers import replace_number_words

SECOND, MINUTE, HOUR, DAY, WEEK = 1, 60, 3600, 86_400, 604_800

_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "秒", "秒钟"), SECOND),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "分", "分钟"), MINUTE),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "小时", "钟头"), HOUR),
    **dict.fromkeys(("d", "day", "days", "天"), DAY),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), WEEK),
}
_SMALLER = {HOUR: MINUTE, MINUTE: SECOND}
_PARTS = {
    "half": Fraction(1, 2),
    "halves": Fraction(1, 2),
    "third": Fraction(1, 3),
    "thirds": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "quarters": Fraction(1, 4),
}
_VULGAR = {"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3"}
_CHINESE_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"两": 2}
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):([0-5]\d)\s*(hours?|hrs?|h|minutes?|mins?|m)?")
_ISO = re.compile(r"p(?:(\d+)d)?(?:t(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?)?")
_AROUND = re.compile(
    r"^(?:(?:for|in|about|around|exactly|another|timer|of|the next)\s+)+"
    r"|\s*(?:from now|timer|long|later|后|的?(?:计时器|定时器))$"
)
_TOKEN = re.compile(r"\d+(?:\.\d+)?(?:\s*/\s*\d+)?|[a-z]+|小时|钟头|分钟|秒钟|[分秒天]|\S")


def parse_duration(text: str) -> float | None:
    """The seconds in ``text``, or None where it is no length of time. "1:30" is a minute and a half, as on a timer."""
    said = text.strip().casefold().rstrip(".!?。")
    while (stripped := _AROUND.sub("", said).strip()) != said:
        said = stripped
    if clock := _CLOCK.fullmatch(said):
        return _clock_seconds(clock)
    if (iso := _ISO.fullmatch(said)) and any(iso.groups()):
        amounts = zip(iso.groups(), (DAY, HOUR, MINUTE, SECOND), strict=True)
        return float(sum(Fraction(amount or 0) * unit for amount, unit in amounts))
    for sign, fraction in _VULGAR.items():
        said = said.replace(sign, fraction)
    said = re.sub(r"(?<=[a-z])-|-(?=[a-z])", " ", _from_chinese(said))
    seconds = _Parser(_TOKEN.findall(replace_number_words(said))).parse()
    return None if seconds is None else float(seconds)


def speak_duration(seconds: float) -> str:
    """Seconds in words to be spoken, to the second: "1 hour, 20 minutes and 5 seconds"."""
    left = round(seconds)
    pieces: list[str] = []
    for name, unit in (("day", DAY), ("hour", HOUR), ("minute", MINUTE), ("second", SECOND)):
        count, left = divmod(left, unit)
        if count:
            pieces.append(f"{count} {name}{'' if count == 1 else 's'}")
    return " and ".join([", ".join(pieces[:-1]), pieces[-1]] if len(pieces) > 1 else pieces) or "0 seconds"


def speak_roughly(seconds: float) -> str:
    """As `speak_duration`, without the seconds from an hour on and without the minutes from a day on."""
    unit = SECOND if seconds < HOUR else MINUTE if seconds < DAY else HOUR
    return speak_duration(seconds // unit * unit)


def speak_time(moment: datetime) -> str:
    """The time of day as it is spoken: "3:45 PM"."""
    return f"{moment.hour % 12 or 12}:{moment.minute:02d} {'AM' if moment.hour < 12 else 'PM'}"


def _clock_seconds(found: re.Match[str]) -> float:
    first, second, third, unit = found.groups()
    if first is not None:
        return int(first) * HOUR + int(second) * MINUTE + int(third)
    whole = HOUR if unit and unit.startswith("h") else MINUTE
    return int(second) * whole + int(third) * whole // 60


def _from_chinese(said: str) -> str:
    """What is Chinese in digits and words: "一个半小时" -> "1 and half 小时", "两分半" -> "2 分 half"."""
    said = (
        said.replace("刻钟", "quarter 小时").replace("个半", " and half ").replace("半个", "half ").replace("个", " ")
    )
    said = re.sub(r"([零一二两三四五六七八九])?十([一二三四五六七八九])?", _chinese_tens, said)
    said = re.sub(r"[零一二两三四五六七八九]", lambda found: str(_CHINESE_DIGITS[found[0]]), said)
    return re.sub(r"(?<=\d)quarter", " quarter", said.replace("半", " half "))


def _chinese_tens(found: re.Match[str]) -> str:
    tens, ones = found.groups()
    return str(10 * _CHINESE_DIGITS.get(tens, 1) + _CHINESE_DIGITS.get(ones, 0))


class _Parser:
    """``amount unit`` again and again, with what people leave out: "an hour and a half", "1 hour 30"."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [token for token in tokens if token not in (",", "、")]
        self._at = 0

    def parse(self) -> Fraction | None:
        total, unit = Fraction(0), 0
        if not self._tokens:
            return None
        while self._at < len(self._tokens):
            if unit:
                self._skip("and", "plus")
            amount, is_part = self._amount()
            if amount is None:
                return None
            given = _UNITS.get(self._peek())
            if given is not None:
                self._at += 1
            elif is_part and unit:  # "an hour and a half"
                given = unit
            elif unit in _SMALLER and self._at == len(self._tokens):  # "1 hour 30"
                given = _SMALLER[unit]
            else:
                return None
            total, unit = total + amount * given, given
        return total

    def _amount(self) -> tuple[Fraction | None, bool]:
        """A number, and whether it is a bare part of something ("a half")."""
        token = self._peek()
        if token[:1].isdigit():
            self._at += 1
            whole = _number(token)
            if "/" in token and self._peek() == "of":  # "3/4 of an hour"
                return self._of(whole), True
            if self._peek() in _PARTS and not self._peek(1).startswith(tuple("0123456789")):  # "3 quarters of an hour"
                return self._of(whole * self._part()), True
            return whole + self._and_part(), False
        if token in ("a", "an") and self._peek(1) in _PARTS:
            self._at += 1
        if self._peek() in _PARTS:
            return self._of(self._part()), True
        if token in ("a", "an"):
            self._at += 1
            if self._peek() == "couple":
                self._at += 1
                self._skip("of")
                return Fraction(2), False
            return Fraction(1), False
        return None, False

    def _and_part(self) -> Fraction:
        """The "and a half" of "two and a half minutes", the "1/2" of "2 1/2 hours"; 0 where there is none."""
        start = self._at
        self._skip("and")
        if "/" in self._peek():
            self._at += 1
            return _number(self._tokens[self._at - 1])
        count = Fraction(1)
        if self._peek() in ("a", "an", "1"):
            self._at += 1
        elif self._peek().isdigit() and self._peek(1) in _PARTS:
            count = _number(self._peek())
            self._at += 1
        if self._peek() in _PARTS:
            return count * self._part()
        self._at = start
        return Fraction(0)

    def _part(self) -> Fraction:
        self._at += 1
        return _PARTS[self._tokens[self._at - 1]]

    def _of(self, amount: Fraction) -> Fraction:
        self._skip("of")
        self._skip("a", "an")
        return amount

    def _skip(self, *words: str) -> None:
        if self._peek() in words:
            self._at += 1

    def _peek(self, ahead: int = 0) -> str:
        index = self._at + ahead
        return self._tokens[index] if index < len(self._tokens) else ""


def _number(token: str) -> Fraction:
    above, _, below = token.partition("/")
    return Fraction(above.strip()) / Fraction(below.strip() or 1) if below.strip() != "0" else Fraction(0)
