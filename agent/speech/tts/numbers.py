"""English words for numbers: the few forms that a voice needs."""

from __future__ import annotations

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = ("", "thousand", "million", "billion", "trillion", "quadrillion")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_LARGEST = 10 ** (3 * len(_SCALES))


def cardinal(number: int) -> str:
    """``1205`` as "one thousand two hundred five"; from a quintillion on, digit by digit."""
    if number < 0:
        return f"minus {cardinal(-number)}"
    if number >= _LARGEST:
        return digits(str(number))
    if number < 1000:
        return _below_thousand(number)
    groups: list[str] = []
    for scale in _SCALES:
        number, group = divmod(number, 1000)
        if group:
            groups.append(f"{_below_thousand(group)} {scale}".strip())
    return " ".join(reversed(groups))


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    if not hundreds:
        return _below_hundred(rest)
    head = f"{_SMALL[hundreds]} hundred"
    return f"{head} {_below_hundred(rest)}" if rest else head


def _below_hundred(number: int) -> str:
    if number < 20:
        return _SMALL[number]
    tens, rest = divmod(number, 10)
    return f"{_TENS[tens]}-{_SMALL[rest]}" if rest else _TENS[tens]


def ordinal(number: int) -> str:
    """``22`` as "twenty-second"."""
    words = cardinal(number)
    cut = max(words.rfind(" "), words.rfind("-")) + 1
    head, last = words[:cut], words[cut:]
    if last in _ORDINALS:
        return head + _ORDINALS[last]
    return head + (last[:-1] + "ieth" if last.endswith("y") else last + "th")


def digits(text: str) -> str:
    """The digits of ``text`` one by one: ``"007"`` as "zero zero seven"."""
    return " ".join(_SMALL[int(character)] for character in text if character.isdecimal())


def decimal(text: str) -> str:
    """A plain number such as ``"1,250"`` or ``"2.50"``, with the digits after the point one by one."""
    whole, point, fraction = text.replace(",", "").partition(".")
    words = cardinal(int(whole or "0"))
    return f"{words} point {digits(fraction)}" if point and fraction else words


def year(number: int) -> str:
    """``1984`` as "nineteen eighty-four", ``2005`` as "two thousand five", ``1905`` as "nineteen oh five"."""
    century, rest = divmod(number, 100)
    if not 10 <= century <= 99 or number % 1000 < 10:
        return cardinal(number)
    if rest == 0:
        return f"{_below_hundred(century)} hundred"
    return f"{_below_hundred(century)} {'oh ' if rest < 10 else ''}{_below_hundred(rest)}"


def clock(hour: int, minute: int, *, half_day: bool = False) -> str:
    """A time as it is said: "nine forty-five", "three oh five", "nine o'clock", "fifteen hundred".

    Args:
        hour: 0 to 24.
        minute: 0 to 59.
        half_day: "a.m." or "p.m." follows, so that a full hour needs no "o'clock".
    """
    if minute:
        return f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    if half_day:
        return cardinal(hour)
    if hour in (0, 24):
        return "midnight"
    return f"{cardinal(hour)} o'clock" if hour <= 12 else f"{cardinal(hour)} hundred"
