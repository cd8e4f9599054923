"""Times, dates, amounts, numbers, telephone numbers and codes in what is said, in English and Chinese, in any form.

"half past two", "2:30 p.m.", "两点半" and "14:30" are one time; "twenty-five dollars" and "$25" one amount; "Z, K,
three" and "zk-3" one code. A time without a half of the day ("two o'clock") is either of two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal, TypeAlias

from sayso.tools.spoken_numbers import replace_number_words

Kind: TypeAlias = Literal["time", "date", "money", "number", "phone", "code"]


@dataclass(frozen=True, slots=True)
class Found:
    """A typed thing in a text.

    Attributes:
        kind: What it is.
        value: Comparable: a time as ``"14:30"`` (``"2:30?"`` where morning or afternoon is open), a date as
            ``"2026-03-18"`` or ``"--03-18"``, an amount as ``"25 usd"``, a number as text, digits, a code.
        raw: As it stands in the (normalised) text.
    """

    kind: Kind
    value: str
    raw: str


_MONTHS: Final = "january february march april may june july august september october november december".split()
_MONTH: Final = "|".join(f"{month[:3]}(?:{month[3:]})?\\.?" if month != "may" else "may" for month in _MONTHS)
_WEEKDAYS: Final = "monday tuesday wednesday thursday friday saturday sunday".split()
_ORDINALS: Final = {
    word: number
    for number, word in enumerate(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
        "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth".split(),
        1,
    )
} | {"thirtieth": 30}
_ORDINAL: Final = re.compile(rf"\b(?:(twenty|thirty)[- ])?({'|'.join(_ORDINALS)})\b")
_HAN_DIGITS: Final = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_HAN_UNITS: Final = {"十": 10, "百": 100, "千": 1000}
_HAN_NUMBER: Final = re.compile(r"[零〇一二两三四五六七八九十百千万亿]+")
_CURRENCIES: Final = {
    "usd": ("$", "us$", "usd", "dollar", "dollars", "bucks", "美元", "美金", "刀"),
    "eur": ("€", "eur", "euro", "euros", "欧元"),
    "gbp": ("£", "gbp", "pound", "pounds", "英镑"),
    "cny": ("¥", "cny", "rmb", "yuan", "元", "块", "块钱", "人民币"),
}
_CURRENCY: Final = {name: code for code, names in _CURRENCIES.items() for name in names}
_UNITS: Final = "|".join(sorted((re.escape(name) for name in _CURRENCY if name not in "$€£¥"), key=len, reverse=True))
_NUMBER: Final = r"\d+(?:\.\d+)?"
_TIMES: Final = (
    re.compile(r"(?<![\d:])(\d{1,2})[:h](\d{2})(?!\d)(?:\s*([ap])\.?\s?m\b)?"),
    re.compile(r"(?<![\d.:])(\d{1,2})[ .](\d{2})\s*([ap])\.?\s?m\b"),
    re.compile(r"(?<![\d.:])(\d{1,2})()\s*([ap])\.?\s?m\b"),
    re.compile(r"(?<![\d.:])(\d{1,2})()()\s*o'?\s?clock"),
    re.compile(
        r"(?<=\bat )(1[0-2]|[1-9])()()(?=[,;!?]|\.(?!\d)|$| (?:on|for|in the|tomorrow|today|this|and|or|then)\b)"
    ),
)
_PAST: Final = re.compile(r"\b(half|quarter|\d{1,2}) (past|after|to) (\d{1,2})\b")
_HAN_TIME: Final = re.compile(
    r"(凌晨|早上|早晨|上午|中午|下午|傍晚|晚上)?(\d{1,2})[点時时](?:钟|整)?(?:(\d{1,2})分?|(半)|(1刻|3刻))?"
)
_AFTERNOON: Final = frozenset({"下午", "傍晚", "晚上"})
_MONTH_DAY: Final = re.compile(rf"\b({_MONTH}) (?:the )?(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (\d{{4}}))?")
_DAY_MONTH: Final = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH})\b(?:,? (\d{{4}}))?")
_ISO: Final = re.compile(r"(?<!\d)(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)")
_HAN_DATE: Final = re.compile(r"(?:(\d{4})年)?(\d{1,2})月(\d{1,2})[日号]?")
_MONEY: Final = (
    re.compile(rf"(?P<unit>[$€£¥])\s?(?P<amount>{_NUMBER})"),
    re.compile(rf"(?P<amount>{_NUMBER})\s*(?P<unit>{_UNITS})(?![a-z])(?: and (?P<cents>\d{{1,2}})(?: cents)?\b)?"),
)
_PHONE: Final = re.compile(r"(?<![\w.])\+?\d(?:[ \-().,]{0,2}\d){6,14}(?!\w)")
_CODE: Final = re.compile(r"\b(?=[a-z-]*\d)(?=[\d-]*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*\b")
_SPELLED: Final = re.compile(r"(?<![\w'])(?:[a-z0-9](?:\s*[,.\-]\s*|\s+)){2,}[a-z0-9](?![\w'])")
_NATO: Final = {
    word: word[0]
    for word in (
        "alpha alfa bravo charlie delta echo foxtrot golf hotel india juliet juliett kilo lima mike november oscar "
        "papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu".split()
    )
} | {"zee": "z", "zed": "z"}


def normalised(text: str) -> str:
    """``text`` in lower case and narrow letters, with numbers in figures."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain)
    plain = _ORDINAL.sub(_ordinal, plain)
    plain = _HAN_NUMBER.sub(lambda found: str(han_number(found[0])), plain)
    return replace_number_words(plain)


