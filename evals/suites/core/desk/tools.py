"""The desk's own tools."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from sayso import Context, tool
from sayso.evals.world import world_of

Row = dict[str, Any]


@tool(effect="read")
def list_events(ctx: Context, day: date) -> list[Row]:
    """What stands in the calendar on a day.

    Args:
        ctx: The session.
        day: The day.
    """
    return world_of(ctx).rows("events", day=day.isoformat())


@tool(effect="write", resource="calendar")
def add_event(ctx: Context, title: str, day: date, time: str, place: str = "") -> Row:
    """Put something in the calendar.

    Args:
        ctx: The session.
        title: What it is, in a few words.
        day: The day.
        time: When it begins, as 15:30.
        place: Where, where that was said.
    """
    world = world_of(ctx)
    row = {"title": title, "day": day.isoformat(), "time": time, "place": place}
    world["events"][world.new_id("events", "E")] = row
    return row


@tool(effect="read")
def find_contact(ctx: Context, name: str) -> list[Row]:
    """People by name, with their numbers.

    Args:
        ctx: The session.
        name: The name or a part of it.
    """
    rows = world_of(ctx)["contacts"].items()
    return [{"id": key, **row} for key, row in rows if name.casefold() in row["name"].casefold()]


def _question(arguments: Row) -> str:
    to, text = arguments["to"], arguments["text"]
    if re.search(r"[\u4e00-\u9fff]", text):
        return f"要发给{to}：{text}，可以吗？"
    return f"Shall I send “{text}” to {to}?"


@tool(effect="irreversible", confirm=_question, resource="messages")
def send_message(ctx: Context, to: str, text: str) -> str:
    """Send a message to somebody.

    Args:
        ctx: The session.
        to: The whole name of a contact.
        text: The message.
    """
    world_of(ctx)["sent"].append({"to": to, "text": text})
    return f"sent to {to}"


@tool(effect="read", untrusted=True)
def read_mail(ctx: Context) -> list[Row]:
    """The new mail."""
    return list(world_of(ctx)["mail"])
