"""`get_date_time`: the time and the date, here or anywhere."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from sayso.errors import ToolError
from sayso.tools.builtin.durations import speak_time
from sayso.tools.builtin.places import find_place
from sayso.tools.context import Context
from sayso.tools.tool import tool

_HERE = {
    "",
    "here",
    "local",
    "local time",
    "home",
    "now",
    "my location",
    "current",
    "current location",
    "my place",
    "这里",
}


class DateTime(BaseModel):
    """The time somewhere.

    Attributes:
        place: As it is spoken; empty for where the user is.
        time: Such as "3:45 PM".
        date: Such as "Sunday, November 22, 2026".
        iso: To the second, with the offset; for code, the model is not shown it.
        zone: The IANA zone; likewise.
    """

    place: str
    time: str
    date: str
    iso: str = Field(exclude=True)
    zone: str = Field(exclude=True)


def _say(found: DateTime) -> str | None:
    if not found.place.isascii() and any("\u4e00" <= sign <= "\u9fff" for sign in found.place):
        return None  # asked in Chinese: the model answers in Chinese
    day = found.date.rpartition(",")[0]
    where = f" in {found.place}" if found.place else ""
    return f"It is {found.time}{where}, {day}."  # what was most likely asked first: it is heard while the rest is made


@tool(
    effect="read",
    say=_say,
    filler="Let me check the clock.",
    examples={
        "what time is it in Nairobi": {"place": "Nairobi"},
        "which day of the week is it": {},
    },
)
def get_date_time(ctx: Context, place: str = "") -> DateTime:
    """The current time, date and weekday, here or in any city, state or country.

    Args:
        ctx: The session.
        place: City, state or country. Leave out for the user's own place.
    """
    if place.strip().casefold() in _HERE:
        return _date_time(ctx.now(), "", str(ctx.timezone))
    found = find_place(place[:100])
    if found is None:
        raise ToolError(f"The place '{place[:60]}' is not known.", "Ask for a larger city nearby, or for the country.")
    return _date_time(ctx.now().astimezone(found.zone), found.label, found.zone_name)


def _date_time(moment: datetime, place: str, zone: str) -> DateTime:
    return DateTime(
        place=place,
        time=speak_time(moment),
        date=f"{moment:%A, %B} {moment.day}, {moment.year}",
        iso=moment.isoformat(timespec="seconds"),
        zone=zone,
    )
