"""`TurnResult`: a whole turn as one value, made from its events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sayso.events import AudioDelta, CallFinished, CallReady, EndReason, Event, Heard, TurnDone
from sayso.items import Audio, CallStatus


@dataclass(frozen=True, slots=True)
class CallReport:
    """One tool call of a turn, from its arguments to its outcome."""

    name: str
    arguments: dict[str, Any]
    status: CallStatus
    output: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TurnResult:
    """A whole turn, after it ended.

    Attributes:
        heard: What was understood of the user.
        text: The reply's words.
        audio: The reply's sound without fillers, or None for a written reply.
        calls: The tool calls in order.
        stages: Seconds from the turn's start by `sayso.turn.Stage`.
        reason: How it ended.
        events: All events.
    """

    heard: str
    text: str
    audio: Audio | None = field(repr=False)
    calls: tuple[CallReport, ...]
    stages: dict[str, float]
    reason: EndReason
    events: tuple[Event, ...] = field(repr=False)


def summarise(events: Sequence[Event]) -> TurnResult:
    """The result of the turn whose events these are; the last is its `TurnDone`."""
    done = next(event for event in reversed(events) if isinstance(event, TurnDone))
    finished = {event.call_id: event for event in events if isinstance(event, CallFinished)}
    return TurnResult(
        heard=next((event.text for event in events if isinstance(event, Heard)), ""),
        text=done.text,
        audio=_joined([event.audio for event in events if isinstance(event, AudioDelta) and not event.filler]),
        calls=tuple(
            CallReport(ready.name, ready.arguments, ended.status, ended.output, ended.seconds)
            for ready in events
            if isinstance(ready, CallReady) and (ended := finished.get(ready.call_id))
        ),
        stages=done.stages,
        reason=done.reason,
        events=tuple(events),
    )


def joined(first: TurnResult, then: TurnResult) -> TurnResult:
    """Two turns as one: a question and the answer to the call that was approved."""
    return TurnResult(
        heard=first.heard,
        text=f"{first.text} {then.text}".strip(),
        audio=_joined([result.audio for result in (first, then) if result.audio is not None]),
        calls=(*first.calls, *then.calls),
        stages=first.stages,
        reason=then.reason,
        events=(*first.events, *then.events),
    )


def _joined(pieces: Sequence[Audio]) -> Audio | None:
    if not pieces:
        return None
    from sayso.speech.audio import concatenate

    return concatenate(pieces)