def entities(text: str, today: date | None = None) -> list[Found]:
    """All that is found, numbers that are part of something else left out.

    Args:
        text: What is said.
        today: For "tomorrow" and weekdays; None: these are not looked for.
    """
    plain = normalised(text)
    found: list[Found] = []
    for finder in (_dates, _times, _money, _phones, _codes):
        for one in finder(plain):
            found.append(one)
            plain = plain.replace(one.raw, " " * len(one.raw), 1)
    if today is not None:
        found += _relative(plain, today)
    found += [Found("number", _plain_number(raw), raw) for raw in re.findall(rf"(?<![\w.]){_NUMBER}", plain)]
    return found


def han_number(text: str) -> int | str:
    """A Chinese numeral as a number; a row of digits stays a row of digits."""
    if not any(unit in text for unit in "十百千万亿"):
        return "".join(str(_HAN_DIGITS[digit]) for digit in text)
    for unit, size in (("亿", 10**8), ("万", 10**4)):
        if unit in text:
            before, _, behind = text.partition(unit)
            return int(han_number(before) or 1) * size + int(han_number(behind) or 0)
    total, digit = 0, 0
    for character in text:
        if character in _HAN_UNITS:
            total += (digit or 1) * _HAN_UNITS[character]
            digit = 0
        else:
            digit = _HAN_DIGITS[character]
    return total + digit


def letters_of(code: str) -> str:
    """A code's letters and figures, without case, marks and spelling: ``Zulu, K - three`` is ``zk3``."""
    parts: list[str] = re.findall(r"[a-z]+|\d+", normalised(code))
    return "".join(_NATO.get(part, part) for part in parts)


def currency_of(unit: str) -> str:
    """The ISO code of a currency, in lower case; what is not known as it is."""
    plain = unicodedata.normalize("NFKC", unit).casefold().strip()
    return _CURRENCY.get(plain, plain)


def _ordinal(found: re.Match[str]) -> str:
    tens = {"twenty": 20, "thirty": 30}.get(found[1] or "", 0)
    return f"{tens + _ORDINALS[found[2]]}th"


def _plain_number(text: str) -> str:
    value = float(text)
    return str(int(value)) if value.is_integer() and len(text) < 16 else str(value)


def _clock(hour: int, minute: int, half: str) -> str | None:
    """A time; ``half`` is a, p, ``24`` where the hour tells, or nothing."""
    if hour > 24 or minute > 59:
        return None
    if half in ("a", "p"):
        return f"{hour % 12 + (12 if half == 'p' else 0):02}:{minute:02}" if hour <= 12 else None
    if hour > 12 or hour == 0 or half == "24":
        return f"{hour % 24:02}:{minute:02}"
    return f"{hour % 12}:{minute:02}?"


