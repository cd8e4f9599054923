"""A turn as it is told to clients of chat completions: words, sound, calls that they have to run, and how it ended."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import uuid4

from sayso.events import AudioDelta, CallFinished, CallReady, CallStarted, Event, RoundDone, TextDelta, TurnDone
from sayso.items import Audio, Item, ToolCall, ToolOutput

Reason: TypeAlias = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Words:
    """The next piece of the answer's words."""

    text: str


@dataclass(frozen=True, slots=True)
class Sound:
    """The next piece of the answer's sound."""

    audio: Audio


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the client's functions.

    Attributes:
        id: As the client is told; ids of a turn are used again in the next one.
        name: Of the function.
        arguments: As JSON.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is over.

    Attributes:
        reason: Why.
        prompt_tokens: Computed, in all rounds; what was found in a cache is not counted.
        completion_tokens: Generated, in all rounds.
        before: What the agent's own tools did before the client's calls: history that the client does not see.
    """

    reason: Reason
    prompt_tokens: int
    completion_tokens: int
    before: tuple[Item, ...] = ()


Piece: TypeAlias = Words | Sound | Call | Finish


async def pieces(
    events: AsyncGenerator[Event, None], clients: frozenset[str], *, parallel: bool = True, stops: list[str]
) -> AsyncGenerator[Piece, None]:
    """What the client is told of a turn; `Finish` is the last.

    Args:
        events: Of the turn, which is ended where the client has to do something first.
        clients: Names of the client's functions.
        parallel: Whether several calls may be made at once; where not, the first of them is told.
        stops: Texts at which the words end.
    """
    ledger, stopper = _Ledger(clients), _Stopper(stops)
    async with aclosing(events):
        async for event in events:
            ledger.take(event)
            match event:
                case TextDelta(text=text):
                    if text := stopper.feed(text):
                        yield Words(text)
                    if stopper.stopped:
                        yield ledger.finish("stop")
                        return
                case AudioDelta(audio=audio, filler=False):
                    yield Sound(audio)
                case TurnDone():
                    if text := stopper.flush():
                        yield Words(text)
                    yield ledger.finish("length" if ledger.truncated else "stop")
                    return
                case _:
                    pass
            if ledger.client_is_next:
                if text := stopper.flush():
                    yield Words(text)
                for call in ledger.client_calls()[: None if parallel else 1]:
                    yield call
                yield ledger.finish("tool_calls")
                return


class _Ledger:
    """What was called in a turn, by whom, and what it took."""

    def __init__(self, clients: frozenset[str]) -> None:
        self._clients = clients
        self._calls: dict[str, CallReady] = {}
        self._started: set[str] = set()  # of the client's
        self._finished: dict[str, CallFinished] = {}
        self._round: tuple[str, ...] = ()  # calls of a round whose stream has ended
        self._prompt_tokens = self._completion_tokens = 0
        self.truncated = False

    def take(self, event: Event) -> None:
        match event:
            case CallReady(call_id=call_id):
                self._calls[call_id] = event
            case CallStarted(call_id=call_id, name=name) if name in self._clients:
                self._started.add(call_id)
            case CallFinished(call_id=call_id):
                self._finished[call_id] = event
            case RoundDone():
                self._round = event.calls
                self._prompt_tokens += event.prompt_tokens
                self._completion_tokens += event.completion_tokens
                self.truncated = event.truncated
            case _:
                pass

    @property
    def client_is_next(self) -> bool:
        """Every call of the round has ended or is the client's to run, and one is."""
        waits = any(call_id in self._started for call_id in self._round)
        return waits and all(call_id in self._started or call_id in self._finished for call_id in self._round)

    def client_calls(self) -> list[Call]:
        ready = (self._calls[call_id] for call_id in self._round if call_id in self._started)
        return [Call(new_id("call_"), call.name, json.dumps(call.arguments, ensure_ascii=False)) for call in ready]

    def finish(self, reason: Reason) -> Finish:
        before: list[Item] = []
        for call_id, ended in self._finished.items():
            ready, id = self._calls.get(call_id), new_id("call_")
            if ready is not None and ready.name not in self._clients:
                before += [
                    ToolCall(id, ready.name, ready.arguments),
                    ToolOutput(id, ready.name, ended.output, ended.status),
                ]
        return Finish(reason, self._prompt_tokens, self._completion_tokens, tuple(before))


class _Stopper:
    """Cuts a text off before the first of some words, whatever pieces it comes in."""

    def __init__(self, stops: list[str]) -> None:
        self._stops = stops
        self._held = ""
        self._keep = max((len(text) for text in stops), default=1) - 1  # may be the beginning of one
        self.stopped = False

    def feed(self, text: str) -> str:
        self._held += text
        found = [at for at in map(self._held.find, self._stops) if at >= 0]
        if found:
            self.stopped = True
            return self._held[: min(found)]
        end = len(self._held) - self._keep
        ready, self._held = (self._held[:end], self._held[end:]) if end > 0 else ("", self._held)
        return ready

    def flush(self) -> str:
        rest, self._held = self._held, ""
        return rest


def new_id(prefix: str) -> str:
    """An id that nobody else has."""
    return f"{prefix}{uuid4().hex[:24]}"
