"""`sayso serve`: an agent over HTTP. `sayso keys`: who may use it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sayso.agent import Agent
from sayso.cli_options import (
    DEFAULT_INSTRUCTIONS,
    EngineOption,
    InstructionsOption,
    LanguageOption,
    McpOption,
    ModelOption,
    ToolsOption,
    VoiceOption,
    build_agent,
    chosen_tools,
    with_mcp,
)
from sayso.errors import UsageError
from sayso.session_context import check_voice
from sayso.settings import hide
from sayso.tools import Tool
from sayso.tools.loader import load_module

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sayso.server.keys import Key, KeyFile
    from sayso.server.settings import JwtSettings, ServerSettings

OF_THE_EMBEDDED = ("instructions", "voice", "model", "tts", "language")
"""Options that describe the agent, which a file does itself."""
PACKAGES = ("fastapi", "uvicorn", "websockets", "orjson", "prometheus_client", "sse_starlette", "multipart", "jwt")
SERVED = {
    "/": "a page to talk to it",
    "/v1/realtime": "OpenAI's Realtime protocol (WebSocket)",
    "/v1/realtime/calls": "the same over WebRTC",
    "/v1/chat/completions": "OpenAI's chat completions",
    "/v1/audio/transcriptions": "speech to text",
    "/v1/audio/speech": "text to speech",
    "/v1/agents/{name}/sessions": "sessions that last",
    "/metrics": "figures for Prometheus",
}

KeysOption = Annotated[
    Path | None,
    typer.Option("--keys", metavar="FILE", help="API keys; by default in sayso's data folder.", show_default=False),
]
keys_app = typer.Typer(help="Who may use the server.", no_args_is_help=True)


def serve(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="A Python file with `agent = Agent(...)` or `agents = {name: Agent(...)}`."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to listen; 0: where it is free.")] = 8000,
    tools: ToolsOption = None,
    mcp_servers: McpOption = None,
    instructions: InstructionsOption = DEFAULT_INSTRUCTIONS,
    voice: VoiceOption = None,
    model: ModelOption = "default",
    tts: EngineOption = "kokoro",
    language: LanguageOption = "en",
    keys: KeysOption = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve everybody who reaches it, where there are no keys.")
    ] = False,
    jwt_key: Annotated[
        Path | None,
        typer.Option("--jwt-key", metavar="FILE", help="Secret (HS256) or RSA public key (RS256) of JSON Web Tokens."),
    ] = None,
    jwt_audience: Annotated[str, typer.Option("--jwt-audience", help="What their `aud` has to be.")] = "sayso",
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key, PEM.")] = None,
    max_sessions: Annotated[int, typer.Option("--max-sessions", min=1, help="At the same time.")] = 64,
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", metavar="ORIGIN", help="Of web pages that may use it; may be repeated."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A further name that it is reached by; may be repeated.")
    ] = None,
    drain_s: Annotated[float, typer.Option("--drain-seconds", min=0, help="For turns, when it is told to stop.")] = 30,
    log_format: Annotated[Literal["text", "json"], typer.Option("--log-format", help="Of the log.")] = "text",
) -> None:
    """Serve an agent over HTTP: your own, or the embedded model with the built-in tools."""
    need_packages()
    from sayso.server.keys import default_keys
    from sayso.server.settings import ServerSettings

    if file is not None:
        check_free(context, file)
    known = default_keys()
    settings = ServerSettings(
        host=host,
        port=port,
        keys=keys or (known if known.is_file() else None),
        jwt=None if jwt_key is None else jwt_settings(jwt_key, jwt_audience),
        insecure=insecure,
        allowed_hosts=tuple(allow_host or ()),
        cors=tuple(cors or ()),
        tls_cert=tls_cert,
        tls_key=tls_key,
        max_sessions=max_sessions,
        drain_s=drain_s,
        log_format=log_format,
    )

    def describe(found: list[Tool[..., Any]]) -> dict[str, Agent]:
        if file is None:
            return {"sayso": build_agent(found, instructions, voice, model, tts, language)}
        return {
            name: agent.variant(tools=[*agent.tools, *found]) if found else agent
            for name, agent in load_agents(file).items()
        }

    chosen = [] if file is not None and not tools else chosen_tools(tools)
    asyncio.run(run_server(chosen, mcp_servers, describe, settings))


async def run_server(
    tools: list[Tool[..., Any]],
    mcp_servers: Path | None,
    describe: Callable[[list[Tool[..., Any]]], dict[str, Agent]],
    settings: ServerSettings,
) -> None:
    """Serve the agents that ``describe`` makes of the tools until a signal comes."""
    from sayso.server import create_app
    from sayso.server.run import serve as run

    async with with_mcp(tools, mcp_servers) as found, closing_all(describe(found)) as agents:
        for agent in agents.values():
            if agent.voice is not None:
                check_voice(agent.voice, agent.voice_model.profile.voices)
        app = create_app(agents, settings)
        await run(app, lambda url: typer.echo(served(app, url, agents)))


@asynccontextmanager
async def closing_all(agents: dict[str, Agent]) -> AsyncGenerator[dict[str, Agent]]:
    """Inside, the agents may be used; at the end they are closed."""
    async with AsyncExitStack() as stack:
        for agent in agents.values():
            await stack.enter_async_context(aclosing(agent))
        yield agents


def load_agents(file: Path) -> dict[str, Agent]:
    """The agents that a Python file defines: ``agents``, or ``agent``, which is called ``sayso``.

    Raises:
        UsageError: It defines none, or something else.
        ToolDefinitionError: It cannot be run.
    """
    module = load_module(file)
    if (found := getattr(module, "agents", None)) is None:
        agent = getattr(module, "agent", None)
        if isinstance(agent, Agent):
            return {"sayso": agent}
        what = "defines no agent" if agent is None else f"has a {type(agent).__name__} for its agent"
        raise UsageError(f"{file} {what}.", "Define: agent = Agent(...)")
    if not isinstance(found, dict) or not found:
        raise UsageError(f"{file}: agents is no dict, or empty.", 'Define: agents = {"name": Agent(...)}')
    for name, agent in cast("dict[object, object]", found).items():
        if not (isinstance(name, str) and name and isinstance(agent, Agent)):
            raise UsageError(f"{file}: agents[{name!r}] is a {type(agent).__name__}.", "Give an Agent for each name.")
        if not all(one.isalnum() or one in "-_." for one in name):
            raise UsageError(f"{file}: the name {name!r} cannot be a part of an address.", "Use letters, digits, -_.")
    return cast("dict[str, Agent]", found)


def check_free(context: typer.Context, file: Path) -> None:
    """Refuse options that the agent's file decides.

    Raises:
        UsageError: One was given.
    """
    sources = {one: context.get_parameter_source(one) for one in OF_THE_EMBEDDED}
    given = [one for one, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        raise UsageError(
            f"--{given[0]} is for the embedded model; {file.name} has an agent of its own.", "Leave it out."
        )


def jwt_settings(path: Path, audience: str) -> JwtSettings:
    """What is asked of tokens that the key in a file has signed.

    Raises:
        UsageError: It cannot be read.
    """
    from pydantic import SecretStr

    from sayso.server.settings import JwtSettings

    try:
        key = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"The key for tokens in {path} cannot be read.") from None
    hide(key, "key for tokens")
    return JwtSettings(key=SecretStr(key), audience=audience)


def need_packages() -> None:
    """Refuse where the server's packages are not installed.

    Raises:
        UsageError: That is so.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"The server needs {missing[0]}, which is not installed.", "pip install 'sayso[server]'")


