"""Times of day as people say them: "nine", "half past three", "quarter to five pm", "21:30", "noon"."""

from __future__ import annotations

import re
from datetime import time

from sayso.tools.spoken_numbers import replace_number_words

_NAMED = {"noon": time(12), "midday": time(12), "midnight": time(0)}
_HALF_OF_DAY = re.compile(r"\s*(am|pm|in the morning|in the afternoon|in the evening|at night|tonight)$")
_CLOCK = re.compile(r"(\d{1,2})(?:\s*[:.h]\s*|\s+)?(?:oh?\s)?(\d{1,2})?(?:\s*:\s*\d{2})?(?:\s*oclock)?")
_PAST = re.compile(r"(?:(\d{1,2})(?: minutes?)?|(half)|(?:a )?(quarter)) (past|after|to|before|of|till) (\d{1,2})")


def parse_time(said: str) -> time | None:
    """The time of day that was meant, or None. Without "am" or "pm" the hour is taken as it stands: "nine" is 09:00."""
    text = said[:60].strip().casefold().replace("’", "").replace("'", "")
    text = re.sub(r"\b([ap])\.?\s?m\b\.?", r"\1m", text)
    text = re.sub(r"^(?:it is|its|at|about|around|exactly)\s+", "", text.rstrip(".?! "))
    text = re.sub(r"\b(noon|midday)\b", "12 pm", text) if " " in text else text
    if text in _NAMED:
        return _NAMED[text]
    text = replace_number_words(text.replace("midnight", "0"))
    half = _HALF_OF_DAY.search(text)
    text = text[: half.start()] if half else text
    if found := _PAST.fullmatch(text):
        minutes = int(found[1]) if found[1] else 30 if found[2] else 15
        before = found[4] in ("to", "before", "of", "till")
        return None if minutes > 59 else _time(int(found[5]), -minutes if before else minutes, half)
    if found := _CLOCK.fullmatch(text):
        minutes = int(found[2] or 0)
        return None if minutes > 59 else _time(int(found[1]), minutes, half)
    return None


def _time(hour: int, minutes: int, half: re.Match[str] | None) -> time | None:
    if hour > 24 or (half and hour > 12 and half[1] in ("am", "in the morning")):
        return None
    if half and hour <= 12:
        morning = half[1] in ("am", "in the morning") or (
            half[1] in ("at night", "tonight") and hour in (12, 1, 2, 3, 4)
        )
        hour = hour % 12 + (0 if morning else 12)
    of_day = (hour * 60 + minutes) % 1440
    return time(of_day // 60, of_day % 60)
