"""`Running`: the calls of a session that are at work, and how one of them is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sayso.tools.job import Job


@dataclass(frozen=True, slots=True)
class RunningCall:
    """A call at work.

    Attributes:
        call_id: Its id.
        name: The tool.
        arguments: As canonical JSON.
        seconds: For how long.
        background: Its turn does not wait for it.
    """

    call_id: str
    name: str
    arguments: str
    seconds: float
    background: bool


@dataclass(slots=True)
class _Work:
    job: Job
    task: asyncio.Task[None]
    since_s: float
    background: bool
    stopped: bool = False


class Running:
    """The calls of one session that have a task.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._work: dict[str, _Work] = {}

    def add(self, job: Job, task: asyncio.Task[None], *, background: bool) -> None:
        """A call got its task."""
        self._work[job.call.call_id] = _Work(job, task, self._clock(), background)

    def discard(self, call_id: str) -> None:
        """A call has its outcome."""
        self._work.pop(call_id, None)

    def calls(self) -> tuple[RunningCall, ...]:
        """All of them, in the order in which they were started."""
        now_s = self._clock()
        return tuple(
            RunningCall(call_id, work.job.tool.name, work.job.canonical, now_s - work.since_s, work.background)
            for call_id, work in self._work.items()
        )

    def cancel(self, call_id: str) -> bool:
        """Stop a call: cancel its task, even a write that has begun. False where it does not run (any more)."""
        work = self._work.get(call_id)
        if work is None or work.task.done():
            return False
        work.stopped = True
        work.task.cancel()
        return True

    def was_stopped(self, call_id: str) -> bool:
        """Whether `cancel` stopped it; asked while its task ends."""
        work = self._work.get(call_id)
        return work is not None and work.stopped

    async def aclose(self) -> None:
        """Cancel what runs in the background and changes nothing, and wait for that."""
        tasks = [
            work.task
            for work in self._work.values()
            if work.background and not work.job.tool.effect.changes_something and not work.task.done()
        ]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
