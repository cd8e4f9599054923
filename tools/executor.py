"""The executor: from a model's call to an outcome, always.

Whatever a model sends (a name that does not exist, arguments that do not fit, a call of a tool that breaks or hangs),
what comes back is a `CallOutcome` whose text tells the model what to do differently. The traceback goes to the log.

`Executor` belongs to one session; `Round` holds the calls of one round of a turn, and says how calls are scheduled.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from sayso.errors import ToolError
from sayso.items import CallStatus, ToolCall, ToolSpec
from sayso.tools.context import Context
from sayso.tools.invoke import run, run_inline, slot
from sayso.tools.lane import WriteLane
from sayso.tools.outcome import CallOutcome
from sayso.tools.registry import Registry
from sayso.tools.round import Emit, Late, Round, no_emit
from sayso.tools.schema import InvalidArguments
from sayso.tools.text import as_text, safe_text
from sayso.tools.tool import Mode, Tool

__all__ = ["CallOutcome", "Emit", "Executor", "Job", "Late", "Round"]

MAX_ERROR_CHARS = 300
"""Of an exception's message."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Job:
    """A call that was admitted: its tool exists and its arguments fit.

    Attributes:
        call: As the model made it.
        tool: What it calls.
        arguments: As ``tool.validate`` returned them.
    """

    call: ToolCall
    tool: Tool
    arguments: dict[str, Any]

    @property
    def at_once(self) -> bool:
        """Whether it can run without a task: on the loop, harmless, and never waiting for a place."""
        tool = self.tool
        return tool.mode is Mode.INLINE and tool.limit is None and not tool.effect.changes_something


