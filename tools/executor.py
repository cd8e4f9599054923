"""The executor: from a model's call to an outcome, always.

Whatever a model sends (a name that does not exist, arguments that do not fit, a call of a tool that breaks or hangs),
what comes back is a `CallOutcome` whose text tells the model what to do differently. The traceback goes to the log.

`Executor` belongs to one session; `Round` holds the calls of one round of a turn, and says how calls are scheduled;
`Guard` says which may run; `Journal` is written before a call runs and after it ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

from sayso.errors import CallInDoubt, NeedsApproval, ToolError
from sayso.items import CallStatus, ToolCall, ToolSpec
from sayso.settings import redact
from sayso.tools.context import Context
from sayso.tools.guard import WAITING, Guard, read_out
from sayso.tools.invoke import CameBack, run, run_inline, slot
from sayso.tools.job import Job
from sayso.tools.journal import IN_DOUBT, Entry, Journal, JournalError
from sayso.tools.lane import WriteLane
from sayso.tools.outcome import CallOutcome
from sayso.tools.policy import PLAIN
from sayso.tools.registry import Registry
from sayso.tools.round import NOW, Emit, Late, Moment, Round, no_emit
from sayso.tools.running import Running
from sayso.tools.schema import InvalidArguments
from sayso.tools.text import as_text, quoted, safe_text, tokens_to_chars
from sayso.tools.tool import Tool

__all__ = ["CallOutcome", "Emit", "Executor", "Job", "Late", "Moment", "Round"]

MAX_ERROR_CHARS = 300
"""Of an exception's message."""
MAX_REFUSAL_CHARS = 4000
MAX_QUESTION_CHARS = 400
"""Of a question that a tool itself asks: half a minute of speech. Nobody agrees to half a question."""
UNASKED = "{name} was not run: a person has to agree first, but its question is {wrong}."
RETRY_AFTER_S = 0.2
"""Before the first repetition of a failed call; doubled for each that follows."""

_log = logging.getLogger(__name__)


