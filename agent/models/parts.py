"""A heavy part of a model: loaded once, in a thread of its own, and used only there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, Generic, TypeVar

P = TypeVar("P")
T = TypeVar("T")


class Part(Generic[P]):
    """Something that takes long to load and blocks while it works.

    It may be shared by sessions in several event loops: everything runs in order in its one thread.

    Args:
        name: Of the thread.
        load: Makes the part; called at most once, in the thread, unless it fails.
    """

    def __init__(self, name: str, load: Callable[[], P]) -> None:
        self._load = load
        self._name = f"sayso-{name}"
        self._lock = Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._loaded: Future[P] | None = None

    def start(self) -> None:
        """Begin to load, if that has not begun."""
        self._begin()

    @property
    def is_loaded(self) -> bool:
        """Whether it is there."""
        loaded = self._loaded
        return loaded is not None and loaded.done() and loaded.exception() is None

    async def get(self) -> P:
        """The loaded part.

        Raises:
            SaysoError: As ``load`` does; the next call tries again.
        """
        _, loaded = self._begin()
        waiting = asyncio.wrap_future(loaded)
        waiting.add_done_callback(_seen)  # or asyncio complains of an error that nobody waits for any more
        return await asyncio.shield(waiting)  # others may wait for it too

    async def use(self, work: Callable[..., T], *args: Any) -> T:
        """Run ``work(part, *args)`` in the part's thread. Work that was cancelled before it began never runs."""
        thread, _ = self._begin()
        part = await self.get()
        return await asyncio.get_running_loop().run_in_executor(thread, work, part, *args)

    def _begin(self) -> tuple[ThreadPoolExecutor, Future[P]]:
        with self._lock:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
            if self._loaded is None or (self._loaded.done() and self._loaded.exception() is not None):
                self._loaded = self._thread.submit(self._load)
            return self._thread, self._loaded

    def close(self, free: Callable[[P], object] | None = None) -> None:
        """Let go of the part, after ``free(part)`` where it was loaded. Idempotent; asked again, it loads again."""
        with self._lock:
            thread, loaded = self._thread, self._loaded
            self._thread = self._loaded = None
        if thread is None:
            return
        if loaded is not None and free is not None:
            thread.submit(lambda: free(loaded.result()))
        thread.shutdown(wait=False)


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
