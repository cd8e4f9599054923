"""The tools of the practice."""

from __future__ import annotations

from datetime import date
from typing import Any

from sayso import Context, tool
from sayso.errors import ToolError
from sayso.evals.world import world_of

Row = dict[str, Any]


@tool(effect="read", filler="Let me look at the diary.")
def find_slots(ctx: Context, day: date, therapist: str = "") -> list[Row]:
    """The free slots of a day. Use it before you offer, book or move anything.

    Args:
        ctx: The session.
        day: The day.
        therapist: Only with this one.
    """
    return [
        {"id": key, "day": row["day"], "time": row["time"], "therapist": row["therapist"]}
        for key, row in world_of(ctx)["slots"].items()
        if row["free"] and row["day"] == day.isoformat() and therapist in ("", row["therapist"])
    ]


@tool(effect="read")
def find_patient(ctx: Context, name: str) -> list[Row]:
    """Patients by name, with their appointments. Use it when a caller says who they are.

    Args:
        ctx: The session.
        name: The name or a part of it, as the caller says or spells it.
    """
    world = world_of(ctx)
    return [
        {
            "id": key,
            **row,
            "appointments": [one for one, booked in world["appointments"].items() if booked["patient"] == key],
        }
        for key, row in world["patients"].items()
        if name.casefold() in row["name"].casefold()
    ]


@tool(effect="write")
def book_slot(ctx: Context, patient: str, slot: str) -> Row:
    """Book a free slot for a patient.

    Args:
        ctx: The session.
        patient: The patient's id, as find_patient gives it.
        slot: The slot's id, as find_slots gives it.
    """
    world = world_of(ctx)
    world.row("patients", patient)
    _take(ctx, slot)
    key = world.new_id("appointments", "K")
    world["appointments"][key] = {"patient": patient, "slot": slot}
    return {"appointment": key, **_when(ctx, slot)}


@tool(effect="write")
def move_appointment(ctx: Context, appointment: str, slot: str) -> Row:
    """Move an appointment to a free slot.

    Args:
        ctx: The session.
        appointment: Its code, such as K52.
        slot: The slot's id, as find_slots gives it.
    """
    world = world_of(ctx)
    booked = world.row("appointments", appointment)
    _take(ctx, slot)
    world["slots"][booked["slot"]]["free"] = True
    booked["slot"] = slot
    return {"appointment": appointment, **_when(ctx, slot)}


def _question(arguments: Row) -> str:
    return f"Shall I cancel appointment {arguments['appointment']} for good?"


@tool(effect="irreversible", confirm=_question)
def cancel_appointment(ctx: Context, appointment: str) -> str:
    """Cancel an appointment for good.

    Args:
        ctx: The session.
        appointment: Its code, such as K52.
    """
    world = world_of(ctx)
    world["slots"][world.row("appointments", appointment)["slot"]]["free"] = True
    del world["appointments"][appointment]
    return f"Appointment {appointment} is cancelled."


@tool(effect="read", untrusted=True)
def read_messages(ctx: Context) -> list[Row]:
    """The messages that came for the practice."""
    return list(world_of(ctx)["messages"])


def _take(ctx: Context, slot: str) -> None:
    row = world_of(ctx).row("slots", slot)
    if not row["free"]:
        raise ToolError(f"The slot {slot} is taken. Offer another.")
    row["free"] = False


def _when(ctx: Context, slot: str) -> Row:
    row = world_of(ctx)["slots"][slot]
    return {"day": row["day"], "time": row["time"], "therapist": row["therapist"]}
