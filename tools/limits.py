"""How many calls of a tool run at once."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary


class Limit:
    """At most ``calls`` at once in this process, however many sessions share the tool.

    A tool outlives event loops (tests, repeated `asyncio.run`), a semaphore does not: there is one per loop.
    """

    __slots__ = ("_by_loop", "calls")

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def semaphore(self) -> asyncio.Semaphore:
        """The running loop's semaphore."""
        return self._by_loop.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self.calls))
