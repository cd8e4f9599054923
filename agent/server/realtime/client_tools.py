"""Function tools that the client runs: sayso tools whose handler waits for what the client sends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from sayso.items import JsonObject, ToolSpec
from sayso.server.errors import InvalidRequest
from sayso.server.realtime.config_models import FunctionTool, McpTool
from sayso.tools.context import Context
from sayso.tools.mcp.schema import BadSchema, compile_schema, for_model
from sayso.tools.policy import Policy
from sayso.tools.text import neutralise
from sayso.tools.tool import Effect, Mode, Tool

MAX_OUTPUT_TOKENS = 8000
"""Of a result: the app decides what its model reads, within reason."""
NO_DESCRIPTION = "No description."
PLACE = "declared by the client"


class ClientCalls:
    """The calls of one session that the client runs.

    A call counts as one that changes nothing here: what it does and who agrees to it is the client's business, and an
    interruption does not wait for it.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[str]] = {}

    def tools(self, declared: Sequence[FunctionTool | McpTool], param: str) -> tuple[Tool, ...]:
        """The functions that a client declared.

        Raises:
            InvalidRequest: The schema of one cannot be used; ``param`` and its place name it.
        """
        return tuple(
            self._tool(one, f"{param}[{at}]") for at, one in enumerate(declared) if isinstance(one, FunctionTool)
        )

    def answer(self, call_id: str, output: str) -> bool:
        """The client ran a call; whether its turn still waited for it."""
        future = self._waiting.get(call_id)
        if future is None or future.done():
            return False
        future.set_result(output)
        return True

    def _tool(self, declared: FunctionTool, at: str) -> Tool:
        schema = declared.parameters or {"type": "object", "properties": {}}
        try:
            validate, shown = compile_schema(schema), for_model(schema)
        except BadSchema as error:
            raise InvalidRequest(
                f"Invalid '{at}.parameters': {error}.",
                "Give a JSON Schema of type object.",
                code="invalid_function_parameters",
                param=f"{at}.parameters",
            ) from None

        async def function(**arguments: Any) -> str:
            raise NotImplementedError

        function.__name__ = function.__qualname__ = declared.name
        return Tool(
            function=function,
            spec=ToolSpec(declared.name, neutralise(declared.description or "").strip() or NO_DESCRIPTION, shown),
            effect=Effect.READ,
            mode=Mode.ASYNC,
            validate=validate,
            handler=self._wait,
            timeout_s=None,
            policy=Policy(max_output_tokens=MAX_OUTPUT_TOKENS),
            where=PLACE,
        )

    async def _wait(self, arguments: JsonObject, ctx: Context) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[ctx.call_id] = future
        try:
            return await future
        finally:
            del self._waiting[ctx.call_id]


def is_clients(tool: Tool | None) -> bool:
    """Whether the client runs it."""
    return tool is not None and tool.where == PLACE


class Toolbox:
    """The tools of one connection. Of two with one name the client's is meant.

    Args:
        own: The server's.

    Attributes:
        declared: Functions that the client runs.
        connected: Of MCP servers that the client named.
    """

    def __init__(self, own: Iterable[Tool]) -> None:
        self._own = tuple(own)
        self.declared: tuple[Tool, ...] = ()
        self.connected: tuple[Tool, ...] = ()

    def all(self, *more: Tool) -> tuple[Tool, ...]:
        """All of them, and some that one response brings."""
        return _unique((*self._own, *self.connected, *self.declared, *more))

    def only(self, declared: Iterable[Tool]) -> tuple[Tool, ...]:
        """With these functions in place of the session's."""
        return _unique((*self._own, *self.connected, *declared))


def _unique(tools: Iterable[Tool]) -> tuple[Tool, ...]:
    return tuple({tool.name: tool for tool in tools}.values())
