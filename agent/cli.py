"""The command line: `sayso ask`, `talk`, `tools`, `voices`, `models` and `doctor`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.exceptions import TyperException

from sayso.agent import Agent
from sayso.cli_models import models_app
from sayso.errors import SaysoError, UsageError
from sayso.result import TurnResult
from sayso.tools import Tool, load_tools
from sayso.tools.builtin import BUILTIN_TOOLS

app = typer.Typer(
    name="sayso",
    help="Voice agents that call tools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models_app, name="models")

Size = Literal["default", "small"]
Engine = Literal["kokoro", "piper"]

ToolsOption = Annotated[
    Path | None,
    typer.Option("--tools", metavar="FILE", help="A Python file with functions marked @tool.", show_default=False),
]
VoiceOption = Annotated[str | None, typer.Option("--voice", help="See `sayso voices`.", show_default=False)]
SizeOption = Annotated[Size, typer.Option("--model", help="Embedded language model: 1.5B, or 0.5B for small machines.")]
EngineOption = Annotated[Engine, typer.Option("--tts", help="What speaks; piper is an extra.")]
LanguageOption = Annotated[str, typer.Option("--language", help="Spoken language, e.g. en, zh; 'auto' finds out.")]
InstructionsOption = Annotated[str, typer.Option("--instructions", help="What the agent is told first.")]
DEFAULT_INSTRUCTIONS = "You are a friendly voice assistant."


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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    instructions: InstructionsOption = DEFAULT_INSTRUCTIONS,
    voice: VoiceOption = None,
    model: SizeOption = "default",
    tts: EngineOption = "kokoro",
    language: LanguageOption = "en",
) -> None:
    """Ask once, by a sound file or by text."""
    if (question is None) == (text is None):
        raise UsageError("Ask either with a sound file or with --text.", "For example: sayso ask question.wav")
    check_writable(out)
    agent = build_agent(tools, instructions, voice, model, tts, language)
    speak = question is not None or out is not None
    result = agent.ask_sync(question if text is None else text, speak=speak)
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
    instructions: InstructionsOption = DEFAULT_INSTRUCTIONS,
    voice: VoiceOption = None,
    model: SizeOption = "default",
    tts: EngineOption = "kokoro",
    language: LanguageOption = "en",
    headphones: Annotated[
        bool, typer.Option("--headphones", help="Interrupt by speaking; without headphones it would hear itself.")
    ] = False,
) -> None:
    """Talk with the microphone and the speaker; Ctrl+C ends it."""
    from sayso.talk import run_talk

    agent = build_agent(tools, instructions, voice, model, tts, language)
    asyncio.run(run_talk(agent, barge_in=headphones))


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
def voices(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show the voices that the embedded synthesisers have."""
    from sayso.models.embedded import all_voices

    found = all_voices()
    if as_json:
        typer.echo(
            json.dumps(
                [
                    {"name": v.name, "language": v.language, "gender": v.gender, "description": v.description}
                    for v in found
                ],
                ensure_ascii=False,
                indent=2,
            )
        )
        return
    table = Table("voice", "language", "gender", "sounds")
    for voice in found:
        table.add_row(*map(Text, (voice.name, voice.language, voice.gender, voice.description)))
    Console().print(table)
    typer.echo("Mixtures work too: --voice af_heart:0.6+bf_emma:0.4")


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


def build_agent(
    tools: Path | None, instructions: str, voice: str | None, size: Size, engine: Engine, language: str
) -> Agent:
    """The agent that a command's options describe."""
    from sayso.models.embedded import embedded_model

    model = embedded_model(size=size, tts=engine, language=None if language == "auto" else language)
    return Agent(instructions=instructions, tools=chosen_tools(tools), model=model, voice=voice)


def chosen_tools(path: Path | None) -> list[Tool[..., Any]]:
    """The tools of a file, or the built-in ones."""
    return load_tools(path) if path is not None else list(BUILTIN_TOOLS)


def check_writable(out: Path | None) -> None:
    """Refuse before the work, not after it, where the reply could not be written."""
    if out is None:
        return
    if out.suffix.lower() not in {".wav", ".flac"}:
        raise UsageError(f"Cannot write {out.name}: the reply is written as WAV or FLAC.", "Use --out reply.wav")
    if out.is_dir():
        raise UsageError(f"{out} is a folder.", "Give the name of a file, such as reply.wav.")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {out.absolute().parent}.", "Make it first, or give another --out.")


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
        "timeout_s": tool.timeout_s,
        "parameters": tool.spec.parameters,
    }


def as_data(result: TurnResult, out: Path | None) -> dict[str, Any]:
    """A turn as JSON."""
    return {
        "heard": result.heard,
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


def print_result(result: TurnResult, out: Path | None = None) -> None:
    """A turn for people to read."""
    console = Console(highlight=False, soft_wrap=True)
    if result.reason == "no_speech":
        console.print("No speech was found in the audio.")
        return
    console.print(f"[bold]heard[/]   {escape(result.heard)}")
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
