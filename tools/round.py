"""`Round`: the calls that a model makes in one go, scheduled by what they do to the world.

    async with executor.round(ctx, emit) as calls:
        calls.start(call)                    # the moment its JSON closes; the next one may still be being written
        outcomes = await calls.outcomes()    # in call order

What holds, whatever happens:

1. Every call that was started ends in exactly one `CallOutcome` and one `CallFinished`. `CallStarted` comes before it
   if and only if the function ran. A background call has two: ``running`` at once, and how it ended through
   `Executor.late` and `Executor.notify`.
2. ``outcomes()`` and ``finished`` are in the order of ``start``.
3. Pure and read calls begin at once and run in parallel. Writes wait until the turn is confirmed, and run one at a
   time in the order of ``start``, behind those of earlier rounds of the session (or of their resource).
4. Leaving the scope early (the turn was interrupted, or failed) cancels pure and read calls and waits until they have
   ended, and withdraws writes that have not begun: both end as ``cancelled``. A write that has begun runs on under
   its own time-out and its outcome goes to `Executor.late` and `Executor.notify`, once. No write runs twice, and none
   begins once the task of its turn was told to stop. What runs in the background of a confirmed turn goes on; before
   that nothing begins in the background, and leaving the scope waits for it.
5. No outcome is lost: what ended before the scope was left is in ``finished`` (a cancelled turn reads it there), what
   ends later is late.
6. What needs a person's agreement does not run: it ends as ``waiting`` and is in ``waiting``, to be started with
   ``resume`` in a later round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from sayso.events import CallFinished, CallProgress, CallStarted
from sayso.items import ToolCall
from sayso.settings import redact
from sayso.tools.context import Context
from sayso.tools.guard import AfterUntrusted, Held, read_out
from sayso.tools.job import Job
from sayso.tools.journal import JournalError
from sayso.tools.lane import Ticket
from sayso.tools.outcome import CallOutcome

if TYPE_CHECKING:
    from sayso.tools.executor import Executor

CallEvent: TypeAlias = CallStarted | CallProgress | CallFinished
Emit: TypeAlias = Callable[[CallEvent], None]
"""Takes an event at once and never fails; the session stamps it."""

Late: TypeAlias = Callable[[CallOutcome], None]
"""Takes the outcome of a call that ended after its round."""

INTERRUPTED = "This call was stopped because the user interrupted; it has no result."
NOT_RUN = "This call was not run because the user interrupted."
ONE_AT_A_TIME = Held(
    "refused", "Not done: only one action can be confirmed at a time. Make this call again afterwards."
)
CANNOT_ASK = "Not done: a person has to agree to it first, and what goes on in the background cannot ask."
STOPPED = "This call was stopped on request; it has no result."
STOPPED_WRITE = "This call was stopped on request while it ran. It is not known whether it took effect."
BACKGROUND = "Started. It goes on in the background, and its result comes later."


def no_emit(event: CallEvent) -> None:
    """Where nobody follows."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a round happens.

    Attributes:
        turn: The turn's number in its conversation.
        generation: As in `sayso.events`.
        confirmed: Set once it is certain that the user's turn is over; writes wait for it. None: it is certain.
        after_untrusted: What becomes of writes, given what the turn has read.
        asked: A person is asked already in this turn.
    """

    turn: int = 0
    generation: int = 0
    confirmed: asyncio.Event | None = None
    after_untrusted: AfterUntrusted = "allow"
    asked: bool = False


NOW = Moment()
"""A call that stands alone."""


class _Withdrawn(Exception):
    """The turn was cut off before this write began."""


class _Recorded(Exception):
    """The journal knows this call: it was begun before."""

    def __init__(self, outcome: CallOutcome) -> None:
        self.outcome = outcome


class _Slot:
    """One call's place in the round."""

    __slots__ = ("background", "begun", "call", "ended", "outcome", "task", "ticket")

    def __init__(self, call: ToolCall) -> None:
        self.call = call
        self.begun = False
        self.background = False
        self.ended = False  # a background call has an outcome long before
        self.outcome: CallOutcome | None = None
        self.task: asyncio.Task[None] | None = None
        self.ticket: Ticket | None = None


