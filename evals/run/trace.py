"""What happened in a unit: turns with their events, and the world after each. Written to a file, and read again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sayso.errors import UsageError
from sayso.events import (
    AudioDelta,
    CallFinished,
    CallReady,
    CallStarted,
    Event,
    Heard,
    RoundDone,
    TextDelta,
    TurnDone,
)
from sayso.items import JsonObject
from sayso.wire import event_from_json, event_to_json


@dataclass(frozen=True, slots=True)
class CallTrace:
    """One call.

    Attributes:
        round: In which round of the turn the model made it, from 0.
        status: How it ended last: a background call ends twice.
        events: The `seq` of its events.
        started_s: On the session's clock.
        ended_s: On the session's clock.
    """

    call_id: str
    tool: str
    arguments: JsonObject
    round: int
    status: str
    output: str
    events: tuple[int, ...]
    started_s: float
    ended_s: float

    @property
    def result(self) -> Any:
        """What came back, as JSON where it is JSON."""
        try:
            return json.loads(self.output)
        except ValueError:
            return self.output


@dataclass(slots=True)
class TurnTrace:
    """One turn.

    Attributes:
        index: From 0.
        user: What the user said, in words.
        events: What the session emitted from the user's first word on, until the next.
        reply: What was heard of the reply.
        began_s: When the user began to speak, on the session's clock.
        ended_s: When the user had finished.
        interrupted_ms: How much of the reply was played when the user cut it off; None: nobody did.
        yield_ms: From the interruption's first sound to the agent's last.
        ttfa_s: From the user's last sound to the agent's first, on the recording.
        answered: Whether it was a turn to the agent; a backchannel is none.
        numbers: What a mode measured, by name.
        spoken: What each recogniser wrote of the reply's sound; empty: nobody listened.
        spoken_language: Of the reply's sound, BCP 47, as it was heard.
        world: The world after it; None: as before.
    """

    index: int
    user: str
    events: list[Event] = field(default_factory=list[Event])
    reply: str = ""
    began_s: float = 0.0
    ended_s: float = 0.0
    interrupted_ms: int | None = None
    yield_ms: float | None = None
    ttfa_s: float | None = None
    answered: bool = True
    numbers: dict[str, float] = field(default_factory=dict[str, float])
    spoken: list[str] = field(default_factory=list[str])
    spoken_language: str | None = None
    world: JsonObject | None = None

    @property
    def heard(self) -> str:
        """What the agent understood."""
        return next((event.text for event in self.events if isinstance(event, Heard)), "")

    @property
    def written(self) -> str:
        """All that the agent wrote, heard or not."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def stages(self) -> dict[str, float]:
        """Seconds from the turn's start by stage."""
        done = next((event for event in self.events if isinstance(event, TurnDone)), None)
        return {} if done is None else {name: round(value, 6) for name, value in done.stages.items()}

    @property
    def rounds(self) -> int:
        """How often the model was asked."""
        return sum(isinstance(event, RoundDone) for event in self.events)

    @property
    def reply_events(self) -> tuple[int, ...]:
        """The events that show the reply."""
        shown = [event.seq for event in self.events if isinstance(event, TextDelta)]
        return tuple(shown[:1] + shown[-1:] if len(shown) > 1 else shown)

    @property
    def last_event(self) -> tuple[int, ...]:
        """The event that ends it."""
        return tuple(event.seq for event in self.events[-1:])

    def calls(self) -> list[CallTrace]:
        """The calls, in the order in which they were made."""
        finished = {event.call_id: event for event in self.events if isinstance(event, CallFinished)}
        started = {event.call_id: event for event in self.events if isinstance(event, CallStarted)}
        return [
            _call(event, rounds, started.get(event.call_id), finished.get(event.call_id))
            for rounds, event in _with_round(self.events)
        ]


