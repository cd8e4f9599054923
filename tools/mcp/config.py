"""`load_servers`: the configuration file that other programs use too.

    {"mcpServers": {
        "time":  {"command": "uvx", "args": ["mcp-server-time"], "trusted": true},
        "notes": {"url": "https://example.org/mcp", "headers": {"Authorization": "Bearer ${NOTES_TOKEN}"}}
    }}

``${NAME}``, ``${env:NAME}`` and ``${NAME:-default}`` stand for environment variables. Beside the usual keys each
server may have the fields of `sayso.tools.mcp.server.Server`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sayso import settings
from sayso.errors import UsageError
from sayso.tools.mcp.server import Http, Server, Stdio
from sayso.tools.tool import EffectName

_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_log = logging.getLogger(__name__)


class _Entry(BaseModel):
    """One server in the file. Keys that are not ours (other programs have their own) are left alone."""

    model_config = ConfigDict(extra="allow", strict=True)

    type: Literal["stdio", "http", "streamable-http", "streamableHttp", "streamable_http", "sse"] | None = None
    command: str | None = None
    args: list[str] = Field(default_factory=list[str])
    env: dict[str, str] = Field(default_factory=dict[str, str])
    inherit: list[str] = Field(default_factory=list[str])
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict[str, str])
    disabled: bool = False
    trusted: bool = False
    effects: dict[str, EffectName] = Field(default_factory=dict[str, EffectName])
    prefix: str | None = None
    timeout_s: float = 30.0
    start_timeout_s: float = 60.0
    required: bool = True


def load_servers(path: str | Path) -> list[Server]:
    """The servers in a configuration file, in its order, without those that are disabled.

    Args:
        path: A JSON file with an object ``mcpServers`` (or ``servers``).

    Raises:
        UsageError: No such file, no JSON, a server that is neither a command nor a URL, a variable that is not set;
            the message says where.
    """
    file = Path(path).expanduser()
    entries = _read(file)
    servers: list[Server] = []
    for name, raw in entries.items():
        place = f"{file}: MCP server '{name}'"
        entry = _entry(raw, place)
        if not entry.disabled:
            servers.append(_server(name, entry, place))
    return servers


def _read(file: Path) -> dict[str, Any]:
    try:
        data: Any = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", "Give a file with MCP servers.") from None
    except ValueError as error:
        raise UsageError(f"{file} is no JSON: {error}.", "Correct it.") from None
    found = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    entries = found.get("mcpServers", found.get("servers"))
    if not isinstance(entries, dict):
        raise UsageError(f"{file} has no object 'mcpServers'.", 'Write {"mcpServers": {"NAME": {"command": ...}}}.')
    return cast("dict[str, Any]", entries)


def _entry(raw: Any, place: str) -> _Entry:
    try:
        entry = _Entry.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"])) or "the entry"
        raise UsageError(f"{place}: {field}: {first['msg']}.", "Correct it.") from None
    if entry.model_extra:
        _log.warning("%s: keys that are not known here: %s", place, ", ".join(sorted(entry.model_extra)))
    return entry


def _server(name: str, entry: _Entry, place: str) -> Server:
    def expand(text: str) -> str:
        return _expand(text, place)

    options: dict[str, Any] = {
        key: getattr(entry, key) for key in ("trusted", "effects", "prefix", "timeout_s", "start_timeout_s", "required")
    }
    if (entry.command is None) == (entry.url is None):
        raise UsageError(f"{place} needs either a command or a url.", "Give one of them.")
    if entry.type == "sse" or ((entry.type == "stdio") != (entry.command is not None) and entry.type is not None):
        what = "command" if entry.command is not None else "url"
        raise UsageError(
            f"{place} has a {what} and the type {entry.type!r}.", "Types are stdio (a command) and http (a url)."
        )
    if entry.command is not None:
        return Stdio(
            name,
            expand(entry.command),
            [expand(argument) for argument in entry.args],
            _values(entry.env, expand),
            entry.inherit,
            None if entry.cwd is None else expand(entry.cwd),
            **options,
        )
    return Http(name, expand(entry.url or ""), _values(entry.headers, expand), **options)


def _values(values: dict[str, str], expand: Callable[[str], str]) -> dict[str, str]:
    return {key: expand(value) for key, value in values.items()}


def _expand(text: str, place: str) -> str:
    def value(found: re.Match[str]) -> str:
        known = settings.variable(found[1])
        if known is None and found[2] is None:
            raise UsageError(f"{place} names the variable {found[1]}, which is not set.", "Set it, or give a default.")
        return known or found[2] or ""

    return _VARIABLE.sub(value, text)
