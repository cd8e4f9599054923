"""Days as people say them: "tomorrow", "next Friday", "three weeks from Friday", "4 July 1976", "Christmas", "明天"."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import date, timedelta

from sayso.tools.spoken_numbers import replace_number_words

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = [name.casefold() for name in calendar.month_name]
_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth thirtieth"
).split()
_ORDINAL_OF = {word: day for day, word in enumerate(_ORDINALS[:-1], 1)} | {"thirtieth": 30}
_FIXED = {  # spoken name: (month, day)
    "new year": (1, 1),
    "new years": (1, 1),
    "new years day": (1, 1),
    "valentines": (2, 14),
    "valentines day": (2, 14),
    "st patricks day": (3, 17),
    "saint patricks day": (3, 17),
    "april fools": (4, 1),
    "april fools day": (4, 1),
    "may day": (5, 1),
    "independence day": (7, 4),
    "halloween": (10, 31),
    "christmas eve": (12, 24),
    "christmas": (12, 25),
    "christmas day": (12, 25),
    "xmas": (12, 25),
    "boxing day": (12, 26),
    "new years eve": (12, 31),
}
_CHINESE = {
    **{"大后天": "in 3 days", "后天": "in 2 days", "明天": "tomorrow", "明日": "tomorrow", "今天": "today"},
    **{"今日": "today", "今晚": "today", "现在": "today", "昨天": "yesterday", "前天": "2 days ago"},
    **{"圣诞节": "christmas", "元旦": "new year", "情人节": "valentines"},
}
_CHINESE_WEEKDAY = re.compile(r"(下个?|上个?|这个?)?(?:星期|周|礼拜)([一二三四五六日天])")
_UNIT = r"(day|week|fortnight|month|year|decade)s?"
_AMOUNT = re.compile(rf"(?:(\d{{1,6}})|(an?|the|one))\s+{_UNIT}\b[\s,]*(?:and\s+)?")
_RELATIVE = re.compile(r"(.+?)\s+(from|after|since|before|ahead of|prior to|on)\s+(.+)")
_MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" for name in _MONTHS if name).replace("sep(?:", "sept?(?:")
_DAY_MONTH = re.compile(rf"(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({_MONTH})(?:\s+(\d{{4}}))?")
_MONTH_DAY = re.compile(rf"({_MONTH})\s+(?:the\s+)?(\d{{1,2}})(?:st|nd|rd|th)?(?:\s+(\d{{4}}))?")
_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
_DAY_ONLY = re.compile(r"(\d{1,2})(?:st|nd|rd|th)")
_NOISE = re.compile(r"^(?:(?:on|the|what|is|was|day|date|until|till|to|it|of|for)\s+)+(?=\S)")


def parse_date(said: str, today: date) -> date | None:
    """The day that was meant, or None where it is none or is ambiguous (``3/4``).

    A weekday is the next one, today included; "next Friday" is that of the following week (from Monday), "last
    Friday" the latest one before today. A day without a year is the next one, today included.

    Args:
        said: English, or one of a few Chinese words.
        today: Where the speaker is.
    """
    text = _normalise(said[:120])
    try:
        return _day(text, today) or _day(_NOISE.sub("", text), today)
    except (ValueError, OverflowError):  # the 31st of June; beyond the year 9999
        return None


def speak_date(day: date) -> str:
    """Such as "Friday, December 25, 2026"."""
    return f"{day:%A, %B} {day.day}, {day.year}"


def speak_span(start: date, end: date) -> str:
    """The time from ``start`` to a later ``end`` in calendar units: "1 year, 2 months and 3 days"."""
    months = (end.year - start.year) * 12 + end.month - start.month
    if add_months(start, months) > end:
        months -= 1
    days = (end - add_months(start, months)).days
    counts = (("year", months // 12), ("month", months % 12), ("day", days))
    pieces = [plural(count, name) for name, count in counts if count] or ["0 days"]
    return " and ".join([", ".join(pieces[:-1]), pieces[-1]] if len(pieces) > 1 else pieces)


def plural(count: int, name: str) -> str:
    """Such as "1 day" and "3 days"."""
    return f"{count} {name}{'' if count == 1 else 's'}"


def add_months(day: date, months: int) -> date:
    """The same day of another month, or that month's last day where it is shorter."""
    index = day.year * 12 + day.month - 1 + months
    year, month = index // 12, index % 12 + 1
    if not date.min.year <= year <= date.max.year:
        raise OverflowError("beyond the calendar")
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def _normalise(said: str) -> str:
    text = said.strip().casefold().replace("’", "").replace("'", "")
    for word, english in _CHINESE.items():
        if text == word:
            return english
    if found := _CHINESE_WEEKDAY.fullmatch(text):
        which = {"下": "next ", "上": "last "}.get((found[1] or " ")[0], "")
        return which + WEEKDAYS["一二三四五六日".find(found[2])]  # 天 is not among them: the last, Sunday
    text = re.sub(r"(?<=[a-z])[-.]|[,!?]|\.$", " ", text)
    text = replace_number_words(" ".join(text.split()))
    text = re.sub(r"\b(?:(20|30)[ -])?([a-z]+)\b", _ordinal, text)
    text = re.sub(r"\b(1[5-9]|20) (\d\d)$", r"\1\2", text)  # "nineteen seventy six"
    text = re.sub(r"\b(1[5-9]|20) oh? (\d)$", r"\g<1>0\2", text)
    return " ".join(text.split())