@dataclass(slots=True)
class Trace:
    """A whole unit.

    Attributes:
        turns: In order.
        start: The world at the beginning.
        tools: Effect and JSON Schema of each tool of the agent, by name.
        instructions: What the agent was told.
        broken: What broke that is not the agent's: the unit is void.
        late: Ends of calls of earlier turns are in the turn in which they came.
    """

    start: JsonObject
    turns: list[TurnTrace] = field(default_factory=list[TurnTrace])
    tools: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    instructions: str = ""
    broken: list[str] = field(default_factory=list[str])
    numbers: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def world(self) -> JsonObject:
        """As it is at the end."""
        return self.world_after(len(self.turns) - 1)

    def world_after(self, turn: int) -> JsonObject:
        """The world after a turn."""
        worlds = [trace.world for trace in self.turns[: turn + 1] if trace.world is not None]
        return worlds[-1] if worlds else self.start

    def effect(self, tool: str) -> str:
        """What a tool does; of one that is not known, that it writes."""
        return str(self.tools.get(tool, {}).get("effect", "write"))

    def defaults(self, tool: str) -> JsonObject:
        """The values that a tool's parameters have where they are left out."""
        properties: JsonObject = self.tools.get(tool, {}).get("parameters", {}).get("properties", {})
        return {name: schema["default"] for name, schema in properties.items() if "default" in schema}


def write_trace(trace: Trace, path: Path) -> None:
    """Write a trace as JSON lines: the beginning, then each turn and its events.

    Sound is left out, but for its length.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in _lines(trace)), encoding="utf-8")


def read_trace(path: Path) -> Trace:
    """A trace that was written.

    Raises:
        UsageError: There is none.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", "Give the folder of a run and the id of a unit.") from None
    head = lines[0]["unit"]
    trace = Trace(head["start"], [], head["tools"], head["instructions"], head["broken"], head["numbers"])
    for line in lines[1:]:
        if "turn" in line:
            trace.turns.append(_turn(line["turn"], trace))
        else:
            trace.turns[-1].events.append(_event(line["event"]))
    return trace


_PLAIN = (  # of a TurnTrace
    "index user reply began_s ended_s interrupted_ms yield_ms ttfa_s answered numbers spoken spoken_language".split()
)


def _lines(trace: Trace) -> Iterator[JsonObject]:
    yield {
        "unit": {
            "start": trace.start,
            "tools": trace.tools,
            "instructions": trace.instructions,
            "broken": trace.broken,
            "numbers": trace.numbers,
        }
    }
    before = trace.start
    for turn in trace.turns:
        changed = None
        if turn.world is not None:
            changed = {name: table for name, table in turn.world.items() if before.get(name) is not table}
            before = turn.world
        yield {"turn": {name: getattr(turn, name) for name in _PLAIN} | {"changed": changed}}
        for event in _timed(turn.events):
            yield {"event": _plain_event(event)}


def _turn(found: JsonObject, trace: Trace) -> TurnTrace:
    changed = found.pop("changed")
    turn = TurnTrace(**found)
    if changed is not None:
        turn.world = trace.world | changed
    return turn


def _plain_event(event: Event) -> JsonObject:
    if isinstance(event, AudioDelta):
        plain = event_to_json(replace(event, audio=replace(event.audio, samples=event.audio.samples[:0])))
        return plain | {"ms": round(event.audio.seconds * 1000), "time_s": round(event.time_s, 6)}
    return event_to_json(event) | {"time_s": round(event.time_s, 6)}


def _event(found: JsonObject) -> Event:
    return event_from_json(found)


def _timed(events: Iterable[Event]) -> Iterator[Event]:
    """Events whose seconds are those of the session's clock, which is the same in every run."""
    started = {event.call_id: event.time_s for event in events if isinstance(event, CallStarted)}
    for event in events:
        if isinstance(event, CallFinished):
            began_s = started.get(event.call_id, event.time_s)
            yield replace(event, seconds=round(event.time_s - began_s, 6))
        elif isinstance(event, TurnDone):
            yield replace(event, stages={name: round(value, 6) for name, value in event.stages.items()})
        else:
            yield event


def _with_round(events: Sequence[Event]) -> Iterator[tuple[int, CallReady]]:
    rounds = 0
    for event in events:
        if isinstance(event, RoundDone):
            rounds += 1
        elif isinstance(event, CallReady):
            yield rounds, event


def _call(ready: CallReady, rounds: int, started: CallStarted | None, finished: CallFinished | None) -> CallTrace:
    seen = [event.seq for event in (ready, started, finished) if event is not None]
    began_s = started.time_s if started else ready.time_s
    return CallTrace(
        call_id=ready.call_id,
        tool=ready.name,
        arguments=ready.arguments,
        round=rounds,
        status=finished.status if finished else "unfinished",
        output=finished.output if finished else "",
        events=tuple(seen),
        started_s=began_s,
        ended_s=finished.time_s if finished else began_s,
    )
