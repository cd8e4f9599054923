"""`days_between`: how long it is from one day to another."""

from __future__ import annotations

from pydantic import BaseModel

from sayso.tools.builtin.find_date import read_date
from sayso.tools.builtin.spoken_dates import plural, speak_date, speak_span
from sayso.tools.context import Context
from sayso.tools.tool import tool

_TODAY = ("", "today", "now")


class Span(BaseModel):
    """The time between two days.

    Attributes:
        days: From the first to the second; never negative.
        weeks: Such as "4 weeks and 5 days".
        calendar: Such as "1 month and 3 days".
        start: The earlier day in words.
        end: The later day in words.
    """

    days: int
    weeks: str
    calendar: str
    start: str
    end: str


@tool(
    effect="read",
    thread=False,
    say=lambda span: f"From {span.start} to {span.end} it is {plural(span.days, 'day')}.",
    filler="Let me count.",
    examples={
        "how many days until Christmas": {"end": "Christmas"},
        "how long is it from the 3rd of March to the 10th of May": {"start": "3 March", "end": "10 May"},
        "how many days ago was the first of January 2020": {"start": "1 January 2020", "end": "today"},
    },
)
def days_between(end: str, ctx: Context, start: str = "today") -> Span:
    """Count the days and weeks from one day to another, such as until Christmas or since a birthday.

    Args:
        end: The other day, in the words of the user.
        ctx: The session.
        start: The day to count from. Leave out for today.
    """
    days = sorted(
        ctx.now().date() if said.strip().casefold() in _TODAY else read_date(said, ctx) for said in (start, end)
    )
    count = (days[1] - days[0]).days
    weeks, rest = divmod(count, 7)
    in_weeks = [plural(weeks, "week")] * (weeks > 0) + [plural(rest, "day")] * (rest > 0 or not weeks)
    return Span(
        days=count,
        weeks=" and ".join(in_weeks),
        calendar=speak_span(*days),
        start=speak_date(days[0]),
        end=speak_date(days[1]),
    )