def _times(text: str) -> Iterator[Found]:
    for word, value in (("noon", "12:00"), ("midday", "12:00"), ("midnight", "00:00")):
        if re.search(rf"\b{word}\b", text):
            yield Found("time", value, word)
    for found in _PAST.finditer(text):
        minute = {"half": 30, "quarter": 15}.get(found[1]) or int(found[1])
        hour = int(found[3]) - (found[2] == "to")
        if value := _clock(hour, 60 - minute if found[2] == "to" else minute, ""):
            yield Found("time", value, found[0])
    for pattern in _TIMES:
        for found in pattern.finditer(text):
            exact = len(found[1]) == 2 and found[1][0] == "0"
            if value := _clock(int(found[1]), int(found[2] or 0), found[3] or ("24" if exact else "")):
                yield Found("time", value, found[0])
    for found in _HAN_TIME.finditer(text):
        minute = 30 if found[4] else {"1刻": 15, "3刻": 45}.get(found[5] or "") or int(found[3] or 0)
        hour, part = int(found[2]), found[1] or ""
        half = "p" if part in _AFTERNOON or (part == "中午" and hour < 3) else "a" if part and part != "中午" else ""
        if value := _clock(hour, minute, half if hour <= 12 else "24"):
            yield Found("time", value, found[0])


def _dates(text: str) -> Iterator[Found]:
    for found in _ISO.finditer(text):
        yield Found("date", f"{found[1]}-{int(found[2]):02}-{int(found[3]):02}", found[0])
    for pattern, month, day in ((_MONTH_DAY, 1, 2), (_DAY_MONTH, 2, 1)):
        for found in pattern.finditer(text):
            number = next(index for index, name in enumerate(_MONTHS, 1) if name.startswith(found[month][:3]))
            yield Found("date", f"{found[3] or '-'}-{number:02}-{int(found[day]):02}", found[0])
    for found in _HAN_DATE.finditer(text):
        yield Found("date", f"{found[1] or '-'}-{int(found[2]):02}-{int(found[3]):02}", found[0])


def _relative(text: str, today: date) -> Iterator[Found]:
    words = {"today": 0, "今天": 0, "tomorrow": 1, "明天": 1, "后天": 2}
    if "day after tomorrow" in text or "大后天" in text:
        words |= {"day after tomorrow": 2, "大后天": 3}
    for word, days in words.items():
        if word in text:
            yield Found("date", (today + timedelta(days)).isoformat(), word)
    for index, name in enumerate(_WEEKDAYS):
        han = "一二三四五六日"[index]
        for raw in re.findall(rf"\b{name}\b|(?:星期|周|礼拜)(?:{han}|{'7' if index == 6 else index + 1}|天)", text):
            if raw.endswith("天") and index != 6:
                continue
            yield Found("date", (today + timedelta((index - today.weekday()) % 7)).isoformat(), raw)


def _money(text: str) -> Iterator[Found]:
    for pattern in _MONEY:
        for found in pattern.finditer(text):
            cents = found.groupdict().get("cents")
            amount = float(found["amount"]) + (int(cents) / 100 if cents else 0)
            yield Found("money", f"{_plain_number(f'{amount:.2f}')} {currency_of(found['unit'])}", found[0])


def _phones(text: str) -> Iterator[Found]:
    for found in _PHONE.finditer(text):
        yield Found("phone", re.sub(r"\D", "", found[0]), found[0])


def _codes(text: str) -> Iterator[Found]:
    for found in _SPELLED.finditer(text):
        if re.search(r"[a-z]", found[0]):
            yield Found("code", letters_of(found[0]), found[0])
    for found in _CODE.finditer(text):
        if not re.fullmatch(r"\d+(?:st|nd|rd|th|am|pm|h|km|kg|cm|mm|m|g|s|ms|c|f|gb|mb)", found[0]):
            yield Found("code", letters_of(found[0]), found[0])
