"""`cache`: results that are remembered for a while."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from typing_extensions import ParamSpec, TypeVar

from sayso.errors import ToolDefinitionError
from sayso.tools.context import Context
from sayso.tools.invoke import run
from sayso.tools.journal import canonical
from sayso.tools.middleware.around import around, check_bound
from sayso.tools.tool import Effect, Mode, Tool

P = ParamSpec("P")
R = TypeVar("R")
Key: TypeAlias = tuple[str, str]


def cache(tool: Tool[P, R], ttl_s: float, size: int = 128) -> Tool[P, R]:
    """``tool``, whose results are kept for ``ttl_s`` seconds of the session clock.

    A call with equal arguments for the same user (any user, where the tool is ``pure``) is answered with the result
    that is there; where such a call is running, with the one that it will have. Errors are not kept. For tools whose
    results depend on nothing else, such as what is in ``ctx.state``. Results are shared: nobody may change them.

    Args:
        tool: A function's, or a method's that is bound to its object.
        ttl_s: How long a result is good for.
        size: Most results that are kept; the one that was used longest ago goes first.

    Raises:
        ToolDefinitionError: The tool changes something, a number makes no sense, or it is a method without its object.
    """
    place = f"{tool.where}: tool '{tool.name}'"
    if tool.effect.changes_something:
        raise ToolDefinitionError(f"{place} changes something: it cannot be cached.", "Cache pure and read tools only.")
    if not ttl_s > 0 or size < 1:
        raise ToolDefinitionError(f"{place} is cached for {ttl_s} s, {size} results.", "Give more than 0 of both.")
    check_bound(tool)
    kept = _Kept(ttl_s, size)
    runs = _SharedRuns()

    def key(arguments: dict[str, Any], ctx: Context) -> Key:
        return ("" if tool.effect is Effect.PURE else ctx.user), canonical(arguments)

    def steps(arguments: dict[str, Any], ctx: Context) -> Generator[Context, Any, Any]:
        wanted = key(arguments, ctx)
        if found := kept.get(wanted, ctx.clock()):
            return found[0]
        result = yield ctx
        kept.put(wanted, result, ctx.clock())
        return result

    async def handler(arguments: dict[str, Any], ctx: Context) -> Any:
        wanted = key(arguments, ctx)
        if found := kept.get(wanted, ctx.clock()):
            return found[0]

        async def fresh(own: Context) -> Any:
            result = await run(tool, arguments, own)
            kept.put(wanted, result, own.clock())
            return result

        return await runs.join(wanted, ctx, fresh)

    if tool.mode is Mode.INLINE:  # calls of it never overlap
        return around(tool, steps)
    return replace(tool, mode=Mode.ASYNC, handler=handler, wants_context=True)


class _Kept:
    """The results, the one used last at the end."""

    def __init__(self, ttl_s: float, size: int) -> None:
        self._ttl_s = ttl_s
        self._size = size
        self._results: OrderedDict[Key, tuple[float, Any]] = OrderedDict()

    def get(self, key: Key, now_s: float) -> tuple[Any] | None:
        """The result in a tuple, for it may be None."""
        if key not in self._results:
            return None
        kept_s, result = self._results[key]
        if not 0 <= now_s - kept_s < self._ttl_s:
            del self._results[key]
            return None
        self._results.move_to_end(key)
        return (result,)

    def put(self, key: Key, result: Any, now_s: float) -> None:
        self._results[key] = now_s, result
        self._results.move_to_end(key)
        if len(self._results) > self._size:
            self._results.popitem(last=False)


@dataclass(slots=True, eq=False)
class _Run:
    task: asyncio.Task[Any]
    ctx: Context
    waiting: int = 0


class _SharedRuns:
    """Runs that several calls wait for: one goes on while anybody waits, and is cancelled when nobody does."""

    def __init__(self) -> None:
        self._runs: dict[tuple[asyncio.AbstractEventLoop, Key], _Run] = {}

    async def join(self, key: Key, ctx: Context, fresh: Callable[[Context], Coroutine[Any, Any, Any]]) -> Any:
        """The result of the run under ``key``; of a new one where there is none."""
        here = asyncio.get_running_loop(), key
        shared = self._runs.get(here)
        if shared is None:
            own = replace(ctx, cancelled=threading.Event())  # the first call may be cancelled and the others not
            shared = self._runs[here] = _Run(asyncio.create_task(fresh(own)), own)
            shared.task.add_done_callback(lambda _: self._runs.pop(here, None))
        shared.waiting += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting and not shared.task.done():
                await self._stop(here, shared)

    async def _stop(self, here: tuple[asyncio.AbstractEventLoop, Key], shared: _Run) -> None:
        self._runs.pop(here, None)
        shared.ctx.cancelled.set()
        shared.task.cancel()
        await asyncio.wait([shared.task])
        if not shared.task.cancelled():
            shared.task.exception()  # nobody is left to be told
