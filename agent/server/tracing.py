"""`Tracing`: OpenTelemetry spans of a turn, made from the events of its session.

A turn is a span ``invoke_agent``; inside it each round of the model is a ``chat``, each call an ``execute_tool``. The
attributes are those of OpenTelemetry's conventions for generative AI, which are still in development: their names are
written down here. Only ``opentelemetry-api`` is used; without an SDK that the operator sets up, nothing is recorded.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sayso.agent import Agent
from sayso.events import (
    AudioDelta,
    CallFinished,
    CallOpened,
    CallReady,
    CallStarted,
    Event,
    Heard,
    RoundDone,
    TextDelta,
    Thought,
    TurnDone,
    TurnFailed,
    TurnStarted,
)
from sayso.outbox import Push

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

OPERATION = "gen_ai.operation.name"
AGENT = "gen_ai.agent.name"
CONVERSATION = "gen_ai.conversation.id"
MODEL = "gen_ai.request.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
FIRST_CHUNK_S = "gen_ai.response.time_to_first_chunk"
TOOL = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
CALL = "gen_ai.tool.call.id"
ARGUMENTS = "gen_ai.tool.call.arguments"
RESULT = "gen_ai.tool.call.result"
INPUT = "gen_ai.input.messages"
OUTPUT = "gen_ai.output.messages"
ERROR = "error.type"
TURN = "sayso.turn"
REASON = "sayso.turn.reason"

WORKED = frozenset({"ok", "running", "waiting"})
"""Calls that ended so are no errors."""


class Tracing:
    """Makes the spans.

    Args:
        content: Put what was said, and what tools were given and returned, into them.
    """

    def __init__(self, *, content: bool) -> None:
        self._content = content
        self._tracer: Tracer | None = None
        try:
            from opentelemetry import trace
        except ImportError:
            return
        self._tracer = trace.get_tracer("sayso")

    def follow(self, agent_name: str, session: str, agent: Agent) -> Push | None:
        """What turns the events of a session into spans; None where OpenTelemetry is not installed."""
        if self._tracer is None:
            return None
        named = {AGENT: agent_name, CONVERSATION: session, MODEL: agent.voice_model.profile.name}
        return _Turns(self._tracer, named, self._content).follow


class _Turns:
    """The spans of one session's turns."""

    def __init__(self, tracer: Tracer, named: dict[str, str], content: bool) -> None:
        self._tracer = tracer
        self._named = named
        self._content = content
        self._wall_s = time.time() - asyncio.get_running_loop().time()
        self._turn: Span | None = None
        self._inside: Context | None = None  # what the turn's spans are children of
        self._round_s = 0.0  # when the model was asked
        self._first_s: float | None = None  # when it began to answer
        self._text: list[str] = []  # what it wrote, where content is wanted
        self._calls: dict[str, tuple[float, Context | None]] = {}  # those that run
        self._arguments: dict[str, str] = {}
        self._steps: dict[type, Callable[[Any], None]] = {
            TurnStarted: self._begin,
            Heard: self._heard,
            TextDelta: self._write,
            AudioDelta: self._answer,
            Thought: self._answer,
            CallOpened: self._answer,
            CallReady: self._ready,
            CallStarted: self._start,
            CallFinished: self._finish,
            RoundDone: self._end_round,
            TurnDone: self._done,
            TurnFailed: self._failed,
        }

    def follow(self, event: Event) -> None:
        """The next event."""
        if (step := self._steps.get(type(event))) is not None:
            step(event)

    def _begin(self, event: TurnStarted) -> None:
        from opentelemetry.trace import set_span_in_context

        self._turn = self._tracer.start_span(
            f"invoke_agent {self._named[AGENT]}",
            start_time=self._ns(event.time_s),
            attributes={OPERATION: "invoke_agent", **self._named, TURN: event.turn},
        )
        self._inside = set_span_in_context(self._turn)
        self._ask_model(event.time_s)

    def _heard(self, event: Heard) -> None:
        if self._content and self._turn is not None:
            self._turn.set_attribute(INPUT, _message("user", event.text))

    def _write(self, event: TextDelta) -> None:
        self._answer(event)
        if self._content:
            self._text.append(event.text)

    def _answer(self, event: TextDelta | AudioDelta | Thought | CallOpened) -> None:
        if self._first_s is None and not (isinstance(event, AudioDelta) and event.filler):
            self._first_s = event.time_s

    def _ready(self, event: CallReady) -> None:
        if self._content:
            self._arguments[event.call_id] = json.dumps(event.arguments, ensure_ascii=False, default=str)

    def _start(self, event: CallStarted) -> None:
        self._calls[event.call_id] = (event.time_s, self._inside)

    def _finish(self, event: CallFinished) -> None:
        started_s, inside = self._calls.pop(event.call_id, (event.time_s - event.seconds, self._inside))
        attributes = {OPERATION: "execute_tool", TOOL: event.name, TOOL_TYPE: "function", CALL: event.call_id}
        if self._content:
            attributes |= {ARGUMENTS: self._arguments.pop(event.call_id, "{}"), RESULT: event.output}
        error = None if event.status in WORKED else event.status
        self._span(f"execute_tool {event.name}", attributes, started_s, event.time_s, inside, error)
        if self._turn is not None:
            self._ask_model(event.time_s)

    def _end_round(self, event: RoundDone) -> None:
        self._chat(event.time_s, event.prompt_tokens, event.completion_tokens)
        self._ask_model(event.time_s)

    def _done(self, event: TurnDone) -> None:
        if event.reason == "interrupted" and self._first_s is not None:
            self._chat(event.time_s, 0, 0, "interrupted")
        if self._turn is not None:
            self._turn.set_attribute(REASON, event.reason)
            if self._content:
                self._turn.set_attribute(OUTPUT, _message("assistant", event.text))
        self._end(event.time_s)

    def _failed(self, event: TurnFailed) -> None:
        self._chat(event.time_s, 0, 0, "failed")
        if self._turn is not None:
            _mark(self._turn, "failed")
        self._end(event.time_s)

    def _chat(self, ended_s: float, prompt: int, completion: int, error: str | None = None) -> None:
        attributes: dict[str, Any] = {OPERATION: "chat", MODEL: self._named[MODEL]}
        attributes |= {name: count for name, count in ((INPUT_TOKENS, prompt), (OUTPUT_TOKENS, completion)) if count}
        if self._first_s is not None:
            attributes[FIRST_CHUNK_S] = self._first_s - self._round_s
        if self._text:
            attributes[OUTPUT] = _message("assistant", "".join(self._text))
        self._span(f"chat {self._named[MODEL]}", attributes, self._round_s, ended_s, self._inside, error)

    def _ask_model(self, time_s: float) -> None:
        self._round_s, self._first_s = time_s, None
        self._text.clear()

    def _end(self, time_s: float) -> None:
        if self._turn is not None:
            self._turn.end(self._ns(time_s))
        self._turn = self._inside = None

    def _span(
        self,
        name: str,
        attributes: dict[str, Any],
        started_s: float,
        ended_s: float,
        inside: Context | None,
        error: str | None,
    ) -> None:
        span = self._tracer.start_span(name, inside, start_time=self._ns(started_s), attributes=attributes)
        if error is not None:
            _mark(span, error)
        span.end(self._ns(ended_s))

    def _ns(self, time_s: float) -> int:
        return round((time_s + self._wall_s) * 1e9)


def _mark(span: Span, error: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute(ERROR, error)
    span.set_status(Status(StatusCode.ERROR))


def _message(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}], ensure_ascii=False)
