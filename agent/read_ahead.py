"""`ReadAhead`: the model reads while nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from sayso.intake import Input
from sayso.models.base import ModelRequest, VoiceModel

_log = logging.getLogger(__name__)


class ReadAhead:
    """Lets the model read the prompt and the conversation before it is asked.

    Args:
        model: What reads.
        request: Gives the conversation as it stands.
    """

    def __init__(self, model: VoiceModel, request: Callable[[], ModelRequest]) -> None:
        self._model = model
        self._request = request
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
            await self._model.warm(self._request())
        except Exception:
            _log.debug("the model could not read ahead", exc_info=True)  # the turn meets what is wrong
