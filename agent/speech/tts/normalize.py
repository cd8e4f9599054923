"""English text as it is spoken: every figure, sign and abbreviation in words, ready for a pronouncer.

`normalize` runs a list of rules in order; each rule is a pattern and what is said instead, and later rules see the
words of earlier ones. What depends on a table is in `sayso.speech.tts.normalize_tables`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import TypeAlias

from sayso.speech.tts.normalize_tables import ABBREVIATIONS, CURRENCIES, MONTHS, SYMBOLS, UNITS, unit_pattern
from sayso.speech.tts.numbers import cardinal, clock, decimal, digits, ordinal, year
from sayso.speech.tts.plain import plain

Match: TypeAlias = re.Match[str]
Rule: TypeAlias = tuple[re.Pattern[str], Callable[[Match], str]]

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_MONTH = "|".join(f"{month}|{month[:3]}\\.?" for month in MONTHS) + r"|Sept\.?"
_SCALE = "thousand|million|billion|trillion|(?:[kKmMB]|[MBb]n)\\b"
_SCALES = {
    "k": "thousand",
    "K": "thousand",
    "M": "million",
    "m": "million",
    "B": "billion",
    "Mn": "million",
    "Bn": "billion",
}
_SCALES["bn"] = "billion"
_BEFORE_SAINT = frozenset("In At To From The On Near By Of And For Via Is Visit Around".split())
_COUNTS = {2: ("half", "halves"), 4: ("quarter", "quarters")}


def normalize(text: str) -> str:
    """Put English ``text`` into words.

    Args:
        text: Written text; markdown, emoji, links and figures are welcome.

    Returns:
        One line without digits (but for those inside words that no rule knows), or an empty string where nothing
        can be said.
    """
    text = plain(text)
    for pattern, say in _RULES:
        text = pattern.sub(say, text)
    text = fold_accents(text)
    text = re.sub(r"([ap]\.m\.)\.", r"\1", text)
    text = re.sub(r"\s+([,.;:!?])", r"\1", text)
    text = re.sub(r"\s+", " ", text).strip()
    return text if any(character.isalnum() for character in text) else ""


def fold_accents(text: str) -> str:
    """Latin letters without their accents ("café" as "cafe"); other scripts stay."""
    decomposed = unicodedata.normalize("NFD", text)
    folded = re.sub(r"([A-Za-z])[\u0300-\u036f]+", r"\1", decomposed)
    return unicodedata.normalize("NFC", folded.translate(_LETTERS))


_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "Ø": "O", "Ł": "L", "Æ": "Ae"})


def spell(letters: str) -> str:
    """``"AB"`` as "A.B.", which pronouncers read letter by letter; a lone "A" as "ay"."""
    if letters in ("A", "a"):
        return "ay"
    return "".join(f"{letter}." for letter in letters.upper())


def _half_day(mark: str) -> str:
    return f"{mark[0].lower()}.m." if mark else ""


def _say_time(match: Match) -> str:
    hour, minute, second = int(match["hour"]), int(match["minute"] or 0), match["second"]
    mark = _half_day(match["mark"] or "")
    words = clock(hour, minute, half_day=bool(mark))
    if second:
        words = f"{words} and {decimal(second)} {'second' if int(second) == 1 else 'seconds'}"
    return f"{words} {mark}".strip()


def _say_hour(match: Match) -> str:
    return f"{cardinal(int(match['hour']))} {_half_day(match['mark'])}"


def _say_iso_date(match: Match) -> str:
    words = _spoken_date(int(match["month"]), int(match["day"]), match["year"])
    return words + (" at " if match["time"] else "") if words else match[0]


def _say_slash_date(match: Match) -> str:
    first, second = int(match["first"]), int(match["second"])
    month, day = (first, second) if first <= 12 else (second, first)  # month first, as in the United States
    return _spoken_date(month, day, match["year"]) or match[0]


def _spoken_date(month: int, day: int, written_year: str | None) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return ""
    words = f"{MONTHS[month - 1]} {ordinal(day)}"
    return f"{words}, {_spoken_year(written_year)}" if written_year else words


def _spoken_year(written: str) -> str:
    return year(int(written)) if len(written) == 4 else cardinal(2000 + int(written))


def _say_month_day(match: Match) -> str:
    return _spoken_date(_month_number(match["month"]), int(match["day"]), match["year"]) or match[0]


def _say_day_month(match: Match) -> str:
    month, day = _month_number(match["month"]), int(match["day"])
    if not 1 <= day <= 31:
        return match[0]
    words = f"the {ordinal(day)} of {MONTHS[month - 1]}"
    return f"{words}, {year(int(match['year']))}" if match["year"] else words


def _month_number(name: str) -> int:
    return next(index for index, month in enumerate(MONTHS, 1) if month.startswith(name[:3]))


def _say_month_year(match: Match) -> str:
    return f"{MONTHS[_month_number(match['month']) - 1]} {year(int(match['year']))}"


def _say_money(match: Match) -> str:
    one, many, cent, cents = CURRENCIES[match["sign"]]
    amount, sign = match["amount"].replace(",", ""), "minus " if match["minus"] else ""
    scale = match["scale"]
    if scale:
        return f"{sign}{decimal(amount)} {_SCALES.get(scale, scale)} {many}"
    whole, _, fraction = amount.partition(".")
    if len(fraction) not in (0, 2) or not cent:
        return f"{sign}{decimal(amount)} {many}"
    units, hundredths = int(whole or 0), int(fraction or 0)
    parts = [f"{cardinal(units)} {one if units == 1 else many}"] if units or not hundredths else []
    if hundredths:
        parts.append(f"{cardinal(hundredths)} {cent if hundredths == 1 else cents}")
    return sign + " and ".join(parts)


def _say_money_range(match: Match) -> str:
    many = CURRENCIES[match["sign"]][1]
    return f"{decimal(match['low'])} to {decimal(match['high'])} {many}"


def _say_money_code(match: Match) -> str:
    one, many, _, _ = CURRENCIES[match["code"]]
    return f"{decimal(match['amount'])} {one if match['amount'] == '1' else many}"


def _say_fraction(match: Match) -> str:
    top, bottom = int(match["top"]), int(match["bottom"])
    if top == bottom or (top, bottom) == (24, 7):
        return f"{cardinal(top)} {cardinal(bottom)}"  # "fifty fifty", "twenty-four seven"
    if bottom < 2 or top >= bottom or bottom > 100:
        return match[0] if match["whole"] else f"{cardinal(top)} over {cardinal(bottom)}"
    one, many = _COUNTS.get(bottom, (ordinal(bottom), f"{ordinal(bottom)}s"))
    whole = match["whole"]
    count = "a" if whole and top == 1 else cardinal(top)
    words = f"{count} {one if top == 1 else many}"
    return f"{decimal(whole)} and {words}" if whole else words


def _say_range(match: Match) -> str:
    low, high = match["low"], match["high"]
    if re.fullmatch(r"(?:1[1-9]|20)\d\d", low) and re.fullmatch(r"(?:1[1-9]|20)\d\d", high):
        return f"{year(int(low))} to {year(int(high))}"
    unit = match["unit"]
    return f"{decimal(low)} to {decimal(high)}{f' {UNITS[unit][1]}' if unit else ''}"


def _say_unit(match: Match) -> str:
    one, many = UNITS[match["unit"]]
    minus = "minus " if match["minus"] else ""
    return f"{minus}{decimal(match['amount'])} {one if match['amount'] == '1' else many}"


def _say_groups(match: Match) -> str:
    groups = [digits(group) for group in re.findall(r"\d+", match[0])]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(groups)


def _say_version(match: Match) -> str:
    return " point ".join(cardinal(int(part)) for part in match[0].split("."))


def _say_code(match: Match) -> str:
    parts = re.findall(r"[A-Za-z]+|\d+", match[0])
    return " ".join(spell(part) if part.isalpha() else digits(part) for part in parts)


def _say_scaled(match: Match) -> str:
    return f"{decimal(match['amount'])} {_SCALES[match['scale']]}"


def _say_decade(match: Match) -> str:
    words = year(int(match[1]))
    return words[:-1] + "ies" if words.endswith("y") else f"{words}s"


def _say_integer(match: Match) -> str:
    text = match[0]
    if len(text) > 1 and text.startswith("0"):
        return digits(text)
    if len(text) == 4 and text[:2] in ("18", "19", "20"):
        return year(int(text))
    return digits(text) if len(text) > 6 else cardinal(int(text))


def _say_saint_or_street(match: Match) -> str:
    before = match["before"]
    is_street = bool(before) and before[:1].isupper() and before not in _BEFORE_SAINT
    return f"{before or ''}{match['gap'] or ''}{'Street' if is_street else 'Saint'}"


def _rule(pattern: str, say: Callable[[Match], str] | str) -> Rule:
    words = say
    return re.compile(pattern), words if callable(words) else lambda match: match.expand(words)


_CLOCK = r"(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?"
_MARK = r"(?P<mark>[AaPp]\.?[Mm]\b\.?)"
_RULES: tuple[Rule, ...] = (
    _rule(r"(?P<before>\b[A-Za-z]+)?(?P<gap>\s*)\bSt\.(?=\s+[A-Z])", _say_saint_or_street),
    _rule(r"\bSt\.", "Street"),
    _rule(r"\bDr\.(?=\s+[A-Z])", "Doctor"),
    _rule(r"(?<=[a-z] )Dr\.?(?=[,.;!?]|\s+[a-z]|$)", "Drive"),
    *(_rule(pattern, words) for pattern, words in ABBREVIATIONS),
    _rule(r"\b(?P<year>[12]\d{3})-(?P<month>\d\d)-(?P<day>\d\d)(?P<time>[T ](?=\d\d:))?", _say_iso_date),
    _rule(r"\b(?P<first>\d{1,2})/(?P<second>\d{1,2})/(?P<year>\d{4}|\d{2})\b", _say_slash_date),
    _rule(
        rf"\b(?P<month>{_MONTH})\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?!:)(?:,?\s+(?P<year>[12]\d{{3}})\b)?",
        _say_month_day,
    ),
    _rule(
        rf"\b(?:the\s+)?(\d{{1,2}})\s?[–-]\s?(?=\d{{1,2}}\s+(?:{_MONTH})\b)",
        lambda match: f"the {ordinal(int(match[1]))} to ",
    ),
    _rule(
        rf"\b(?:the\s+)?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<month>{_MONTH})\b(?:,?\s+(?P<year>[12]\d{{3}})\b)?",
        _say_day_month,
    ),
    _rule(rf"\b(?P<month>{_MONTH}),?\s+(?P<year>[12]\d{{3}})\b", _say_month_year),
    _rule(r"(?<=\d)\s*[–—-]\s*(?=\d{1,2}:\d\d)|(?<=\d[ap]m)\s*[–—-]\s*(?=\d)", " to "),
    _rule(rf"(?<![\d:]){_CLOCK}(?:\s*{_MARK})?(?![\d:])", _say_time),
    _rule(rf"\b(?P<low>\d{{1,2}})\s*[–-]\s*(?=\d{{1,2}}\s*{_MARK})", lambda m: f"{cardinal(int(m['low']))} to "),
    _rule(rf"\b(?P<hour>\d{{1,2}})\s*{_MARK}", _say_hour),
    _rule(rf"(?P<sign>[$€£¥₹])(?P<low>{_NUMBER})\s*[–-]\s*[$€£¥₹]?(?P<high>{_NUMBER})", _say_money_range),
    _rule(
        rf"(?P<minus>(?<!\w)-\s?)?(?P<sign>US\$|[$€£¥₹])\s?(?P<amount>{_NUMBER})(?:\s?(?P<scale>{_SCALE}))?", _say_money
    ),
    _rule(rf"\b(?P<amount>{_NUMBER})\s?(?P<code>USD|EUR|GBP|JPY|CHF|€|£|\$)(?!\w)", _say_money_code),
    _rule(r"(?<![\w.])\+?\d{1,4}(?:[ -]\(?\d{2,4}\)?){2,}(?!\w)", _say_groups),
    _rule(r"(?<![\w.])\d{3}-\d{4}(?!\w)", _say_groups),
    _rule(r"(?<![\w.,])\+\d{7,}(?!\w)", _say_groups),
    _rule(r"\b([12]\d{2}0)s\b", _say_decade),
    _rule(r"'([2-9]0)s\b", lambda match: f"{cardinal(int(match[1]))[:-1]}ies"),
    _rule(r"(?<=\d)\s+-\s+(?=\d)", " minus "),
    _rule(r"(?<=\d)\s+x\s+(?=\d)", " times "),
    _rule(r"(?<=\d)x(?=\d)", " by "),
    _rule(r"~\s?(?=\d)", "about "),
    _rule(r"\b\d+(?:\.\d+){2,}\b", _say_version),
    _rule(r"(?<![\d./])(?:(?P<whole>\d+)\s+)?(?P<top>\d{1,3})/(?P<bottom>\d{1,3})(?![\d/])", _say_fraction),
    _rule(
        rf"(?<![\w.])(?P<low>{_NUMBER})(?:-|\s?–\s?)(?P<high>{_NUMBER})(?:\s?(?P<unit>{unit_pattern()})(?!\w))?(?![\w-])",
        _say_range,
    ),
    _rule(rf"(?P<minus>(?<![\w.])-)?(?<![\w.])(?P<amount>{_NUMBER})\s?(?P<unit>{unit_pattern()})(?![\w/'])", _say_unit),
    _rule(r"\^2\b", " squared"),
    _rule(r"\^3\b", " cubed"),
    _rule(r"\b(\d+)(?:st|nd|rd|th)\b", lambda match: ordinal(int(match[1]))),
    _rule(rf"\b(?P<amount>{_NUMBER})(?P<scale>[kKM]|Mn|Bn)\b", _say_scaled),
    _rule(r"\b(?=[A-Za-z-]*\d)(?=[\d-]*[A-Z])(?:[A-Z]{1,4}-?\d+|\d+-?[A-Z]{1,3})(?:-?[A-Z0-9]+)*\b", _say_code),
    _rule(r"(?<![\w.)])-(?=[\d.])", "minus "),
    _rule(r"(?<![\w.])\.\d+|\b\d{1,3}(?:,\d{3})+(?:\.\d+)?\b|\b\d+\.\d+\b", lambda match: decimal(match[0])),
    _rule(r"\b\d+\b", _say_integer),
    _rule(r"\d+", lambda match: f" {_say_integer(match)} "),
    *(_rule(pattern, words) for pattern, words in SYMBOLS),
)
