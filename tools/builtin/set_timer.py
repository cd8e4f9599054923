"""`set_timer`: start a timer in this conversation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel

from sayso.errors import ToolError
from sayso.tools.builtin.durations import WEEK, parse_duration, speak_duration, speak_time
from sayso.tools.context import Context
from sayso.tools.tool import tool

STATE_KEY = "timers"
MAX_TIMERS = 100


@dataclass(frozen=True, slots=True)
class Timer:
    """A running or finished timer.

    Attributes:
        label: What it is for; may be empty.
        seconds: How long it was set for.
        due: When it runs out, aware.
    """

    label: str
    seconds: float
    due: datetime


class TimerSet(BaseModel):
    """A timer that was just set."""

    duration: str
    label: str
    ends_at: str


def timers_of(ctx: Context) -> list[Timer]:
    """The session's timers in the order in which they were set."""
    return ctx.state.setdefault(STATE_KEY, [])


def _say(timer: TimerSet) -> str:
    what = f"{timer.label[0].upper()}{timer.label[1:]} timer" if timer.label else "Timer"
    return f"{what} set for {timer.duration}."


@tool(
    effect="write",
    thread=False,
    say=_say,
    filler="Setting it now.",
    examples={
        "wake me from my nap in forty minutes": {"duration": "40 minutes", "label": "nap"},
        "start a timer for an hour and a half": {"duration": "an hour and a half"},
    },
)
def set_timer(duration: str, ctx: Context, label: str = "") -> TimerSet:
    """Set a timer or reminder that runs out after a length of time.

    Args:
        duration: How long, in the words of the user, with the unit: "25 minutes", "half an hour".
        ctx: The session.
        label: What the timer is for, in one or two words. Leave out if the user did not say.
    """
    seconds = parse_duration(duration)
    if seconds is None:
        raise ToolError(
            f"'{duration[:60]}' is not a length of time.", "Give a number and a unit, such as '10 minutes'."
        )
    if not 1 <= seconds <= WEEK:
        raise ToolError("A timer can run from one second to seven days.", "Ask the user for another length.")
    timers = timers_of(ctx)
    if len(timers) >= MAX_TIMERS:
        raise ToolError(f"There are {MAX_TIMERS} timers already.")
    timer = Timer(" ".join(label.split())[:60], seconds, ctx.now() + timedelta(seconds=seconds))
    timers.append(timer)
    return TimerSet(duration=speak_duration(seconds), label=timer.label, ends_at=speak_time(timer.due))