class Executor:
    """Runs the calls of one session.

    Args:
        tools: What may be called; names are unique.
        session: The conversation's id in the journal.
        journal: Where calls are written down; None: nowhere.
        late: Takes the outcome of a call that ended after its round: a write that went on when its turn was
            interrupted, a background tool, a thread that came back after its time-out. By default logged.
        notify: Takes the events of background calls.
        clock: Seconds, for measuring how long tools run. Time-outs follow the event loop's clock.

    Attributes:
        running: The calls at work.

    Raises:
        ToolDefinitionError: See `Registry`.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        *,
        session: str = "",
        journal: Journal | None = None,
        late: Late | None = None,
        notify: Emit = no_emit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = Registry(tools)
        self._tools = dict(self.registry)  # a dict answers ten times faster than a Mapping
        self.late: Late = late or _log_late
        self.notify = notify
        self.lane = WriteLane()
        self.running = Running(clock)
        self.guard = Guard(session, journal)
        self._session = session
        self._journal = journal
        self._clock = clock

    def use(self, tools: Iterable[Tool]) -> None:
        """Go on with other tools; calls at work end as they began.

        Raises:
            ToolDefinitionError: See `Registry`.
        """
        self.registry = Registry(tools)
        self._tools = dict(self.registry)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as a model sees them."""
        return self.registry.specs

    def spec(self, name: str) -> ToolSpec | None:
        """One tool as a model sees it, or None where there is no such tool."""
        tool = self._tools.get(name)
        return None if tool is None else tool.spec

    def changes_something(self, name: str) -> bool:
        """Whether a call of this tool changes something; False for a tool that does not exist."""
        tool = self._tools.get(name)
        return tool is not None and tool.effect.changes_something

    def round(self, ctx: Context, emit: Emit = no_emit, moment: Moment = NOW) -> Round:
        """The calls of one round of a turn; see `Round`.

        Args:
            ctx: The session's context.
            emit: Takes the events of the calls, unstamped, in the order in which they happen.
            moment: Which turn it is, whether it was confirmed, what it has read.
        """
        return Round(self, ctx, emit, moment)

    async def call(self, call: ToolCall, ctx: Context | None = None, emit: Emit = no_emit) -> CallOutcome:
        """Run one call by itself, in its place behind the session's other writes if it is one."""
        async with self.round(ctx or Context(), emit) as calls:
            calls.start(call)
            return (await calls.outcomes())[0]

    async def aclose(self) -> None:
        """Stop background calls that change nothing, and let the writes that still run end. Idempotent."""
        await self.running.aclose()
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

    def begin(self, job: Job, moment: Moment) -> CallOutcome | None:
        """Write down that ``job`` is about to run; the outcome it has already, if it was begun before.

        Raises:
            JournalError: It cannot be written down, so it may not run.
        """
        if self._journal is None:
            return None
        call = job.call
        entry = Entry(
            self._session, call.call_id, call.name, job.canonical, job.tool.effect, moment.turn, moment.generation
        )
        found = self._journal.begin(entry)
        if found is None:
            return None
        if found.status is None or found.status == "in_doubt":
            return self.refused(call, "in_doubt", IN_DOUBT.format(name=call.name))
        return self.refused(call, cast("CallStatus", found.status), found.output or "")

    def end(self, outcome: CallOutcome) -> None:
        """Write down how a call that was begun ended."""
        if self._journal is None:
            return
        try:
            self._journal.end(self._session, outcome.call_id, outcome.status, outcome.output)
        except JournalError as error:  # the call happened all the same; the journal has it in doubt
            _log.error("the end of call %s of '%s' was not written down: %s", outcome.call_id, outcome.name, error)

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
        return CallOutcome(call.call_id, call.name, status, safe_text(reason, MAX_REFUSAL_CHARS))

    def perform_inline(self, job: Job, ctx: Context) -> CallOutcome:
        """Run a job that is `Job.at_once`, at once."""
        started_s = self._clock()
        try:
            value = run_inline(job.tool, job.arguments, ctx)
        except (Exception, SystemExit) as error:
            return self._broke(job.call, error, self._clock() - started_s)
        return self._worked(job, value, self._clock() - started_s)

    async def perform(self, job: Job, ctx: Context, started: Callable[[], None], late: Late) -> CallOutcome:
        """Run a job to its outcome.

        Args:
            job: What to run.
            ctx: The call's context.
            started: Called when the function is about to run.
            late: Takes the outcome of a thread that comes back after its call ended, where it was waited for.

        Raises:
            asyncio.CancelledError: The task was cancelled; nothing else is ever raised, but by ``started``.
        """
        tool = job.tool
        try:
            async with slot(tool.limit, tool.timeout_s):
                started()
                return await self._timed(job, ctx, late)
        except TimeoutError:
            text = f"{tool.name} was busy with other calls for {tool.timeout_s:g} s; this one was not run."
            return self.refused(job.call, "timeout", text)

    async def _timed(self, job: Job, ctx: Context, late: Late) -> CallOutcome:
        deadline = asyncio.timeout(job.tool.timeout_s)
        started_s = self._clock()
        try:
            async with deadline:
                value = await self._tried(job, ctx, partial(self._came_back, job, deadline, started_s, late))
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

    async def _tried(self, job: Job, ctx: Context, came_back: CameBack) -> Any:
        """Run the handler, and again where it may be and fails by an exception that it did not mean."""
        for attempt in range(job.tool.policy.retries):
            try:
                return await run(job.tool, job.arguments, ctx, came_back)
            except ToolError:
                raise
            except Exception as error:
                _log.info("tool '%s' failed and is tried again: %s", job.tool.name, redact(_message(error)))
                await asyncio.sleep(RETRY_AFTER_S * 2**attempt)
        return await run(job.tool, job.arguments, ctx, came_back)

    def _came_back(
        self,
        job: Job,
        deadline: asyncio.Timeout,
        started_s: float,
        late: Late,
        value: Any,
        error: BaseException | None,
    ) -> None:
        """A thread ended after its call was given up: what it brings is kept where it was waited for."""
        seconds = self._clock() - started_s
        if not deadline.expired() and not job.tool.effect.changes_something:
            _log.info("tool '%s' ended after its call was given up; its result is dropped", job.tool.name)
            return
        outcome = self._worked(job, value, seconds) if error is None else self._broke(job.call, error, seconds)
        self.end(outcome)
        late(outcome)

    def _worked(self, job: Job, value: Any, seconds: float) -> CallOutcome:
        call, tool, policy = job.call, job.tool, job.tool.policy
        say = None if tool.speak is None else tool.speak(value)
        limit = tokens_to_chars(policy.max_output_tokens)
        text = as_text(value, limit)
        if policy is PLAIN:
            return CallOutcome(call.call_id, call.name, "ok", text, value, say, seconds)
        if policy.untrusted:
            text = quoted(text, call.name, limit)
        silent = not policy.reply
        return CallOutcome(call.call_id, call.name, "ok", text, value, say, seconds, silent, policy.untrusted)

    def _broke(self, call: ToolCall, error: BaseException, seconds: float) -> CallOutcome:
        if isinstance(error, NeedsApproval):
            return self._asks(call, error.question)
        if isinstance(error, ToolError):
            text = str(error) or f"{call.name} failed."
        else:
            _log.error("tool '%s' failed\n%s", call.name, redact("".join(traceback.format_exception(error))))
            reason = safe_text((_message(error).splitlines() or [""])[0], MAX_ERROR_CHARS)
            text = f"{call.name} failed: {type(error).__name__}{': ' if reason else ''}{reason}"
        tool = self._tools.get(call.name)
        untrusted = tool is not None and tool.policy.untrusted
        text = safe_text(text, MAX_REFUSAL_CHARS)
        if untrusted:  # an exception may hold words of the page, a ToolError those of a server
            text = quoted(text, call.name, MAX_REFUSAL_CHARS)
        status: CallStatus = "in_doubt" if isinstance(error, CallInDoubt) else "error"
        return CallOutcome(call.call_id, call.name, status, text, seconds=seconds, untrusted=untrusted)

    def _asks(self, call: ToolCall, question: str) -> CallOutcome:
        """The tool itself wants a person to agree, to the whole of what it asks."""
        shown = read_out(question)
        if not shown or len(question) > MAX_QUESTION_CHARS:
            wrong = f"longer than {MAX_QUESTION_CHARS} characters" if shown else "empty"
            _log.error("tool '%s' needs approval, but its question is %s", call.name, wrong)
            return self.refused(call, "error", UNASKED.format(name=call.name, wrong=wrong))
        return CallOutcome(call.call_id, call.name, "waiting", WAITING.format(question=shown), question=question)

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
