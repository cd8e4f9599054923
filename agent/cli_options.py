"""What several commands have in common: their options, and the agent that these describe."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from sayso.agent import Agent
from sayso.errors import UsageError
from sayso.tools import Tool, load_tools
from sayso.tools.builtin import BUILTIN_TOOLS
from sayso.tools.registry import Registry

Engine: TypeAlias = Literal["kokoro", "piper"]

ToolsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tools",
        metavar="FILE|NAME",
        help="A Python file with functions marked @tool, or built-in tools: default, web, weather, home, notes, "
        "documents, voices, dates, units, calls. May be repeated.",
        show_default=False,
    ),
]
McpOption = Annotated[
    Path | None,
    typer.Option("--mcp", metavar="FILE", help="MCP servers, in the mcpServers JSON form.", show_default=False),
]
VoiceOption = Annotated[str | None, typer.Option("--voice", help="See `sayso voices`.", show_default=False)]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME|FOLDER",
        help="The embedded model of 1.5B ('default') or 0.5B ('small', for small machines), 'step-audio-2-mini' "
        "(also -think, -base), or the folder of a checkpoint of it.",
    ),
]
EngineOption = Annotated[Engine, typer.Option("--tts", help="What speaks; piper is an extra.")]
LanguageOption = Annotated[str, typer.Option("--language", help="Spoken language, e.g. en, zh; 'auto' finds out.")]
ThinkOption = Annotated[bool, typer.Option("--think", help="Let the model think first; step-audio-2-mini-think can.")]
InstructionsOption = Annotated[str, typer.Option("--instructions", help="What the agent is told first.")]
SessionOption = Annotated[
    str | None, typer.Option("--session", help="Name of the conversation in the journal.", show_default=False)
]
DEFAULT_INSTRUCTIONS = "You are a friendly voice assistant."


def build_agent(
    tools: Iterable[Tool[..., Any]],
    instructions: str,
    voice: str | None,
    model: str,
    engine: Engine,
    language: str,
    *,
    thinking: bool = False,
) -> Agent:
    """The agent that a command's options describe; ``engine`` and ``language`` are the embedded models' alone.

    Raises:
        UsageError: There is no such model, or its folder is none of a checkpoint.
        ModelMissingError: The model's files or packages are not here.
    """
    from sayso.models.embedded import embedded_model
    from sayso.models.named import named

    if model in ("default", "small"):
        heard = None if language == "auto" else language
        found = embedded_model(size="small" if model == "small" else "default", tts=engine, language=heard)
    else:
        found = named(model)
    return Agent(instructions=instructions, tools=tools, model=found, voice=voice, thinking=thinking)


def chosen_tools(wanted: Iterable[str] | None) -> list[Tool[..., Any]]:
    """The tools of files and the built-in ones that were asked for; without a wish, those that work offline.

    Raises:
        UsageError: There is no such file or built-in tool.
        ToolDefinitionError: A file cannot be loaded, or two tools have one name.
    """
    from sayso.tools.builtin.catalogue import named

    if not wanted:
        return list(BUILTIN_TOOLS)
    found: list[Tool[..., Any]] = []
    for one in dict.fromkeys(wanted):
        found += load_tools(one) if one.endswith(".py") or Path(one).is_file() else named(one)
    return list(Registry(dict.fromkeys(found)).values())


@asynccontextmanager
async def with_mcp(tools: list[Tool[..., Any]], config: Path | None) -> AsyncGenerator[list[Tool[..., Any]]]:
    """``tools`` and those of the MCP servers of a file, which live as long as the scope."""
    if config is None:
        yield tools
        return
    from sayso.tools.mcp import McpServers, load_servers

    async with McpServers(load_servers(config)) as servers:
        yield [*tools, *servers.tools]


def check_writable(out: Path | None) -> None:
    """Refuse before the work, not after it, where the reply could not be written.

    Raises:
        UsageError: It is no sound file, a folder, or in a folder that does not exist.
    """
    if out is None:
        return
    if out.suffix.lower() not in {".wav", ".flac"}:
        raise UsageError(f"Cannot write {out.name}: the reply is written as WAV or FLAC.", "Use --out reply.wav")
    if out.is_dir():
        raise UsageError(f"{out} is a folder.", "Give the name of a file, such as reply.wav.")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {out.absolute().parent}.", "Make it first, or give another --out.")