def served(app: FastAPI, url: str, agents: dict[str, Agent]) -> str:
    """What is served, for people to read."""
    lines = [f"Serving at {url}; Ctrl+C ends it."]
    for name, agent in agents.items():
        lines.append(f"  agent {name}: {agent.voice_model.profile.name}, {len(agent.registry)} tools")
    lines += [f"  {path:28} {what}" for path, what in SERVED.items() if path in app.state.paths]
    return "\n".join(lines)


@keys_app.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    sessions: Annotated[int | None, typer.Option("--sessions", min=1, help="At the same time.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option("--requests-per-minute", min=1)] = None,
    minutes_per_day: Annotated[
        float | None, typer.Option("--minutes-per-day", min=0.01, help="Of speech, in and out.")
    ] = None,
    agents: Annotated[
        list[str] | None, typer.Option("--agents", help="Whom it may talk to; may be repeated. Default: all.")
    ] = None,
    operator: Annotated[bool, typer.Option("--operator", help="It may read /metrics.")] = False,
    keys: KeysOption = None,
) -> None:
    """Make a key. It is shown once; the file holds a salted hash of it."""
    from sayso.server.settings import Limits

    limits = Limits(sessions=sessions, requests_per_minute=requests_per_minute, minutes_per_day=minutes_per_day)
    file = key_file(keys)
    typer.echo(file.add(name, limits, None if agents is None else tuple(agents), operator=operator))
    typer.echo(f"Keep it: it cannot be shown again. Its hash is in {file.path}.", err=True)


@keys_app.command(name="list")
def list_keys(
    keys: KeysOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the keys, without what is secret of them."""
    found = key_file(keys).keys()
    if as_json:
        typer.echo(json.dumps([shown(key) for key in found], ensure_ascii=False, indent=2))
        return
    if not found:
        typer.echo("No keys yet. Make one with: sayso keys add NAME")
        return
    table = Table("name", "id", "made", "limits", "agents", "state")
    for key in found:
        limits = ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in key.limits if value is not None)
        state = "revoked" if key.revoked else "operator" if key.operator else "valid"
        agents = "all" if key.agents is None else ", ".join(key.agents)
        table.add_row(*map(Text, (key.name, key.id, f"{key.created:%Y-%m-%d}", limits or "none", agents, state)))
    Console().print(table)


@keys_app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Of the key, or its id.")],
    keys: KeysOption = None,
) -> None:
    """Make a key count no more, in servers that run too; its sessions end."""
    typer.echo(f"The key {key_file(keys).revoke(name).name} does not count any more.")


def key_file(path: Path | None) -> KeyFile:
    """The file of keys that is meant."""
    need_packages()
    from sayso.server.keys import KeyFile, default_keys

    return KeyFile(path or default_keys())


def shown(key: Key) -> dict[str, Any]:
    """A key as JSON, without what is secret of it."""
    return key.model_dump(mode="json", exclude={"salt", "hash"})
