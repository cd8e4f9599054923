"""`ClientMcp`: MCP servers that a client names; this server connects to them and runs their tools.

Off unless the operator allows it. An address that a client names may lead to what only this machine can reach, so each
request looks the name up itself, refuses addresses that are not public, and goes to the address that was checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from sayso.addresses import Network, literal, refusal, within
from sayso.errors import SaysoError
from sayso.items import JsonObject
from sayso.server.errors import InvalidRequest
from sayso.server.realtime.config_models import ApprovalFilter, FunctionTool, McpTool, ToolFilter
from sayso.server.realtime.items import Entry, Items, new_id
from sayso.server.realtime.outgoing import Outgoing
from sayso.tools.mcp.client import McpServers
from sayso.tools.mcp.server import Http
from sayso.tools.tool import Effect, Tool

OWN_LABEL = "sayso"
MAX_SERVERS = 8
START_TIMEOUT_S = 20.0


@dataclass(slots=True, eq=False)
class _Named:
    """A server that a client named."""

    declared: McpTool
    entry: Entry
    servers: McpServers | None = None
    tools: dict[str, Tool] = field(default_factory=dict[str, Tool])
    task: asyncio.Task[None] | None = None


class ClientMcp:
    """The MCP servers of one connection.

    Args:
        allowed: Clients may name servers.
        networks: That count as public, beside the public ones.
    """

    def __init__(self, *, allowed: bool, networks: Sequence[Network] = ()) -> None:
        self._allowed = allowed
        self._networks = tuple(networks)
        self._named: dict[str, _Named] = {}

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Of all servers that are connected."""
        return tuple(tool for named in self._named.values() for tool in named.tools.values())

    def place(self, name: str) -> tuple[str, str]:
        """The label of the server that has the tool, and the tool's name there."""
        for label, named in self._named.items():
            if name in named.tools:
                return label, name.removeprefix(f"{label}_")
        return OWN_LABEL, name

    def check(self, declared: Sequence[FunctionTool | McpTool], param: str) -> None:
        """Refuse servers that may not be named.

        Raises:
            InvalidRequest: ``param`` and its place name the field.
        """
        servers = [(f"{param}[{at}]", tool) for at, tool in enumerate(declared) if isinstance(tool, McpTool)]
        if len(servers) > MAX_SERVERS:
            raise InvalidRequest(f"{MAX_SERVERS} MCP servers are the most.", code="invalid_value", param=param)
        for at, tool in servers:
            if not self._allowed:
                raise InvalidRequest(
                    "This server connects to no MCP servers that clients name.",
                    "The operator may allow it (client_mcp).",
                    code="mcp_not_allowed",
                    param=f"{at}.type",
                )
            self._check(tool, at)

    def _check(self, tool: McpTool, at: str) -> None:
        if tool.connector_id is not None:
            raise InvalidRequest("There are no connectors here.", code="unsupported_value", param=f"{at}.connector_id")
        for name in ("allowed_tools", "require_approval"):
            if _reads_hints(getattr(tool, name)):
                raise InvalidRequest(
                    f"'{at}.{name}' cannot be chosen by read_only.",
                    "Name the tools.",
                    code="unsupported_value",
                    param=f"{at}.{name}",
                )
        try:
            parts = urlsplit(tool.server_url or "")
            host = parts.hostname or ""
        except ValueError:
            parts, host = urlsplit(""), ""
        address = literal(host)
        kind = "" if address is None or within(address, self._networks) else refusal(address)
        if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or kind:
            why = f"a {kind} address" if kind else "no address of a web server"
            raise InvalidRequest(f"Invalid '{at}.server_url': {why}.", code="invalid_value", param=f"{at}.server_url")

    async def use(
        self,
        declared: Sequence[FunctionTool | McpTool],
        tasks: asyncio.TaskGroup,
        out: Outgoing,
        items: Items,
        changed: Callable[[], None],
    ) -> None:
        """Connect to the servers that are named now, beside everything else, and leave the others."""
        wanted = {tool.server_label: tool for tool in declared if isinstance(tool, McpTool)}
        gone = [label for label, named in self._named.items() if wanted.get(label) != named.declared]
        for label in gone:
            await _leave(self._named.pop(label))
        for label, tool in wanted.items():
            if label not in self._named:
                shown: JsonObject = {"id": new_id("mcpl"), "type": "mcp_list_tools", "server_label": label, "tools": []}
                named = self._named[label] = _Named(tool, Entry(shown))
                named.task = tasks.create_task(self._connect(named, out, items, changed))
        if gone:
            changed()

    async def aclose(self) -> None:
        """Leave all of them."""
        for named in self._named.values():
            await _leave(named)
        self._named.clear()

    async def _connect(self, named: _Named, out: Outgoing, items: Items, changed: Callable[[], None]) -> None:
        entry = named.entry
        items.add(entry)
        out.send({"type": "mcp_list_tools.in_progress", "item_id": entry.id})
        named.servers = McpServers([_server(named.declared, self._networks)])
        try:
            async with asyncio.timeout(START_TIMEOUT_S + 5):
                await named.servers.__aenter__()
        except (SaysoError, TimeoutError, OSError):
            out.send({"type": "mcp_list_tools.failed", "item_id": entry.id})
            items.done(entry)
            return
        for tool in named.servers.tools:
            there = tool.name.removeprefix(f"{named.declared.server_label}_")
            if _allows(named.declared.allowed_tools, there):
                named.tools[tool.name] = _guarded(tool, named.declared, there)
        entry.shown["tools"] = [_shown(tool, named.declared) for tool in named.tools.values()]
        changed()
        out.send({"type": "mcp_list_tools.completed", "item_id": entry.id})
        items.done(entry)


