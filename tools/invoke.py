"""Running a tool's handler, whatever its mode."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

from sayso.tools.context import Context
from sayso.tools.limits import Limit
from sayso.tools.tool import Mode, Tool

_log = logging.getLogger(__name__)
_THREADS = Limit(64)
"""Sync tools at once. They have daemon threads of their own: one that hangs holds up neither the process's end nor
anybody
else's `asyncio.to_thread`."""


async def run(tool: Tool, arguments: dict[str, Any], ctx: Context) -> Any:
    """Run a call's handler to its result. Raises whatever the tool raises; no time-out, no limit.

    Args:
        tool: What to run.
        arguments: As ``tool.validate`` returned them.
        ctx: The call's context.
    """
    match tool.mode:
        case Mode.ASYNC:
            return await tool.handler(arguments, ctx)
        case Mode.STREAM:
            return await _last(tool.handler(arguments, ctx), ctx)
        case Mode.THREAD:
            result = await in_thread(lambda: tool.handler(arguments, ctx), tool.name)
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


async def in_thread(function: Callable[[], Any], name: str) -> Any:
    """Run ``function`` in a daemon thread of its own, with this task's context variables.

    When the awaiting task is cancelled the thread runs on: its result is dropped and logged, and only then is its
    place free.
    """
    places = _THREADS.semaphore()
    await places.acquire()
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def finish(result: Any, error: BaseException | None) -> None:
        places.release()
        if answer.done():
            how = "returned" if error is None else f"raised {type(error).__name__}"
            _log.warning("tool '%s' %s after its call had ended; that result is dropped", name, how)
        else:
            answer.set_result((result, error))

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(function)
        except BaseException as caught:
            error = caught
        try:
            loop.call_soon_threadsafe(finish, result, error)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            _log.warning("tool '%s' ended after its event loop was closed", name)

    threading.Thread(target=work, name=f"sayso-tool-{name}", daemon=True).start()
    result, error = await answer
    if error is not None:
        raise error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}") from error
    return cast("Any", result)
