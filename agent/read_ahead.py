"""`ReadAhead`: the model reads while nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from sayso.intake import Input

_log = logging.getLogger(__name__)


class ReadAhead:
    """Lets the model get ready before it is asked.

    Args:
        read: What there is to do: read the prompt and the conversation as it stands, render lines.
    """

    def __init__(self, read: Callable[[], Awaitable[None]]) -> None:
        self._work = read
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """A turn has ended: while its reply is played and the user thinks, read what it added."""
        self._task = asyncio.create_task(self._read())

    async def stop(self) -> None:
        """A turn begins, or the session ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    @asynccontextmanager
    async def beside(self, what: Input) -> AsyncGenerator[None, None]:
        """Inside sound is taken in, and somebody may still speak: the model loads and reads meanwhile."""
        if isinstance(what, str):
            yield
            return
        reading = asyncio.create_task(self._read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _read(self) -> None:
        try:
            await self._work()
        except Exception:
            _log.debug("the model could not read ahead", exc_info=True)  # the turn meets what is wrong