def _ordinal(found: re.Match[str]) -> str:
    tens, word = found.groups()
    day = _ORDINAL_OF.get(word)
    if day is None:
        return found[0]
    return f"{int(tens) + day}th" if tens and day < 10 else f"{tens + ' ' if tens else ''}{day}th"


def _day(text: str, today: date) -> date | None:
    return (
        _shifted(text, today)
        or _named(text, today)
        or _weekday(text, today)
        or _calendar_day(text, today)
        or _holiday(text, today)
    )


def _named(text: str, today: date) -> date | None:
    plain = re.sub(r" (?:morning|afternoon|evening|night)$", "", text)
    ahead = {"today": 0, "tonight": 0, "now": 0, "this": 0, "tomorrow": 1, "yesterday": -1, "last": -1}.get(plain)
    return None if ahead is None or text in ("this", "last") else today + timedelta(ahead)


def _weekday(text: str, today: date) -> date | None:
    found = re.fullmatch(r"(?:(this|this coming|coming|next|last|past|previous)\s+)?([a-z]{3,9})", text)
    days = [day for day, name in enumerate(WEEKDAYS) if found and name.startswith(found[2])]
    if not found or len(days) != 1:
        return None
    ahead = (days[0] - today.weekday()) % 7
    match found[1]:
        case "next":
            return today + timedelta(7 - today.weekday() + days[0])
        case "last" | "past" | "previous":
            return today + timedelta(ahead - 7)
        case _:
            return today + timedelta(ahead)


def _calendar_day(text: str, today: date) -> date | None:
    if found := _ISO.fullmatch(text):
        return date(int(found[1]), int(found[2]), int(found[3]))
    text = re.sub(rf"^(?:{'|'.join(WEEKDAYS)})\s+(?:the\s+)?", "", text)
    if found := _DAY_MONTH.fullmatch(text.removeprefix("the ")):
        day, month, year = found.groups()
    elif found := _MONTH_DAY.fullmatch(text):
        month, day, year = found.groups()
    elif found := _DAY_ONLY.fullmatch(text.removeprefix("the ")):
        return _next_day_of_month(int(found[1]), today)
    else:
        return None
    number = next(index for index, name in enumerate(_MONTHS) if name and name.startswith(month[:3]))
    return date(int(year), number, int(day)) if year else _next_yearly(lambda y: date(y, number, int(day)), today)


def _next_day_of_month(day: int, today: date) -> date:
    for months in range(3):
        first = add_months(today.replace(day=1), months)
        if day <= calendar.monthrange(first.year, first.month)[1] and first.replace(day=day) >= today:
            return first.replace(day=day)
    raise ValueError(day)


