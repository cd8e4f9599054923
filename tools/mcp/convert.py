"""From the tools of MCP servers to sayso's."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from sayso.items import ToolSpec
from sayso.tools.context import Context
from sayso.tools.mcp.content import read_result
from sayso.tools.mcp.effects import effect_of, policy_of
from sayso.tools.mcp.schema import BadSchema, compile_schema, for_model
from sayso.tools.mcp.server import Server
from sayso.tools.text import safe_text
from sayso.tools.tool import Effect, Mode, Tool

if TYPE_CHECKING:
    import mcp_types as types

MAX_NAME_CHARS = 64
MAX_DESCRIPTION_CHARS = 1024
_log = logging.getLogger(__name__)

Call: TypeAlias = "Callable[[str, dict[str, Any], Context, Effect], Awaitable[types.CallToolResult]]"
"""Calls one server: the server's own name of the tool, the arguments, the call's context, and its effect."""


def convert(found: Iterable[tuple[Server, types.Tool, Call]]) -> tuple[Tool, ...]:
    """The tools of all servers, in order. One that cannot be used is left out, and logged.

    Args:
        found: Each tool with its server and what calls it.
    """
    unique = {(server.name, tool.name): (server, tool, call) for server, tool, call in found}
    names = tool_names({key: server.prefix for key, (server, _, _) in unique.items()})
    made: list[Tool] = []
    for key, (server, tool, call) in unique.items():
        try:
            made.append(convert_one(names[key], server, tool, call))
        except BadSchema as error:
            _log.warning("MCP server '%s': the tool '%s' is left out: %s", server.name, tool.name[:100], error)
    return tuple(made)


def convert_one(name: str, server: Server, tool: types.Tool, call: Call) -> Tool:
    """One tool.

    Raises:
        BadSchema: Its arguments cannot be described to a model, or checked.
    """
    effect = effect_of(tool, server)

    async def handler(arguments: dict[str, Any], ctx: Context) -> Any:
        return read_result(await call(tool.name, arguments, ctx, effect), name)

    async def function(**arguments: Any) -> Any:
        return await handler(arguments, Context())

    function.__name__ = function.__qualname__ = name
    return Tool(
        function=function,
        spec=ToolSpec(name, _description(tool), for_model(tool.input_schema)),
        effect=effect,
        mode=Mode.ASYNC,
        validate=compile_schema(tool.input_schema),
        handler=handler,
        timeout_s=server.timeout_s,
        policy=policy_of(tool, server, effect),
        where=f"MCP server '{server.name}'",
    )


def _description(tool: types.Tool) -> str:
    title = tool.title or (tool.annotations.title if tool.annotations else None)
    return safe_text((tool.description or title or tool.name).strip(), MAX_DESCRIPTION_CHARS)


def tool_names(tools: dict[tuple[str, str], str | None]) -> dict[tuple[str, str], str]:
    """A name for every tool that models can call and that no other tool has.

    It is ``prefix_tool`` with whatever is not a letter, digit, ``_`` or ``-`` replaced. Where two come out the same,
    or one would be too long, a hash of the server's and the tool's names is added: it depends on them alone, not on
    the order in which they were listed.

    Args:
        tools: The prefix by (server, tool); None is the server's name.
    """
    wanted = {key: _valid(key, prefix) for key, prefix in tools.items()}
    count = Counter(wanted.values())
    return {key: name if count[name] == 1 else _hashed(key, name) for key, name in wanted.items()}


def _valid(key: tuple[str, str], prefix: str | None) -> str:
    server, tool = key
    first = server if prefix is None else prefix
    name = re.sub(r"[^A-Za-z0-9_-]", "_", f"{first}_{tool}" if first else tool)
    if not re.match(r"[A-Za-z_]", name):
        name = f"_{name}"
    return _hashed(key, name) if len(name) > MAX_NAME_CHARS or name == "none" else name


def _hashed(key: tuple[str, str], name: str) -> str:
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME_CHARS - 9]}_{digest}"
