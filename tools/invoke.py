"""Running a tool's handler, whatever its mode."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, TypeAlias

from sayso.tools.context import Context
from sayso.tools.limits import Limit
from sayso.tools.tool import Mode, Tool

CameBack: TypeAlias = Callable[[Any, BaseException | None], None]
"""Takes the result or the exception of a thread that ended after its call was given up."""

_log = logging.getLogger(__name__)
_PLACES = Limit(64)
"""Sync tools at once."""


class _DaemonThreads(concurrent.futures.Executor):
    """A daemon thread for every call.

    A pool's threads are shared, and are waited for at the end of the process: there one tool that hangs would hold up
    everybody else's `asyncio.to_thread`, and the exit.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Run ``fn``, which may not raise."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_running_or_notify_cancel()
        work = threading.Thread(target=lambda: future.set_result(fn(*args, **kwargs)), name="sayso-tool", daemon=True)
        work.start()
        return future


_THREADS = _DaemonThreads()


async def run(tool: Tool, arguments: dict[str, Any], ctx: Context, came_back: CameBack | None = None) -> Any:
    """Run a call's handler to its result. Raises whatever the tool raises; no time-out, no limit.

    Args:
        tool: What to run.
        arguments: As ``tool.validate`` returned them.
        ctx: The call's context.
        came_back: See `in_thread`.
    """
    match tool.mode:
        case Mode.ASYNC:
            return await tool.handler(arguments, ctx)
        case Mode.STREAM:
            return await _last(tool.handler(arguments, ctx), ctx)
        case Mode.THREAD:
            result = await in_thread(lambda: tool.handler(arguments, ctx), tool.name, came_back)
            return await result if inspect.isawaitable(result) else result
        case Mode.INLINE:
            return run_inline(tool, arguments, ctx)


def run_inline(tool: Tool, arguments: dict[str, Any], ctx: Context) -> Any:
    """Run the handler of an inline tool at once.

    Raises:
        TypeError: It returned a coroutine.
    """
    result = tool.handler(arguments, ctx)
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("returned a coroutine; define it with 'async def'")
    return result


async def _last(values: Any, ctx: Context) -> Any:
    last = None
    async with aclosing(values):
        async for last in values:
            await ctx.report(last)
    return last


@asynccontextmanager
async def slot(limit: Limit | None, timeout_s: float | None) -> AsyncIterator[None]:
    """Hold one of a limit's places.

    Raises:
        TimeoutError: None became free within ``timeout_s``.
    """
    if limit is None:
        yield
        return
    semaphore = limit.semaphore()
    async with asyncio.timeout(timeout_s):
        await semaphore.acquire()
    try:
        yield
    finally:
        semaphore.release()


async def in_thread(function: Callable[[], Any], name: str, came_back: CameBack | None = None) -> Any:
    """Run ``function`` in a daemon thread of its own, with this task's context variables.

    When the awaiting task is cancelled the thread runs on: its result goes to ``came_back`` (None: it is dropped and
    logged), and only then is its place free.
    """
    places = _PLACES.semaphore()
    await places.acquire()
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()

    def work() -> tuple[Any, BaseException | None]:
        value, failure = None, None
        try:
            value = context.run(function)
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(ended, value, failure)
        return value, failure

    def ended(value: Any, failure: BaseException | None) -> None:
        places.release()
        if not answer.cancelled():
            return
        if came_back is not None:
            came_back(value, failure)
        else:
            _log.warning("tool '%s' ended after its call was given up; its result is dropped", name)

    try:
        answer: asyncio.Future[tuple[Any, BaseException | None]] = loop.run_in_executor(_THREADS, work)
    except RuntimeError:  # the system starts no more threads
        places.release()
        raise
    result, error = await answer
    if error is not None:
        raise error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}") from error
    return result
