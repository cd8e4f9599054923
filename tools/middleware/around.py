"""`around`: code before and after a tool's calls, whatever the tool's mode; the other wrappers are made of it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace
from typing import Any, TypeAlias

from typing_extensions import ParamSpec, TypeVar

from sayso.errors import ToolDefinitionError
from sayso.tools.context import Context
from sayso.tools.invoke import run
from sayso.tools.tool import Handler, Mode, Tool

P = ParamSpec("P")
R = TypeVar("R")

Around: TypeAlias = Callable[[dict[str, Any], Context], Generator[Context, Any, Any]]
"""Called with a call's arguments and context. It yields the context to run the call with, is sent the result (or thrown
the error) there, and returns the result. To return before that is to answer without the tool, to raise is to refuse."""


def around(tool: Tool[P, R], steps: Around) -> Tool[P, R]:
    """``tool`` with ``steps`` around each of its calls.

    An inline or a sync tool stays what it is, so ``steps`` of a sync tool run in its thread: what they share, they
    lock. The progress of a generator goes on being reported.

    Args:
        tool: A function's, or a method's that is bound to its object.
        steps: Such as::

            def timed(arguments, ctx):
                started_s = ctx.clock()
                result = yield ctx
                print(ctx.clock() - started_s)
                return result

    Raises:
        ToolDefinitionError: ``tool`` is a method without its object.
    """
    check_bound(tool)
    if tool.mode in (Mode.INLINE, Mode.THREAD):
        return replace(tool, handler=_sync(tool, steps), wants_context=True)

    async def handler(arguments: dict[str, Any], ctx: Context) -> Any:
        running = steps(arguments, ctx)
        try:
            inner = next(running)
        except StopIteration as answered:
            return answered.value
        return await _settle(running, run(tool, arguments, inner))

    return replace(tool, mode=Mode.ASYNC, handler=handler, wants_context=True)


def check_bound(tool: Tool[..., Any]) -> None:
    """Refuse a method without its object: binding it later would undo the wrapping.

    Raises:
        ToolDefinitionError: It is one.
    """
    if tool.receiver is not None:
        raise ToolDefinitionError(
            f"{tool.where}: tool '{tool.name}' is a method without its object.",
            f"Wrap the bound one: `obj.{tool.__name__}`.",
        )


def _sync(tool: Tool[..., Any], steps: Around) -> Handler:
    def handler(arguments: dict[str, Any], ctx: Context) -> Any:
        running = steps(arguments, ctx)
        try:
            inner = next(running)
        except StopIteration as answered:
            return answered.value
        try:
            result = tool.handler(arguments, inner)
        except BaseException as error:
            return _throw(running, error)
        if tool.mode is Mode.THREAD and inspect.isawaitable(result):
            return _settle(running, result)
        return _send(running, result)

    return handler


async def _settle(running: Generator[Context, Any, Any], result: Awaitable[Any]) -> Any:
    try:
        value = await result
    except BaseException as error:
        return _throw(running, error)
    return _send(running, value)


def _send(running: Generator[Context, Any, Any], result: Any) -> Any:
    try:
        running.send(result)
    except StopIteration as done:
        return done.value
    raise RuntimeError("steps around a tool yield once")


def _throw(running: Generator[Context, Any, Any], error: BaseException) -> Any:
    try:
        running.throw(error)
    except StopIteration as done:
        return done.value
    raise RuntimeError("steps around a tool yield once")
