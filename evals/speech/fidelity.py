"""Whether what matters in a text was heard: codes, numbers, times, dates, amounts, telephone numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from sayso.evals.comparators import Known, same_date, same_money, same_number, same_phone
from sayso.evals.entities import Found, entities, letters_of
from sayso.speech.tts.normalize import normalize


def not_heard(written: str, spoken: Sequence[str], today: date | None = None) -> list[Found]:
    """The codes, numbers, times, dates, amounts and telephone numbers of a reply that nobody heard in its sound.

    Args:
        written: The reply.
        spoken: What each recogniser wrote; one that heard it is enough.
        today: For "tomorrow".
    """
    return [one for one in entities(written) if not any(_is_heard(one, text, today) for text in spoken)]


def _is_heard(one: Found, spoken: str, today: date | None) -> bool:
    """Whether it is in what was heard, in any form; a recogniser may write a time as a number and a code as words."""
    others = entities(spoken)
    digits = re.sub(r"\D", "", "".join(found.raw for found in others))
    match one.kind:
        case "code":
            return one.value in letters_of(spoken)
        case "phone":
            return one.value in digits or any(same_phone(one.value, found.value) for found in others)
        case "time":
            return one.value.rstrip("?").zfill(5) in _times(spoken) or _in_words(one, spoken)
        case "date":
            return same_date(one.value, spoken, Known(today)) or _in_words(one, spoken)
        case "money":
            return any(same_money(one.value, found.value) for found in others if found.kind in ("money", "number"))
        case _:
            numbers = [found.value for found in others if found.kind in ("number", "money", "time", "phone", "code")]
            return any(same_number(one.value, number) for number in numbers) or _in_words(one, spoken)


def _times(spoken: str) -> set[str]:
    """Every time that is heard, by the clock of 12 hours as well."""
    found = [one.value.rstrip("?").zfill(5) for one in entities(spoken) if one.kind == "time"]
    return {*found, *(f"{int(time[:2]) % 12:02}{time[2:]}" for time in found)}


def _in_words(one: Found, spoken: str) -> bool:
    """Whether the very words are heard that a voice says for it."""
    words, heard = (re.findall(r"\w+", normalize(text).casefold()) for text in (one.raw, spoken))
    size = len(words)
    return bool(size) and any(heard[at : at + size] == words for at in range(len(heard) - size + 1))
