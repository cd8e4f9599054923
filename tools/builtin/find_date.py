"""`find_date`: which day something is, however it is said."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, Field

from sayso.errors import ToolError
from sayso.tools.builtin.spoken_dates import parse_date, plural, speak_date, speak_span
from sayso.tools.context import Context
from sayso.tools.tool import tool

EXACT_DAYS = 400
"""Up to here the distance from today is told in days."""


class DateFound(BaseModel):
    """A day.

    Attributes:
        date: Such as "Friday, December 18, 2026".
        from_today: Such as "in 26 days" or "yesterday".
        iso: For code; the model is not shown it.
    """

    date: str
    from_today: str
    iso: str = Field(exclude=True)


def read_date(said: str, ctx: Context) -> date:
    """The day that was meant.

    Raises:
        ToolError: It is none that is understood.
    """
    found = parse_date(said, ctx.now().date())
    if found is None:
        raise ToolError(
            f"'{said[:60]}' is not a day that is understood.",
            "Say it as '4 July 1976', 'next Friday', 'Christmas' or 'three weeks from Friday'; no numbers for months.",
        )
    return found


def _say(found: DateFound) -> str:
    was = "was" if found.from_today.endswith(("ago", "yesterday")) else "is"
    return f"That {was} {found.date}, {found.from_today}."


@tool(
    effect="read",
    thread=False,
    say=_say,
    filler="Let me look at the calendar.",
    examples={
        "what is the date three weeks from Friday": {"when": "three weeks from Friday"},
        "what day of the week was the 4th of July 1976": {"when": "4 July 1976"},
        "when is Easter": {"when": "Easter"},
    },
)
def find_date(when: str, ctx: Context) -> DateFound:
    """Find the weekday and date of a day in the past or future, such as a holiday or "three weeks from Friday".

    Args:
        when: The day, in the words of the user.
        ctx: The session.
    """
    day = read_date(when, ctx)
    return DateFound(date=speak_date(day), from_today=_from_today(day, ctx.now().date()), iso=day.isoformat())


def _from_today(day: date, today: date) -> str:
    days = (day - today).days
    if abs(days) <= 1:
        return ("yesterday", "today", "tomorrow")[days + 1]
    first, last = sorted((day, today))
    distance = plural(abs(days), "day") if abs(days) <= EXACT_DAYS else speak_span(first, last)
    return f"in {distance}" if days > 0 else f"{distance} ago"