class Executor:
    """Runs the calls of one session.

    Args:
        tools: What may be called; names are unique.
        late: Takes the outcome of a write that was running when its turn was interrupted, once it has ended; by
            default logged.
        clock: Seconds, for measuring how long tools run. Time-outs follow the event loop's clock.
        output_chars: Most characters of a result that a model is shown.

    Raises:
        ToolDefinitionError: See `Registry`.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        *,
        late: Late | None = None,
        clock: Callable[[], float] = time.monotonic,
        output_chars: int = 4000,
    ) -> None:
        self.registry = Registry(tools)
        self._tools = dict(self.registry)  # a dict answers ten times faster than a Mapping
        self.late: Late = late or _log_late
        self.lane = WriteLane()
        self._clock = clock
        self._output_chars = output_chars

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as a model sees them."""
        return self.registry.specs

    def spec(self, name: str) -> ToolSpec | None:
        """One tool as a model sees it, or None where there is no such tool."""
        tool = self._tools.get(name)
        return None if tool is None else tool.spec

    def round(self, ctx: Context, emit: Emit = no_emit) -> Round:
        """The calls of one round of a turn; see `Round`.

        Args:
            ctx: The session's context.
            emit: Takes the events of the calls, unstamped, in the order in which they happen.
        """
        return Round(self, ctx, emit)

    async def call(self, call: ToolCall, ctx: Context | None = None, emit: Emit = no_emit) -> CallOutcome:
        """Run one call by itself, in its place behind the session's other writes if it is one."""
        async with self.round(ctx or Context(), emit) as calls:
            calls.start(call)
            return (await calls.outcomes())[0]

    async def aclose(self) -> None:
        """Let the writes that still run end. Idempotent."""
        await self.lane.aclose()

    def admit(self, call: ToolCall) -> Job | CallOutcome:
        """Look a call's tool up and validate its arguments; an outcome where that fails."""
        tool = self._tools.get(call.name)
        if tool is None:
            return self.refused(call, "unknown", self.registry.unknown(call.name))
        try:
            return Job(call, tool, tool.validate(call.arguments))
        except InvalidArguments as error:
            return self.refused(call, "invalid", str(error))
        except Exception as error:  # a validator of the user's that broke
            return self._broke(call, error, 0.0)

    def bad_json(self, call: ToolCall, raw: str) -> CallOutcome:
        """The outcome of a call whose arguments ``raw`` are no JSON object."""
        try:
            json.loads(raw)
            reason = "not an object"
        except (ValueError, RecursionError) as error:
            reason = str(error)[:100]
        text = f"The arguments of {call.name} are no JSON object: {reason}. Send them again."
        return self.refused(call, "invalid", text)

    def refused(self, call: ToolCall, status: CallStatus, reason: str) -> CallOutcome:
        """The outcome of a call whose function did not run (to its end)."""
        return CallOutcome(call.call_id, call.name, status, safe_text(reason, self._output_chars))

    def perform_inline(self, job: Job, ctx: Context) -> CallOutcome:
        """Run a job that is `Job.at_once`, at once."""
        started_s = self._clock()
        try:
            value = run_inline(job.tool, job.arguments, ctx)
        except (Exception, SystemExit) as error:
            return self._broke(job.call, error, self._clock() - started_s)
        return self._worked(job, value, self._clock() - started_s)

    async def perform(self, job: Job, ctx: Context, started: Callable[[], None]) -> CallOutcome:
        """Run a job to its outcome.

        Args:
            job: What to run.
            ctx: The call's context.
            started: Called when the function is about to run.

        Raises:
            asyncio.CancelledError: The task was cancelled; nothing else is ever raised.
        """
        tool = job.tool
        try:
            async with slot(tool.limit, tool.timeout_s):
                started()
                return await self._timed(job, ctx)
        except TimeoutError:
            text = f"{tool.name} was busy with other calls for {tool.timeout_s:g} s; this one was not run."
            return self.refused(job.call, "timeout", text)

    async def _timed(self, job: Job, ctx: Context) -> CallOutcome:
        deadline = asyncio.timeout(job.tool.timeout_s)
        started_s = self._clock()
        try:
            async with deadline:
                value = await run(job.tool, job.arguments, ctx)
        except asyncio.CancelledError as error:
            ctx.cancelled.set()
            if cast("asyncio.Task[Any]", asyncio.current_task()).cancelling():
                raise
            return self._broke(job.call, error, self._clock() - started_s)  # the tool's own doing
        except (Exception, SystemExit) as error:
            ctx.cancelled.set()
            seconds = self._clock() - started_s
            return self._timed_out(job, seconds) if deadline.expired() else self._broke(job.call, error, seconds)
        return self._worked(job, value, self._clock() - started_s)

    def _worked(self, job: Job, value: Any, seconds: float) -> CallOutcome:
        call, speak = job.call, job.tool.speak
        say = None if speak is None else speak(value)
        return CallOutcome(call.call_id, call.name, "ok", as_text(value, self._output_chars), value, say, seconds)

    def _broke(self, call: ToolCall, error: BaseException, seconds: float) -> CallOutcome:
        if isinstance(error, ToolError):
            text = str(error) or f"{call.name} failed."
        else:
            _log.error("tool '%s' failed", call.name, exc_info=error)
            reason = (_message(error).splitlines() or [""])[0][:MAX_ERROR_CHARS]
            text = f"{call.name} failed: {type(error).__name__}{': ' if reason else ''}{reason}"
        return CallOutcome(call.call_id, call.name, "error", safe_text(text, self._output_chars), seconds=seconds)

    def _timed_out(self, job: Job, seconds: float) -> CallOutcome:
        _log.warning("tool '%s' timed out after %g s", job.call.name, job.tool.timeout_s)
        doubt = " It is not known whether it took effect." if job.tool.effect.changes_something else ""
        text = f"{job.call.name} did not finish within {job.tool.timeout_s:g} s and was stopped.{doubt}"
        return CallOutcome(job.call.call_id, job.call.name, "timeout", text, seconds=seconds)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception class of the user's whose text breaks
        return ""


def _log_late(outcome: CallOutcome) -> None:
    _log.warning("call %s of '%s' ended after its turn: %s", outcome.call_id, outcome.name, outcome.status)
