"""`Turns`: one turn at a time: how it ends, how it is cut off, how it is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from sayso.approval import Approvals
from sayso.conversation import Conversation
from sayso.errors import UsageError
from sayso.events import CallFinished, Interrupted, TurnDone, TurnFailed, TurnStarted
from sayso.history import reply_text, total_ms
from sayso.items import Item, ToolOutput
from sayso.outbox import Outbox, Push
from sayso.read_ahead import ReadAhead
from sayso.turn import Turn

Work: TypeAlias = Callable[[Turn], Awaitable[None]]
"""What a turn does: answer an input, run an approved call, tell about late results."""


EARLY_ANSWER_MS = 400
"""People answer a question a little before its last word is over: it was heard all the same."""


class Turns:
    """Runs the turns of a session.

    Args:
        events: Takes what they emit.
        conversation: Takes what they add.
        approvals: Takes the calls that wait for a person.
        reading: What the model does between turns.
        new_turn: Makes a turn; given what is set once it counts.
        approval_s: Seconds that a question waits for its answer, once it was played.

    Attributes:
        left_untrusted: The last turn read text from outside and was not answered to its end: the next one goes on
            with it.
    """

    def __init__(
        self,
        events: Outbox,
        conversation: Conversation,
        approvals: Approvals,
        reading: ReadAhead,
        new_turn: Callable[[asyncio.Event | None], Turn],
        approval_s: float,
    ) -> None:
        self._events = events
        self._conversation = conversation
        self._approvals = approvals
        self._reading = reading
        self._new_turn = new_turn
        self._approval_s = approval_s
        self._task: asyncio.Task[Any] | None = None
        self._interrupted = False
        self._played_ms: int | None = None
        self.left_untrusted = False

    @property
    def is_busy(self) -> bool:
        """Whether a turn runs."""
        return self._task is not None

    def check_idle(self) -> None:
        """Refuse a second turn.

        Raises:
            UsageError: A turn is still running.
        """
        if self._task is not None:
            raise UsageError("A turn is still running in this session.", "Await it, or call interrupt() first.")

    async def run(self, work: Work, push: Push, confirmed: asyncio.Event | None) -> None:
        """Run one turn to its end; see `sayso.session.Session.run_turn`."""
        self.check_idle()
        self._task = task = asyncio.current_task()
        assert task is not None
        self._interrupted, self._played_ms = False, None
        self._events.turn += 1
        with self._events.to(push):
            if confirmed is None:
                self._conversation.forget_unheard()
            else:
                self._events.hold()
            turn = self._new_turn(confirmed)
            failure = await self._outcome(work, turn)
            try:
                if confirmed is not None and not isinstance(failure, asyncio.CancelledError):
                    await confirmed.wait()  # whatever came of it, it does not count yet
            except asyncio.CancelledError as error:
                failure = error
            if confirmed is None or confirmed.is_set():
                self._end(turn, failure, task)
            else:
                self._undo(failure, task)

    def confirm(self, confirmed: asyncio.Event) -> None:
        """The turn that began before its time counts from now on."""
        self._conversation.forget_unheard()
        self._events.release()
        confirmed.set()

    async def interrupt(self, played_ms: int | None) -> bool:
        """Cut the reply off; see `sayso.session.Session.interrupt`."""
        task = self._task
        if task is None or task is asyncio.current_task():
            missed_ms = self._conversation.cut_last(played_ms)
            if not missed_ms:
                return False
            self._events.generation += 1
            if missed_ms > EARLY_ANSWER_MS:
                self._approvals.expire("user")
            return True
        if not self._interrupted:  # a second one waits for the first: it must not break its clean-up
            self._interrupted, self._played_ms = True, played_ms
            task.cancel()
        await asyncio.wait([task])
        return True

    async def withdraw(self) -> None:
        """End the running turn as if it had never been; one that counts already is interrupted."""
        await self.interrupt(None)

    async def _outcome(self, work: Work, turn: Turn) -> BaseException | None:
        try:
            self._events.emit(TurnStarted())
            await self._reading.stop()
            await work(turn)
        except BaseException as error:
            return error
        return None

    def _undo(self, failure: BaseException | None, task: asyncio.Task[Any]) -> None:
        """A turn that did not count yet was cut off."""
        self._task = None
        self._events.drop()
        self._conversation.catch_up()
        if self._interrupted:
            task.uncancel()
        elif failure is not None:
            raise failure

    def _end(self, turn: Turn, failure: BaseException | None, task: asyncio.Task[Any]) -> None:
        self._events.release()
        self.left_untrusted = turn.read_untrusted and (failure is not None or turn.asked is not None)
        items = self._conversation.remember(turn.items, turn.voiced, whole=failure is None, played_ms=self._played_ms)
        if turn.asked is not None and failure is not None:
            self._conversation.add([self._approvals.unasked(turn.asked[0])], turn_runs=False)
        self._task = None
        self._reading.start()
        if self._interrupted:  # whatever broke in a turn that was cut off belongs to the cut
            task.uncancel()
            self._end_interrupted(turn, items)
        elif failure is None:
            if turn.asked is not None:
                within_s = self._approval_s + total_ms(turn.voiced) / 1000
                self._approvals.ask(*turn.asked, within_s, by_voice=turn.read_back)
            reason = "completed" if turn.understood else "no_speech"
            self._events.emit(TurnDone(reason=reason, text=reply_text(items), stages=dict(turn.stages)))
        else:
            if isinstance(failure, Exception):
                self._events.emit(TurnFailed(message=str(failure) or type(failure).__name__))
            raise failure

    def _end_interrupted(self, turn: Turn, items: list[Item]) -> None:
        for item in items:
            if isinstance(item, ToolOutput) and item.status == "running":
                self._events.emit(
                    CallFinished(
                        call_id=item.call_id, name=item.name, status="running", output=item.output, seconds=0.0
                    )
                )
        self._events.generation += 1
        played_ms = total_ms(turn.voiced) if self._played_ms is None else self._played_ms
        self._events.emit(Interrupted(played_ms=played_ms))
        self._events.emit(TurnDone(reason="interrupted", text=reply_text(items), stages=dict(turn.stages)))
