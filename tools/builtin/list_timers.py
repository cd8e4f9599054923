"""`list_timers`: which timers run in this conversation, and how long they still have."""

from __future__ import annotations

from pydantic import BaseModel

from sayso.tools.builtin.durations import speak_duration, speak_roughly
from sayso.tools.builtin.set_timer import timers_of
from sayso.tools.context import Context
from sayso.tools.tool import tool


class TimerState(BaseModel):
    """One timer now."""

    label: str
    set_for: str
    finished: bool
    time_left: str


class TimerList(BaseModel):
    """All timers, in the order in which they were set."""

    timers: list[TimerState]


def _say(found: TimerList) -> str | None:
    if not found.timers:
        return "You have no timers."
    if len(found.timers) > 3:
        return None  # the model sums up
    lines = [
        f"Your {_name(timer)} has run out." if timer.finished else f"Your {_name(timer)} has {timer.time_left} left."
        for timer in found.timers
    ]
    return " ".join(lines)


def _name(timer: TimerState) -> str:
    return f"{timer.label} timer" if timer.label else f"{timer.set_for} timer"


@tool(
    effect="read",
    thread=False,
    say=_say,
    filler="Let me check.",
    examples={"is my tea ready yet": {}},
)
def list_timers(ctx: Context) -> TimerList:
    """List the timers that were set, how much time each has left, and which have run out."""
    now = ctx.now()
    states: list[TimerState] = []
    for timer in timers_of(ctx):
        left_s = (timer.due - now).total_seconds()
        states.append(
            TimerState(
                label=timer.label,
                set_for=speak_duration(timer.seconds),
                finished=left_s <= 0,
                time_left=speak_roughly(max(0.0, left_s)),
            )
        )
    return TimerList(timers=states)
