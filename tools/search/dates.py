"""Dates as search services and web pages write them, as ISO dates."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from email.utils import parsedate_to_datetime

_MONTHS = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_DAYS = {"second": 0, "minute": 0, "min": 0, "hour": 0, "day": 1, "week": 7, "month": 30, "year": 365}
_MONTH = r"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_FORMS = (
    re.compile(r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})(?!\d)"),
    re.compile(r"(?P<y>\d{4}) ?年 ?(?P<m>\d{1,2}) ?月 ?(?P<d>\d{1,2}) ?日"),
    re.compile(rf"{_MONTH} (?P<d>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<y>\d{{4}})(?!\d)", re.I),
    re.compile(rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)? {_MONTH},? (?P<y>\d{{4}})(?!\d)", re.I),
)
_AGO = re.compile(r"(?P<n>\d{1,3}|an?) (?P<unit>second|minute|min|hour|day|week|month|year)s? ago", re.I)
_LEAD = re.compile(r"^(?P<date>[^·—–|-]{4,22}?) ?(?:·|—|–|\||-) (?=\S)")


def to_iso(text: str, today: date) -> str:
    """The date that ``text`` begins with, as ``2026-11-22``, or an empty string where it begins with none.

    Args:
        text: ISO 8601, RFC 5322, "Nov 3, 2026", "3 November 2026", "2026年11月3日", "2 days ago". Months and years ago
            are taken as 30 and 365 days.
        today: For "ago".
    """
    text = " ".join(text[:80].split())
    for form in _FORMS:
        if found := form.match(text):
            parts = found.groupdict()
            month = _MONTHS[parts["month"].lower()] if "month" in parts else int(parts["m"])
            return _valid(int(parts["y"]), month, int(parts["d"]))
    if found := _AGO.match(text):
        count = int(found["n"]) if found["n"].isdigit() else 1
        return (today - timedelta(days=count * _DAYS[found["unit"].lower()])).isoformat()
    if text.lower() == "yesterday":
        return (today - timedelta(days=1)).isoformat()
    return _rfc(text)


def leading_date(passage: str, today: date) -> tuple[str, str]:
    """The date that search engines put before a passage ("Nov 3, 2026 · The ..."), and the passage without it."""
    found = _LEAD.match(passage)
    iso = to_iso(found["date"], today) if found else ""
    return (iso, passage[found.end() :]) if found and iso else ("", passage)


def _valid(year: int, month: int, day: int) -> str:
    try:
        return date(year, month, day).isoformat() if year >= 1900 else ""
    except ValueError:
        return ""


def _rfc(text: str) -> str:
    try:
        found: datetime = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""
    return _valid(found.year, found.month, found.day)
