"""The command line: `sayso ask`, `talk`, `serve`, `keys`, `tools`, `calls`, `mcp`, `documents` and others."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import aclosing as closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.exceptions import TyperException

from sayso.cli_calls import calls
from sayso.cli_documents import documents_app
from sayso.cli_eval import eval_app
from sayso.cli_mcp import mcp
from sayso.cli_models import models_app
from sayso.cli_options import (
    DEFAULT_INSTRUCTIONS,
    EngineOption,
    InstructionsOption,
    LanguageOption,
    McpOption,
    ModelOption,
    SessionOption,
    ThinkOption,
    ToolsOption,
    VoiceOption,
    build_agent,
    check_writable,
    chosen_tools,
    with_mcp,
)
from sayso.cli_serve import keys_app, serve
from sayso.cli_voices import voices_app
from sayso.errors import SaysoError, UsageError
from sayso.events import Thought
from sayso.result import TurnResult, joined
from sayso.tools import Tool

app = typer.Typer(
    name="sayso",
    help="Voice agents that call tools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models_app, name="models")
app.add_typer(documents_app, name="documents")
app.add_typer(voices_app, name="voices")
app.add_typer(keys_app, name="keys")
app.add_typer(eval_app, name="eval")
app.command()(serve)
app.command()(calls)
app.command()(mcp)


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Voice agents that call tools."""
    del debug  # `main` looks for it: an error may come before the options are read


