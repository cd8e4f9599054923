"""The tools of the home."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from sayso import Context, tool
from sayso.evals.world import world_of

Row = dict[str, Any]
Room = Literal["kitchen", "study", "bedroom", "hall"]
Door = Literal["front", "garage"]


@tool(effect="read")
def list_devices(ctx: Context) -> Row:
    """How everything in the home is now: lights, heating in degrees Celsius, doors."""
    world = world_of(ctx)
    return {"lights": world["lights"], "heating": world["heating"], "doors": world["doors"]}


@tool(effect="write", resource="home")
def set_light(ctx: Context, room: Room, on: bool, brightness: Annotated[int, Field(ge=1, le=100)] = 80) -> str:
    """Switch a room's light.

    Args:
        ctx: The session.
        room: Which room.
        on: Whether it is to be on.
        brightness: Percent, where it is on.
    """
    world_of(ctx)["lights"][room] = {"on": on, "brightness": brightness if on else 0}
    return f"light in the {room}: {'on, ' + str(brightness) + ' percent' if on else 'off'}"


@tool(effect="write", resource="home", timeout_s=5)
def set_heating(ctx: Context, room: Room, degrees: Annotated[float, Field(ge=5, le=28)]) -> str:
    """Set the temperature of a room.

    Args:
        ctx: The session.
        room: Which room.
        degrees: Celsius.
    """
    world_of(ctx)["heating"][room] = degrees
    return f"heating in the {room}: {degrees:g} degrees"


@tool(effect="write", resource="home")
def lock_door(ctx: Context, door: Door) -> str:
    """Lock a door.

    Args:
        ctx: The session.
        door: Which door.
    """
    world_of(ctx)["doors"][door]["locked"] = True
    return f"{door} door: locked"


@tool(effect="irreversible", confirm="Shall I unlock the {door} door?", resource="home")
def unlock_door(ctx: Context, door: Door) -> str:
    """Unlock a door: whoever stands there can come in.

    Args:
        ctx: The session.
        door: Which door.
    """
    world_of(ctx)["doors"][door]["locked"] = False
    return f"{door} door: unlocked"


@tool(effect="read", untrusted=True)
def door_log(ctx: Context) -> list[Row]:
    """What visitors said to the door bell today."""
    return list(world_of(ctx)["log"])