class Round:
    """See the module's docstring. Made by `Executor.round`; entered once.

    Attributes:
        waiting: The calls that a person has to agree to, each with the question.
    """

    def __init__(self, executor: Executor, ctx: Context, emit: Emit, moment: Moment) -> None:
        self._executor = executor
        self._ctx = ctx
        self._emit = emit
        self._moment = moment
        self._slots: list[_Slot] = []
        self._owner: asyncio.Task[Any] | None = None
        self._left = False
        self.waiting: list[tuple[Job, str]] = []

    async def __aenter__(self) -> Round:
        """The scope that the calls live in; the task that enters it is the one whose cancellation counts."""
        self._owner = asyncio.current_task()
        return self

    def start(self, call: ToolCall) -> None:
        """Validate a call and set it going, unless a rule or a person has to say something first.

        Raises:
            RuntimeError: The scope was left.
        """
        slot = self._add(call)
        job = self._executor.admit(call)
        if isinstance(job, CallOutcome):
            self._finish(slot, job)
        elif held := self._executor.guard.held(job, self._moment.after_untrusted):
            self._hold(slot, job, held)
        else:
            self._set_going(slot, job)

    def resume(self, job: Job) -> None:
        """Set a call going that waited and was agreed to, under the id it has now."""
        self._set_going(self._add(job.call), job)

    def reject(self, call: ToolCall, raw: str) -> None:
        """Take note of a call whose arguments ``raw`` are no JSON object; it ends as ``invalid``."""
        self._finish(self._add(call), self._executor.bad_json(call, raw))

    def refuse(self, call: ToolCall, reason: str) -> None:
        """Take note of a call that may not run now; it ends as ``cancelled`` with ``reason`` for the model."""
        self._finish(self._add(call), self._executor.refused(call, "cancelled", reason))

    async def outcomes(self) -> list[CallOutcome]:
        """Wait for the calls started so far. Cancelling the wait cancels no call; leaving the scope does."""
        await self._wait([slot.task for slot in self._slots if slot.task is not None and not slot.background])
        self._give_up_unfinished()
        return self.finished

    @property
    def finished(self) -> list[CallOutcome]:
        """The outcomes there are by now, in call order; also after the scope was left."""
        return [slot.outcome for slot in self._slots if slot.outcome is not None]

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for the calls; on the way out of an exception, stop what may be stopped.

        A TaskGroup would do the first half, but it wraps the body's own exception in a group.
        """
        try:
            if kind is None:
                await self.outcomes()
                if self._moment.confirmed is not None and any(slot.background for slot in self._slots):
                    await self._moment.confirmed.wait()
        finally:
            try:
                await self._stop()
            finally:
                self._left = True  # nothing awaits between here and the caller: what ends from now on is late

    def _add(self, call: ToolCall) -> _Slot:
        if self._left:
            raise RuntimeError("this round is over")
        slot = _Slot(call)
        self._slots.append(slot)
        return slot

    def _hold(self, slot: _Slot, job: Job, held: Held) -> None:
        if held.status == "waiting" and (self.waiting or self._moment.asked):
            held = ONE_AT_A_TIME  # a "yes" must be bound to one call
        elif held.status == "waiting":
            self.waiting.append((replace(job, agreed=held.question), held.question))
        self._finish(slot, self._executor.refused(slot.call, held.status, held.output))

    def _set_going(self, slot: _Slot, job: Job) -> None:
        executor, policy = self._executor, job.tool.policy
        if job.at_once:
            self._run_at_once(slot, job)
            return
        executor.guard.begun(job)
        if job.tool.effect.changes_something:
            after = partial(self._commit, job)
            if self._is_confirmed:
                self._replace(job)
                after = None
            work = partial(self._run, slot, job)
            slot.ticket = executor.lane.submit(work, resource=policy.resource, after=after)
            slot.task = slot.ticket.task
        else:
            slot.task = asyncio.create_task(self._run(slot, job))
        executor.running.add(job, slot.task, background=policy.background)
        if policy.background:
            slot.background = True
            slot.task.add_done_callback(partial(self._background_ended, slot))
            slot.outcome = executor.refused(slot.call, "running", BACKGROUND)
            self._emit(_finished(slot.outcome))

    async def _commit(self, job: Job) -> None:
        """Wait until the turn counts: only then may a write take its place, or another one's."""
        if self._moment.confirmed is not None:
            await self._moment.confirmed.wait()
        self._replace(job)

    def _replace(self, job: Job) -> None:
        for older in self._executor.guard.to_replace(job):
            self._executor.running.cancel(older)

    def _context(self, slot: _Slot, agreed: str) -> Context:
        call = slot.call

        def report(value: Any) -> None:
            shown = redact(value) if isinstance(value, str) else value
            progress = CallProgress(call_id=call.call_id, name=call.name, value=shown)
            if not slot.ended:
                (self._executor.notify if slot.background or self._left else self._emit)(progress)

        return self._ctx.for_call(call.call_id, report, agreed)

    def _run_at_once(self, slot: _Slot, job: Job) -> None:
        ctx = self._context(slot, job.agreed) if job.tool.wants_context else self._ctx
        try:
            self._begin(slot, job)
        except _Recorded as known:
            self._finish(slot, known.outcome)
        except JournalError as error:
            self._not_run(slot, error)
            raise
        else:
            self._finish(slot, self._asked(slot, job, self._executor.perform_inline(job, ctx)))

    async def _run(self, slot: _Slot, job: Job) -> None:
        try:
            if slot.background and self._moment.confirmed is not None:
                await self._moment.confirmed.wait()
            begin = partial(self._begin, slot, job)
            outcome = await self._executor.perform(job, self._context(slot, job.agreed), begin, self._late)
        except _Withdrawn:
            self._cancelled(slot)
        except _Recorded as known:
            self._finish(slot, known.outcome)
        except asyncio.CancelledError:
            self._cancelled(slot)
            raise
        except JournalError as error:
            self._not_run(slot, error)
            raise
        else:
            self._finish(slot, self._asked(slot, job, outcome))

    def _asked(self, slot: _Slot, job: Job, outcome: CallOutcome) -> CallOutcome:
        """Take note of what the tool itself wants a person to agree to, where one can be asked now."""
        if not outcome.question:
            return outcome
        if slot.background or self._left:
            return self._executor.refused(slot.call, "refused", CANNOT_ASK)
        if self.waiting or self._moment.asked:
            return self._executor.refused(slot.call, ONE_AT_A_TIME.status, ONE_AT_A_TIME.output)
        self.waiting.append((replace(job, agreed=outcome.question), read_out(outcome.question)))
        return outcome

    def _begin(self, slot: _Slot, job: Job) -> None:
        """The function is about to run: the last moment in which a write can be withdrawn.

        Raises:
            _Withdrawn: This is a write and its turn was cut off.
            _Recorded: It was begun before, here or in a process that died.
            JournalError: It cannot be written down.
        """
        if slot.ticket is not None and not slot.background:
            if self._left or (self._owner is not None and self._owner.cancelling()):
                raise _Withdrawn
        if (known := self._executor.begin(job, self._moment)) is not None:
            raise _Recorded(known)
        if slot.ticket is not None:
            slot.ticket.begun = True
        slot.begun = True
        started = CallStarted(call_id=slot.call.call_id, name=slot.call.name)
        (self._executor.notify if slot.background else self._emit)(started)

    def _cancelled(self, slot: _Slot) -> None:
        if self._executor.running.was_stopped(slot.call.call_id):
            text = STOPPED_WRITE if slot.ticket is not None and slot.begun else STOPPED
        else:
            text = INTERRUPTED if slot.begun else NOT_RUN
        self._finish(slot, self._executor.refused(slot.call, "cancelled", text))

    def _background_ended(self, slot: _Slot, task: asyncio.Task[None]) -> None:
        """Nobody awaits the task: it may have been cancelled before its first step, or unable to begin."""
        error = None if task.cancelled() else task.exception()
        if slot.ended:
            return
        if error is None:
            self._cancelled(slot)
        else:
            self._not_run(slot, error)

    def _not_run(self, slot: _Slot, error: BaseException) -> None:
        self._finish(slot, self._executor.refused(slot.call, "error", f"{slot.call.name} was not run: {error}"))

    def _late(self, outcome: CallOutcome, event: CallFinished | None = None) -> None:
        if not self._is_confirmed:  # the turn was withdrawn: there never was such a call
            return
        if event is not None:
            self._executor.notify(event)
        self._executor.late(outcome)

    def _finish(self, slot: _Slot, outcome: CallOutcome) -> None:
        executor = self._executor
        slot.ended = True
        if slot.task is not None:
            executor.running.discard(outcome.call_id)
            executor.guard.ended(outcome.call_id, outcome.status, ran=slot.begun)
        if slot.begun:
            executor.end(outcome)
        if not slot.background:
            slot.outcome = outcome
        if slot.background or self._left:
            self._late(outcome, _finished(outcome))
        else:
            self._emit(_finished(outcome))

    async def _stop(self) -> None:
        ending: list[asyncio.Task[None]] = []
        for slot in self._slots:
            if slot.task is None or slot.task.done() or (slot.background and self._is_confirmed):
                continue
            if slot.ticket is None:
                slot.task.cancel()
            else:
                slot.ticket.withdraw()
            if slot.ticket is None or not slot.ticket.begun:
                ending.append(slot.task)
        await self._wait(ending)
        self._give_up_unfinished()

    @property
    def _is_confirmed(self) -> bool:
        return self._moment.confirmed is None or self._moment.confirmed.is_set()

    async def _wait(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait until all have ended, and pass on a failure that is not a tool's (an ``emit`` that raised)."""
        if not tasks:
            return
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()

    def _give_up_unfinished(self) -> None:
        """Give an outcome to calls whose task was cancelled before its first step."""
        for slot in self._slots:
            if slot.outcome is None and (slot.task is None or slot.task.done()):
                self._cancelled(slot)


def _finished(outcome: CallOutcome) -> CallFinished:
    return CallFinished(
        call_id=outcome.call_id,
        name=outcome.name,
        status=outcome.status,
        output=outcome.output,
        seconds=outcome.seconds,
    )
