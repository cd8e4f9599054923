"""The engine in this process: a thread that owns the device, asyncio outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from sayso.engine.job import Job, checked, checked_prompt
from sayso.engine.network import Network
from sayso.engine.request import Generation, Prompt, Usage
from sayso.engine.runner import own_stream
from sayso.engine.scheduler import CHUNK_TOKENS, Scheduler
from sayso.errors import ModelError, SaysoError


class TorchEngine:
    """A `sayso.engine.Engine` on a network in this process.

    Args:
        network: What computes. From now on only the engine's thread may use it.
        prefix_slots: Slots of the network that are kept for shared prefixes; the others are for sessions.
        chunk_tokens: How much of a prompt is computed at once, while others wait for their next id.
        clock: Seconds, monotonic.
        graphs: Replay steps as CUDA graphs; None: where there is CUDA.
        overlap: See `sayso.engine.scheduler.Scheduler`.

    Raises:
        UsageError: The network has no slot left for sessions.
    """

    def __init__(
        self,
        network: Network,
        *,
        prefix_slots: int = 1,
        chunk_tokens: int = CHUNK_TOKENS,
        clock: Callable[[], float] = time.monotonic,
        graphs: bool | None = None,
        overlap: bool | None = None,
    ) -> None:
        self._scheduler = Scheduler(
            network,
            prefix_slots=prefix_slots,
            chunk_tokens=chunk_tokens,
            clock=clock,
            graphs=graphs,
            overlap=overlap,
        )
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._closed = False

    def generate(self, request: Generation) -> IdStream:
        """Stream the ids that continue ``request.prompt``; it begins when the first is asked for.

        Raises:
            UsageError: The request cannot be.
        """
        keys, limit = checked(request, self._scheduler.network)
        return IdStream(Job(request, keys, limit, deliver=lambda value: None), self._submit)

    async def warm(self, prefix: Prompt) -> None:
        """Compute a shared prefix, unless it is there.

        Raises:
            UsageError: It is empty or too long.
            ModelError: The network failed.
        """
        checked_prompt(prefix, self._scheduler.network)
        await self._until_done(lambda done: self._scheduler.warm(prefix, done))

    async def prepare(self) -> None:
        """Capture all CUDA graphs now (seconds), so that no request waits for one; nothing without CUDA."""

        def capture(done: Callable[[Exception | None], None]) -> None:
            self._scheduler.prepare()
            done(None)

        await self._until_done(capture)

    def release(self, session: str) -> None:
        """Forget a session: its slot goes to others. Idempotent."""
        if not self._closed:
            self._do(lambda: self._scheduler.release(session))

    async def aclose(self) -> None:
        """End every request and the thread. Idempotent."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._inbox.put(lambda: None)
            await asyncio.to_thread(thread.join)

    async def _until_done(self, begin: Callable[[Callable[[Exception | None], None]], None]) -> None:
        """Do something in the engine's thread, and wait until it says that it is done."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if ready.done():
                return
            if error is None:
                ready.set_result(None)
            else:
                ready.set_exception(error)

        def done(error: Exception | None) -> None:
            _call(loop, settle, error)

        def command() -> None:
            try:
                begin(done)
            except Exception as error:
                done(error if isinstance(error, SaysoError) else ModelError(f"The engine failed: {error!r}"))

        self._do(command)
        await ready

    def _submit(self, job: Job) -> None:
        if job.request.timeout_s is not None:
            job.deadline_s = self._scheduler.clock() + job.request.timeout_s
        self._do(lambda: self._scheduler.submit(job))

    def _do(self, command: Callable[[], None]) -> None:
        with self._lock:
            if self._closed:
                raise _closed()
            if self._thread is None:
                self._thread = Thread(target=self._run, name="sayso-engine", daemon=True)
                self._thread.start()
            self._inbox.put(command)

    def _run(self) -> None:
        with own_stream(self._scheduler.network.device):
            self._serve()

    def _serve(self) -> None:
        busy = False
        while not self._closed:
            try:
                if not busy:
                    self._inbox.get()()
                self._empty_inbox()
                busy = self._scheduler.turn()
            except Exception as error:  # no request may take the thread with it
                broken = error if isinstance(error, SaysoError) else ModelError(f"The engine failed: {error!r}")
                self._scheduler.fail_all(broken)
        self._empty_inbox()
        self._scheduler.fail_all(_closed())

    def _empty_inbox(self) -> None:
        try:
            while True:
                self._inbox.get_nowait()()
        except Empty:
            return


class IdStream(AsyncIterator[int]):
    """The ids of one request; see `sayso.engine.request.Stream`."""

    def __init__(self, job: Job, submit: Callable[[Job], None]) -> None:
        self._job = job
        self._submit = submit
        self._arrived: asyncio.Queue[int | Exception | None] = asyncio.Queue()
        self._begun = False
        self._over = False

    @property
    def usage(self) -> Usage:
        """What the request took so far."""
        return self._job.usage

    async def __anext__(self) -> int:
        """The next id.

        Raises:
            ModelError: The network failed, there was no memory, or the time was up.
        """
        if self._over:
            raise StopAsyncIteration
        try:
            if not self._begun:
                self._begin()
            value = await self._arrived.get()
        except BaseException:  # whoever waited was cancelled
            await self.aclose()
            raise
        if isinstance(value, int):
            return value
        self._over = True
        if value is None:
            raise StopAsyncIteration
        raise value

    async def aclose(self) -> None:
        """Stop generating. Idempotent."""
        self._over = self._job.cancelled = True

    def _begin(self) -> None:
        # The engine must not hold the stream itself: one that is dropped is to stop.
        loop, job, put = asyncio.get_running_loop(), self._job, self._arrived.put_nowait

        def deliver(value: int | Exception | None) -> None:
            if not _call(loop, put, value):
                job.cancelled = True

        self._begun = True
        job.deliver = deliver
        self._submit(job)

    def __del__(self) -> None:
        self._job.cancelled = True


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object) -> bool:
    """Call ``function`` in a loop of another thread; False where that loop is closed."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        return False
    return True


def _closed() -> ModelError:
    return ModelError("The engine was closed.", "Make another one.")
