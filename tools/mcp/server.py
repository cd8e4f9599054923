"""What to connect to: `Stdio`, `Http` and `InProcess`, and how far each is trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sayso import settings
from sayso.errors import SaysoError, UsageError
from sayso.tools.tool import Effect, EffectName

if TYPE_CHECKING:
    import httpx2

_SECRET_NAME = re.compile(r"key|token|secret|passw|auth|credential|cookie|session", re.IGNORECASE)


class McpServerError(SaysoError):
    """An MCP server that is needed could not be started or reached."""


def need_sdk() -> None:
    """Make sure that the `mcp` SDK is installed.

    Raises:
        UsageError: It is not.
    """
    if find_spec("mcp") is None:
        raise UsageError("MCP needs the package 'mcp'.", "Install it with: pip install 'sayso[mcp]'")


@dataclass(frozen=True, slots=True)
class Server:
    """An MCP server, and what its owner says about it.

    What a server says of its own tools (its annotations) is a hint that anybody could write. From a server that is
    not trusted it can only make calls more careful than `Effect.WRITE`; see `sayso.tools.mcp.effects`.

    Attributes:
        name: Unique among the servers of an agent; it begins the names of the tools.
        trusted: The annotations are believed: ``readOnlyHint`` makes a read, a closed world makes results trusted.
        effects: The owner's word, by the server's own name of a tool, or ``"*"`` for all others. It beats every hint.
        prefix: Put before the names of the tools, with an underscore; None is ``name``, an empty string is nothing.
        timeout_s: Seconds a call may take, the time in which a person answers the server's questions included.
        start_timeout_s: Seconds the server may take to start and to list its tools.
        required: Without it there is no start. Where False, its tools appear when it does.
    """

    name: str
    _: KW_ONLY
    trusted: bool = False
    effects: Mapping[str, EffectName | Effect] = field(default_factory=dict[str, EffectName | Effect])
    prefix: str | None = None
    timeout_s: float = 30.0
    start_timeout_s: float = 60.0
    required: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: The message says which field of which server.
        """
        if not self.name.strip():
            raise UsageError("An MCP server has no name.", "Name it: its tools are called NAME_tool.")
        for tool, effect in self.effects.items():
            if effect not in list(Effect):
                raise UsageError(
                    f"MCP server '{self.name}' gives the tool '{tool}' the effect {effect!r}.",
                    f"Effects are: {', '.join(Effect)}.",
                )
        if not (0 < self.timeout_s < float("inf") and 0 < self.start_timeout_s < float("inf")):
            raise UsageError(f"MCP server '{self.name}' has a time-out that is no time.", "Give seconds above 0.")


@dataclass(frozen=True, slots=True)
class Stdio(Server):
    """A program that speaks MCP on its standard input and output; it is started here and ends with the connection.

    It inherits ``PATH``, ``HOME`` and a few more variables (the SDK's short list), and none that could hold a
    credential unless it is named here.

    Attributes:
        command: The program.
        args: Its arguments.
        env: Variables set for it. Values whose names look like credentials are redacted from what it says.
        inherit: Names of variables passed on from this process, redacted likewise.
        cwd: Its working folder.
    """

    command: str
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    inherit: Sequence[str] = ()
    cwd: str | Path | None = None

    def __post_init__(self) -> None:
        """As `Server`, and there has to be a command."""
        Server.__post_init__(self)
        if not self.command.strip():
            raise UsageError(f"MCP server '{self.name}' has no command.", "Give the program that is the server.")

    def environment(self) -> dict[str, str]:
        """What is set for the program beside the short list; credentials are known to `settings.redact` from now on.

        Raises:
            UsageError: A variable to be inherited is not set.
        """
        found = dict(self.env)
        for name in self.inherit:
            value = settings.variable(name)
            if value is None:
                raise UsageError(f"MCP server '{self.name}' inherits {name}, which is not set.", "Set it.")
            found.setdefault(name, value)
        hide_secrets(found)
        return found


@dataclass(frozen=True, slots=True)
class Http(Server):
    """A server reached by streamable HTTP.

    Attributes:
        url: Of its endpoint, such as ``https://example.org/mcp``.
        headers: Sent with every request; those whose names look like credentials are redacted from what it says.
        auth: Authorises requests, such as the SDK's `OAuthClientProvider`.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    auth: httpx2.Auth | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """As `Server`, and the URL has to be one."""
        Server.__post_init__(self)
        try:
            parts = urlsplit(self.url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"MCP server '{self.name}' has the URL {self.url!r}.", "Give one such as https://example.org/mcp."
            )
        hide_secrets(self.headers)


@dataclass(frozen=True, slots=True)
class InProcess(Server):
    """A server that lives in this process; for tests, and for servers written with the SDK.

    Attributes:
        server: The SDK's `Server` or `MCPServer`, or a transport.
    """

    server: Any


def hide_secrets(values: Mapping[str, str]) -> None:
    """Let `settings.redact` know the values whose names look like credentials, whole and without a scheme before."""
    for name, value in values.items():
        if _SECRET_NAME.search(name):
            settings.hide(value, name)
            settings.hide(value.rpartition(" ")[2], name)  # "Bearer ..."
