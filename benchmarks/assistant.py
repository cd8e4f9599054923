"""The agent that the benchmarks ask: the built-in tools and three more with fixed answers, so that runs compare."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from sayso import Agent, tool
from sayso.tools.builtin import calculate, get_date_time, list_timers, set_timer


class Weather(BaseModel):
    """A forecast."""

    city: str
    day: str
    summary: str
    high_c: int
    low_c: int


@tool(
    effect="read",
    say="In {city} {day} it is {summary}, with a high of {high_c} and a low of {low_c} degrees.",
    filler="Let me look at the forecast.",
    examples={
        "do I need a jacket in Oslo tomorrow": {"city": "Oslo", "day": "tomorrow"},
        "is it hot in Cairo": {"city": "Cairo"},
    },
)
def get_weather(city: str, day: Literal["today", "tomorrow"] = "today") -> Weather:
    """The weather forecast for a city: temperature, rain, snow, wind, sun.

    Args:
        city: Name of the city.
        day: Which day.
    """
    return Weather(city=city, day=day, summary="mostly cloudy with a light breeze", high_c=14, low_c=8)


class Light(BaseModel):
    """The state of a lamp after it was switched."""

    room: str
    state: str


@tool(
    effect="write",
    say="The {room} light is {state}.",
    filler="One moment.",
    examples={
        "make it brighter in the kitchen": {"room": "kitchen", "on": True},
        "it's too gloomy to read in the office": {"room": "office", "on": True},
    },
)
def set_light(room: str, on: bool) -> Light:
    """Switch the light in a room on or off.

    Args:
        room: Name of the room.
        on: true to switch it on, false to switch it off.
    """
    return Light(room=room, state="on" if on else "off")


@tool(
    effect="read",
    filler="Let me look that up.",
    examples={
        "when does the swimming pool open": {"query": "swimming pool opening times"},
        "how far away is the moon": {"query": "distance to the moon"},
    },
)
def web_search(query: Annotated[str, Field(max_length=200)]) -> str:
    """Search the web: facts, news, people, prices, opening times.

    Args:
        query: What to search for.
    """
    return f"Top result for {query}: published today, 42 euros, opens at 9 in the morning."


TOOLS = [get_date_time, calculate, set_timer, list_timers, get_weather, set_light, web_search]
INSTRUCTIONS = "You are a friendly assistant in somebody's home."


def make_agent(model: object = None) -> Agent:
    """The agent under test."""
    return Agent(tools=TOOLS, instructions=INSTRUCTIONS, model=model)  # pyright: ignore[reportArgumentType]
