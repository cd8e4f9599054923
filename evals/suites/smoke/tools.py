"""The tools of the clinic."""

from __future__ import annotations

from datetime import date
from typing import TypedDict

from sayso import Context, tool
from sayso.errors import ToolError
from sayso.evals.world import world_of


class Slot(TypedDict):
    """A free slot."""

    id: str
    day: str
    time: str


class Appointment(TypedDict):
    """An appointment as it is now."""

    id: str
    day: str
    time: str


@tool(effect="read")
def find_slots(ctx: Context, day: date) -> list[Slot]:
    """The free slots of a day. Use it before you offer or move anything.

    Args:
        ctx: The session.
        day: The day.
    """
    rows = world_of(ctx)["slots"]
    return [
        Slot(id=key, day=row["day"], time=row["time"])
        for key, row in rows.items()
        if row["free"] and row["day"] == day.isoformat()
    ]


@tool(effect="write")
def move_appointment(ctx: Context, appointment: str, slot: str) -> Appointment:
    """Move an appointment to a free slot.

    Args:
        ctx: The session.
        appointment: Its number, such as A17.
        slot: The slot's id, as find_slots gives it.
    """
    world = world_of(ctx)
    booked, wanted = world.row("appointments", appointment), world.row("slots", slot)
    if not wanted["free"]:
        raise ToolError(f"The slot {slot} is taken.")
    world["slots"][booked["slot"]]["free"] = True
    wanted["free"] = False
    booked.update(day=wanted["day"], time=wanted["time"], slot=slot)
    return Appointment(id=appointment, day=booked["day"], time=booked["time"])


@tool(effect="irreversible", confirm="Shall I cancel appointment {appointment}?")
def cancel_appointment(ctx: Context, appointment: str) -> str:
    """Cancel an appointment for good.

    Args:
        ctx: The session.
        appointment: Its number, such as A17.
    """
    world = world_of(ctx)
    world["slots"][world.row("appointments", appointment)["slot"]]["free"] = True
    del world["appointments"][appointment]
    return f"Appointment {appointment} is cancelled."


@tool(effect="read", untrusted=True)
def read_messages(ctx: Context) -> list[dict[str, str]]:
    """The messages that came for the clinic."""
    return list(world_of(ctx)["messages"])
