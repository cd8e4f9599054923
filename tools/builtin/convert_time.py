"""`convert_time`: what time it is in one place when it is a given time in another."""

from __future__ import annotations

from datetime import UTC, date, datetime

from pydantic import BaseModel

from sayso.errors import ToolError
from sayso.tools.builtin.durations import speak_time
from sayso.tools.builtin.find_date import read_date
from sayso.tools.builtin.places import Place, find_place
from sayso.tools.builtin.spoken_clock import parse_time
from sayso.tools.context import Context
from sayso.tools.tool import tool

HERE = "here"
_HERE = ("", HERE, "home", "local", "my place", "local time", "这里")


class TimeConverted(BaseModel):
    """One moment on two clocks.

    Attributes:
        from_time: Such as "9:00 AM".
        from_place: As it is spoken; "here" for where the user is.
        to_time: As ``from_time``.
        to_place: As ``from_place``.
        day: " the next day", " the day before" or nothing.
    """

    from_time: str
    from_place: str
    to_time: str
    to_place: str
    day: str


def _say(found: TimeConverted) -> str | None:
    if not (found.from_place + found.to_place).isascii():
        return None  # asked in Chinese, perhaps: the model answers
    where = [f"in {place}" if place != HERE else "where you are" for place in (found.from_place, found.to_place)]
    return f"When it is {found.from_time} {where[0]}, it is {found.to_time}{found.day} {where[1]}."


@tool(
    effect="read",
    say=_say,
    filler="Let me check the clocks.",
    examples={
        "what time is it in Tokyo when it is nine in London": {
            "time": "9:00",
            "from_place": "London",
            "to_place": "Tokyo",
        },
        "the call is at 3 pm New York time, when is that here": {"time": "3 pm", "from_place": "New York"},
    },
)
def convert_time(time: str, ctx: Context, from_place: str = "", to_place: str = "", date: str = "") -> TimeConverted:
    """Convert a time of day from one city or country to another.

    Args:
        time: The time of day, such as "9:00", "3 pm" or "half past seven".
        ctx: The session.
        from_place: Where it is that time. Leave out for the user's own place.
        to_place: Where the time is wanted. Leave out for the user's own place.
        date: The day, if the user named one.
    """
    clock = parse_time(time)
    if clock is None:
        raise ToolError(f"'{time[:40]}' is not a time of day.", "Give it as '9:00' or '3 pm'.")
    origin, target = _place(from_place, ctx), _place(to_place, ctx)
    day = _day(date, origin, ctx)
    # by way of UTC: a time that daylight saving skips is moved on by the hour that is missing
    moment = datetime.combine(day, clock, origin.zone).astimezone(UTC)
    here, there = moment.astimezone(origin.zone), moment.astimezone(target.zone)
    shift = (there.date() - here.date()).days
    return TimeConverted(
        from_time=speak_time(here),
        from_place=origin.label,
        to_time=speak_time(there),
        to_place=target.label,
        day=" the next day" if shift > 0 else " the day before" if shift < 0 else "",
    )


def _day(said: str, origin: Place, ctx: Context) -> date:
    return read_date(said, ctx) if said.strip() else ctx.now().astimezone(origin.zone).date()


def _place(said: str, ctx: Context) -> Place:
    if said.strip().casefold() in _HERE:
        return Place(HERE, ctx.timezone, str(ctx.timezone))
    found = find_place(said[:100])
    if found is None:
        raise ToolError(f"The place '{said[:60]}' is not known.", "Ask for a larger city nearby, or for the country.")
    return found