def _next_yearly(in_year: Callable[[int], date], today: date) -> date:
    for year in range(today.year, today.year + 9):  # the 29th of February may be eight years away
        try:
            day = in_year(year)
        except ValueError:
            continue
        if day >= today:
            return day
    raise ValueError("no such day")


def _holiday(text: str, today: date) -> date | None:
    found = re.fullmatch(r"(?:(this|next|last)\s+)?(.+?)(?:\s+(\d{4}))?", text)
    if not found:
        return None
    which, name, year = found.groups()
    in_year = _MOVING.get(name)
    if in_year is None:
        if name not in _FIXED:
            return None
        month, day = _FIXED[name]

        def in_year(year: int) -> date:
            return date(year, month, day)

    if year:
        return in_year(int(year))
    coming = _next_yearly(in_year, today)
    return in_year(coming.year - 1) if which == "last" else coming


def _nth(month: int, weekday: int, nth: int, plus: int = 0) -> Callable[[int], date]:
    """The nth weekday of a month (-1 is the last), ``plus`` days later."""

    def in_year(year: int) -> date:
        days = [day for week in calendar.monthcalendar(year, month) if (day := week[weekday])]
        return date(year, month, days[nth - 1 if nth > 0 else nth]) + timedelta(plus)

    return in_year


def _from_easter(plus: int) -> Callable[[int], date]:
    return lambda year: easter(year) + timedelta(plus)


def easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar, by the anonymous algorithm of 1876 (Meeus, Astronomical Algorithms)."""
    century, of_century = divmod(year, 100)
    golden = year % 19
    leaps, rest = divmod(century, 4)
    epact = (19 * golden + century - leaps - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    sunday = (32 + 2 * rest + 2 * (of_century // 4) - epact - of_century % 4) % 7
    shift = epact + sunday - 7 * ((golden + 11 * epact + 22 * sunday) // 451) + 114
    return date(year, shift // 31, shift % 31 + 1)


_MOVING: dict[str, Callable[[int], date]] = {
    "easter": easter,
    "easter sunday": easter,
    "good friday": _from_easter(-2),
    "easter monday": _from_easter(1),
    "pentecost": _from_easter(49),
    "memorial day": _nth(5, 0, -1),
    "labor day": _nth(9, 0, 1),
    "thanksgiving": _nth(11, 3, 4),
    "thanksgiving day": _nth(11, 3, 4),
    "black friday": _nth(11, 3, 4, plus=1),
}


def _shifted(text: str, today: date) -> date | None:
    """A length of time before or after a day: "in 3 weeks", "10 days ago", "2 weeks from friday"."""
    if found := re.fullmatch(r"in (.+?)(?:s time)?|(.+?) (?:from now|hence|later)", text):
        return _shift(today, found[1] or found[2], 1)
    if found := re.fullmatch(r"(.+?) (?:ago|earlier)", text):
        return _shift(today, found[1], -1)
    if found := re.fullmatch(r"(?:this day )?(next|last) (week|month|year)", text):
        return _shift(today, f"1 {found[2]}", 1 if found[1] == "next" else -1)
    if found := _RELATIVE.fullmatch(text):
        base = _day(found[3], today) or _day(_NOISE.sub("", found[3]), today)
        back = found[2] in ("before", "ahead of", "prior to")
        return None if base is None else _shift(base, found[1], -1 if back else 1)
    return None


def _shift(day: date, length: str, sign: int) -> date | None:
    at, moved = 0, day
    while at < len(length):
        found = _AMOUNT.match(length, at)
        if not found:
            return None
        count = sign * (int(found[1]) if found[1] else 1)
        match found[3]:
            case "month":
                moved = add_months(moved, count)
            case "year":
                moved = add_months(moved, 12 * count)
            case "decade":
                moved = add_months(moved, 120 * count)
            case unit:
                moved += timedelta(count * {"day": 1, "week": 7, "fortnight": 14}[unit])
        at = found.end()
    return moved
