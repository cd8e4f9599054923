"""`rate_limit`: a tool that is not called too often."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from typing_extensions import ParamSpec, TypeVar

from sayso.errors import ToolDefinitionError, ToolError
from sayso.tools.context import Context
from sayso.tools.invoke import run
from sayso.tools.middleware.around import around, check_bound
from sayso.tools.tool import Mode, Tool

P = ParamSpec("P")
R = TypeVar("R")


def rate_limit(tool: Tool[P, R], calls: int, per_s: float, *, wait_s: float = 0.0) -> Tool[P, R]:
    """``tool``, of which at most ``calls`` begin in any ``per_s`` seconds, in all sessions of this process.

    A call too many is refused at once, because silence is worse: the model is told when to try again.

    Args:
        tool: A function's, or a method's that is bound to its object.
        calls: How many, 1 or more.
        per_s: Seconds of the session clock.
        wait_s: How long a call waits for its turn before it is refused. The tool's time-out goes on meanwhile.

    Raises:
        ToolDefinitionError: A number makes no sense, or the tool is a method without its object.
    """
    if calls < 1 or not 0 < per_s < math.inf or not 0 <= wait_s < math.inf:
        raise ToolDefinitionError(
            f"{tool.where}: tool '{tool.name}' is limited to {calls} calls in {per_s} s, waiting {wait_s} s.",
            "Give 1 or more calls, seconds above 0, and a wait of 0 or more.",
        )
    check_bound(tool)
    window = _Window(calls, per_s)

    def refuse(left_s: float) -> ToolError:
        return ToolError(f"{tool.name} was called too often. Try again in {math.ceil(left_s)} seconds, not before.")

    def steps(arguments: dict[str, Any], ctx: Context) -> Generator[Context, Any, Any]:
        if left_s := window.enter(ctx.clock()):
            raise refuse(left_s)
        return (yield ctx)

    async def handler(arguments: dict[str, Any], ctx: Context) -> Any:
        give_up_s = ctx.clock() + wait_s
        while left_s := window.enter(now_s := ctx.clock()):
            if now_s + left_s > give_up_s:
                raise refuse(left_s)
            await asyncio.sleep(left_s)
        return await run(tool, arguments, ctx)

    return replace(tool, mode=Mode.ASYNC, handler=handler, wants_context=True) if wait_s else around(tool, steps)


class _Window:
    """When the last calls began."""

    def __init__(self, calls: int, per_s: float) -> None:
        self._per_s = per_s
        self._begun_s: deque[float] = deque(maxlen=calls)
        self._lock = threading.Lock()  # sync tools ask from their threads

    def enter(self, now_s: float) -> float:
        """Note a call and return 0, or return the seconds until there is room."""
        with self._lock:
            if len(self._begun_s) == self._begun_s.maxlen:
                passed_s = now_s - self._begun_s[0]
                if 0 <= passed_s < self._per_s:  # a clock that was set back locks nobody out
                    return self._per_s - passed_s
            self._begun_s.append(now_s)
            return 0.0
