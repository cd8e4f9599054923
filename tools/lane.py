"""`WriteLane`: writes run one at a time, in order, and one that has begun is never cut short by its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from sayso.tools.limits import Limit

Step: TypeAlias = Callable[[], Awaitable[None]]

_resources: dict[str, Limit] = {}


class Ticket:
    """A write in its lane.

    Attributes:
        begun: Set by the write itself when its function begins; from then on nothing in a turn can withdraw it.
        task: Owned by the lane. Awaiting it through `asyncio.wait` leaves it alone when the waiter is cancelled.
    """

    __slots__ = ("begun", "task")

    def __init__(self) -> None:
        self.begun = False
        self.task: asyncio.Task[None]

    def withdraw(self) -> None:
        """Take back a write that has not begun; one that has goes on."""
        if not self.begun:
            self.task.cancel()


class WriteLane:
    """The writes of a session. It owns their tasks, because they outlive the turn that a user interrupts."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)  # first come, first served
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, write: Step, *, resource: str | None = None, after: Step | None = None) -> Ticket:
        """Queue ``write`` behind all that were submitted before.

        Args:
            write: What to run.
            resource: What it changes: it waits for the writes of this resource in the whole process. None: for those
                of this session that name none.
            after: Awaited before it takes its place; None: nothing.
        """
        ticket = Ticket()
        ticket.task = asyncio.create_task(self._run(write, resource, after))
        self._tasks.add(ticket.task)
        ticket.task.add_done_callback(self._tasks.discard)
        return ticket

    async def _run(self, write: Step, resource: str | None, after: Step | None) -> None:
        if after is not None:
            await after()
        turn = self._turn if resource is None else _resources.setdefault(resource, Limit(1)).semaphore()
        async with turn:
            await write()

    async def aclose(self) -> None:
        """Wait for the writes that run (their time-outs bound them). Cancelled, it cancels them and waits for that."""
        tasks = list(self._tasks)
        if not tasks:
            return
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            raise