@app.command()
def ask(
    question: Annotated[Path | None, typer.Argument(help="A sound file.", show_default=False)] = None,
    text: Annotated[str | None, typer.Option("--text", help="Ask with words instead.", show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the spoken reply here (WAV, FLAC).", show_default=False)
    ] = None,
    tools: ToolsOption = None,
    mcp_servers: McpOption = None,
    session: SessionOption = None,
    approve: Annotated[bool, typer.Option("--approve", help="Agree to a call that asks for approval.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    instructions: InstructionsOption = DEFAULT_INSTRUCTIONS,
    voice: VoiceOption = None,
    model: ModelOption = "default",
    tts: EngineOption = "kokoro",
    language: LanguageOption = "en",
    think: ThinkOption = False,
) -> None:
    """Ask once, by a sound file or by text."""
    if (question is None) == (text is None):
        raise UsageError("Ask either with a sound file or with --text.", "For example: sayso ask question.wav")
    check_writable(out)
    speak = question is not None or out is not None

    async def main() -> TurnResult:
        async with (
            with_mcp(chosen_tools(tools), mcp_servers) as found,
            closing(build_agent(found, instructions, voice, model, tts, language, thinking=think)) as agent,
            agent.session(id=session, speak=speak) as conversation,
        ):
            result = await conversation.ask(question if question is not None else text or "")
            if approve and (waiting := conversation.approval) is not None:
                result = joined(result, await conversation.approve(waiting.call_id))
            return result

    result = asyncio.run(main())
    if out is not None and result.audio is not None:
        from sayso.speech.audio import save

        save(out, result.audio)
    if as_json:
        typer.echo(json.dumps(as_data(result, out), ensure_ascii=False, indent=2))
    else:
        print_result(result, out)


@app.command()
def talk(
    tools: ToolsOption = None,
    mcp_servers: McpOption = None,
    session: SessionOption = None,
    instructions: InstructionsOption = DEFAULT_INSTRUCTIONS,
    voice: VoiceOption = None,
    model: ModelOption = "default",
    tts: EngineOption = "kokoro",
    language: LanguageOption = "en",
    think: ThinkOption = False,
    headphones: Annotated[
        bool, typer.Option("--headphones", help="Interrupt by speaking; without headphones it would hear itself.")
    ] = False,
) -> None:
    """Talk with the microphone and the speaker; Ctrl+C ends it."""
    from sayso.talk import run_talk

    async def main() -> None:
        async with (
            with_mcp(chosen_tools(tools), mcp_servers) as found,
            closing(build_agent(found, instructions, voice, model, tts, language, thinking=think)) as agent,
        ):
            await run_talk(agent, barge_in=headphones, session_id=session)

    asyncio.run(main())


@app.command(name="tools")
def list_tools(
    tools: ToolsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Names, effects and schemas as JSON.")] = False,
) -> None:
    """Show the registered tools with their schemas and effects."""
    found = chosen_tools(tools)
    if as_json:
        typer.echo(json.dumps([tool_data(tool) for tool in found], ensure_ascii=False, indent=2))
        return
    table = Table("tool", "effect", "arguments", "what it does")
    for tool in found:
        arguments = "\n".join(arguments_of(tool.spec.parameters)) or "none"
        table.add_row(*map(Text, (tool.name, tool.effect.value, arguments, tool.spec.description)))
    Console().print(table)


@app.command()
def doctor() -> None:
    """Show what works on this machine and how to mend what does not."""
    from sayso.doctor import check_all

    checks = check_all()
    table = Table("", "what", "state", "what to do")
    for check in checks:
        mark = Text("ok", "green") if check.ok else Text("--", "yellow") if check.optional else Text("no", "red")
        table.add_row(mark, *map(Text, (check.name, check.state, check.remedy)))
    Console().print(table)
    if not all(check.ok or check.optional for check in checks):
        raise typer.Exit(1)


def arguments_of(schema: dict[str, Any]) -> list[str]:
    """One line for each argument of a tool: ``name: type = default``."""
    required = set(schema.get("required", ()))
    return [
        f"{name}: {type_name(part)}"
        + ("" if name in required else f" = {json.dumps(part.get('default'), ensure_ascii=False)}")
        for name, part in schema.get("properties", {}).items()
    ]


def type_name(schema: dict[str, Any]) -> str:
    """A short name of a JSON Schema's type."""
    if "enum" in schema:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(type_name(part) for part in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {type_name(schema.get('items', {}))}"
    return str(schema.get("type") or schema.get("$ref", "any").rsplit("/", 1)[-1])


def tool_data(tool: Tool[..., Any]) -> dict[str, Any]:
    """A tool as JSON."""
    return {
        "name": tool.name,
        "description": tool.spec.description,
        "effect": tool.effect.value,
        "policy": asdict(tool.policy),
        "timeout_s": tool.timeout_s,
        "parameters": tool.spec.parameters,
    }


def as_data(result: TurnResult, out: Path | None) -> dict[str, Any]:
    """A turn as JSON."""
    return {
        "heard": result.heard,
        "thought": thought_of(result),
        "calls": [
            {
                "name": call.name,
                "arguments": call.arguments,
                "status": call.status,
                "output": call.output,
                "seconds": call.seconds,
            }
            for call in result.calls
        ],
        "said": result.text,
        "reason": result.reason,
        "stages_s": {stage: round(seconds, 3) for stage, seconds in result.stages.items()},
        "audio": str(out) if out is not None and result.audio is not None else None,
        "audio_s": round(result.audio.seconds, 3) if result.audio else None,
    }


def thought_of(result: TurnResult) -> str:
    """What the model thought before it answered."""
    return "".join(event.text for event in result.events if isinstance(event, Thought)).strip()


def print_result(result: TurnResult, out: Path | None = None) -> None:
    """A turn for people to read."""
    console = Console(highlight=False, soft_wrap=True)
    if result.reason == "no_speech":
        console.print("No speech was found in the audio.")
        return
    console.print(f"[bold]heard[/]   {escape(result.heard)}")
    if thought := thought_of(result):
        console.print(f"[bold]thought[/] {escape(thought)}")
    for call in result.calls:
        arguments = ", ".join(
            f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items()
        )
        console.print(f"[bold]called[/]  {escape(f'{call.name}({arguments})')}")
        console.print(f"[bold]got[/]     {escape(call.output)} [dim]({call.status}, {call.seconds * 1000:.0f} ms)[/]")
    console.print(f"[bold]said[/]    {escape(result.text)}")
    stages = "  ".join(f"{stage.replace('_', ' ')} {seconds:.2f}" for stage, seconds in result.stages.items())
    console.print(f"[dim]seconds {stages}[/]")
    if out is not None and result.audio is not None:
        console.print(f"[dim]wrote   {escape(str(out))} ({result.audio.seconds:.1f} s)[/]")


def escape(text: str) -> str:
    """``text`` with no markup in it: it came from a model, a tool or a microphone."""
    from rich.markup import escape as rich_escape

    return rich_escape("".join(c if c.isprintable() else " " for c in text))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code: 2 for a user's mistake, 1 for ours."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        return app(given, standalone_mode=False) or 0
    except typer.Exit as end:
        return end.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except TyperException as error:
        message = error.format_message()
        return fail(message, "See: sayso --help", 2) if message else 2  # without a message it showed the help
    except SaysoError as error:
        if "--debug" in given:
            raise
        return fail(str(error), "", error.exit_code)
    except OSError as error:
        if "--debug" in given:
            raise
        return fail(f"The system refused: {error}.", "Free some space, or check the path and its permissions.", 1)
    except Exception as error:
        if "--debug" in given:
            raise
        return fail(
            f"Something broke in sayso: {type(error).__name__}: {error}", "Run again with: sayso --debug ...", 1
        )


def fail(message: str, hint: str, code: int) -> int:
    """Print one line to standard error."""
    print(" ".join(f"error: {message} {hint}".split()), file=sys.stderr)
    return code


def entry() -> None:
    """The console script."""
    sys.exit(main())
