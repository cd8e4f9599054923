"""`McpServers`: the tools of MCP servers, for as long as the scope lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from sayso.errors import UsageError
from sayso.tools.mcp.connection import Backoff, Connection
from sayso.tools.mcp.convert import convert
from sayso.tools.mcp.elicit import OnElicit
from sayso.tools.mcp.server import Server, need_sdk

if TYPE_CHECKING:
    from types import TracebackType

    from sayso.tools.tool import Tool


class McpServers:
    """Connects to servers and holds their tools.

        async with McpServers([Stdio("time", "uvx", ["mcp-server-time"])]) as servers:
            agent = Agent(tools=[*servers.tools])

    The tools belong to the event loop that entered the scope. A server that goes away is connected to again; its
    tools stay, and say meanwhile that it cannot be reached.

    Args:
        servers: What to connect to.
        on_elicit: Asks a person what a server wants to know. Without it a question of yes or no goes through the
            session's approval: the call ends as one that waits, and is made again after the yes.
        on_change: Called when `tools` is not what it was: a server has other tools, or one that was missing came.
        backoff: Pauses between attempts to connect.

    Raises:
        UsageError: Two servers of one name, or the `mcp` package is not installed.
    """

    def __init__(
        self,
        servers: Iterable[Server],
        *,
        on_elicit: OnElicit | None = None,
        on_change: Callable[[], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        need_sdk()
        self._servers = tuple(servers)
        names = [server.name for server in self._servers]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"Two MCP servers are named '{name}'.", "Rename one.")
        self._on_elicit = on_elicit
        self._on_change = on_change
        self._backoff = backoff or Backoff()
        self._connections: tuple[Connection, ...] = ()
        self._tools: tuple[Tool, ...] | None = ()

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools as they are now. An agent keeps those that it was made with: make the next session's from here."""
        if self._tools is None:
            self._tools = convert((one.server, tool, one.call) for one in self._connections for tool in one.tools)
        return self._tools

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong with the servers that are not connected, by name."""
        return {one.server.name: one.error for one in self._connections if one.error}

    async def __aenter__(self) -> McpServers:
        """Connect to all at once.

        Raises:
            McpServerError: A required server did not start; the message has the reason, and its last words.
        """
        self._connections = tuple(
            Connection(server, self._changed, self._on_elicit, self._backoff) for server in self._servers
        )
        try:
            await asyncio.gather(*(one.start() for one in self._connections))
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the connections, and the programs behind them."""
        await self.aclose()

    async def aclose(self) -> None:
        """As leaving the scope. Idempotent."""
        await asyncio.gather(*(one.aclose() for one in self._connections))

    def _changed(self) -> None:
        self._tools = None
        if self._on_change is not None:
            self._on_change()