async def _leave(named: _Named) -> None:
    if named.task is not None:
        named.task.cancel()
        await asyncio.wait([named.task])
    if named.servers is not None:
        await named.servers.aclose()


def _server(declared: McpTool, networks: Sequence[Network]) -> Http:
    headers = dict(declared.headers or {})
    if declared.authorization:
        token = declared.authorization
        headers["Authorization"] = token if " " in token else f"Bearer {token}"
    # What a client asks for it answers for: its calls are writes, and whether a person is asked it says itself.
    return Http(
        declared.server_label,
        declared.server_url or "",
        headers=headers,
        auth=_pinning(networks),
        effects={"*": Effect.WRITE},
        start_timeout_s=START_TIMEOUT_S,
    )


def _pinning(networks: Sequence[Network]) -> Any:
    import httpx2

    class PublicOnly(httpx2.Auth):
        """Sends each request to an address that was looked up and checked here."""

        async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
            host = request.url.host
            address = await _checked_address(host, request.url.port or 0, networks)
            request.extensions = {**request.extensions, "sni_hostname": host}
            request.url = request.url.copy_with(host=address)
            yield request

    return PublicOnly()


async def _checked_address(host: str, port: int, networks: Sequence[Network]) -> str:
    found = await asyncio.get_running_loop().getaddrinfo(host, port or None)
    addresses = [ip_address(entry[4][0]) for entry in found]
    for address in addresses:
        if not within(address, networks) and (kind := refusal(address)):
            raise OSError(f"{host} is not on the public internet ({kind} address)")
    if not addresses:
        raise OSError(f"there is no server named {host}")
    return str(addresses[0])


def _reads_hints(value: Any) -> bool:
    match value:
        case ToolFilter():
            return value.read_only is not None
        case ApprovalFilter():
            return _reads_hints(value.always) or _reads_hints(value.never)
        case _:
            return False


def _allows(allowed: list[str] | ToolFilter | None, name: str) -> bool:
    names = allowed.tool_names if isinstance(allowed, ToolFilter) else allowed
    return names is None or name in names


def _guarded(tool: Tool, declared: McpTool, name: str) -> Tool:
    rule = declared.require_approval or "always"
    asks = rule == "always"
    if isinstance(rule, ApprovalFilter):
        never = rule.never is not None and name in (rule.never.tool_names or ())
        asks = not never
    return replace(tool, policy=replace(tool.policy, approval=asks, on_duplicate="allow"))


def _shown(tool: Tool, declared: McpTool) -> JsonObject:
    return {
        "name": tool.name.removeprefix(f"{declared.server_label}_"),
        "description": tool.spec.description,
        "input_schema": tool.spec.parameters,
        "annotations": None,
    }
