"""`sayso voices`: which voices and sounds there are, searching them, adding clips."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sayso.tools.voices.library import Entry, VoiceLibrary
    from sayso.voices import Voice

voices_app = typer.Typer(help="Show and search voices and sounds, and add clips.")

JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]


@voices_app.callback(invoke_without_command=True)
def voices(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show the voices of the models that are on this machine."""
    if context.invoked_subcommand is not None:
        return
    rows = [
        {
            "name": one.name,
            "language": one.language,
            "gender": one.gender,
            "description": one.description,
            "model": model,
        }
        for model, voices in _voices().items()
        for one in voices
    ]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    _print_table(("voice", "language", "gender", "sounds", "model"), [tuple(row.values()) for row in rows])
    typer.echo("Mixtures of the embedded model's voices work too: --voice af_heart:0.6+bf_emma:0.4")


@voices_app.command()
def search(
    description: Annotated[str, typer.Argument(help='Such as "a deep British man" or "rain".')],
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Most answers.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Find voices, clips and sounds by description, as the tool audio_search does."""
    from sayso.tools.voices.ranking import read_wish
    from sayso.tools.voices.ranking import search as find

    library = _library()
    found = [hit.entry for hit in find(library, read_wish(library, description), limit)]
    if as_json:
        typer.echo(json.dumps([_facts(library, entry) for entry in found], ensure_ascii=False, indent=2))
    elif not found:
        typer.echo("Nothing fits. Voices have a gender, an accent, pitch, pace and brightness.")
    else:
        _print_table(("name", "kind", "description"), [(one.name, one.kind, one.description) for one in found])


@voices_app.command()
def add(
    clip: Annotated[Path, typer.Argument(help="A sound file, at most a minute; of a voice, two seconds or more.")],
    description: Annotated[str, typer.Option("--description", help="By which it is found.")],
    licence: Annotated[str, typer.Option("--licence", help="Under which it may be used.")] = "",
    consent: Annotated[str, typer.Option("--consent", help="How the speaker agreed to be imitated.")] = "",
    name: Annotated[str | None, typer.Option("--name", help="a-z, 0-9 and hyphens.", show_default=False)] = None,
    transcript: Annotated[str, typer.Option("--transcript", help="What is said, for the pace.")] = "",
    sound: Annotated[bool, typer.Option("--sound", help="It is no voice but a sound.")] = False,
) -> None:
    """Add a clip to the library."""
    from sayso.tools.voices.clips import add_clip, may_speak

    entry = add_clip(
        _library(),
        clip,
        description,
        licence=licence,
        consent=consent,
        kind="sound" if sound else "clip",
        name=name,
        transcript=transcript,
    )
    typer.echo(f"Added {entry.name}: {entry.seconds:.1f} s")
    if not sound and not may_speak(entry):
        typer.echo("Nobody may speak similarly to it: --licence and --consent are not stated.")
    elif not sound:
        typer.echo(f"Step-Audio 2 speaks like it: --voice {entry.name}; the embedded model looks for a similar voice.")


@voices_app.command()
def remove(name: Annotated[str, typer.Argument(help="Of a clip that was added.")]) -> None:
    """Remove a clip that was added, with its file."""
    _library().remove(name)
    typer.echo(f"Removed {name}")


@voices_app.command()
def index() -> None:
    """Render a spoken sample of every voice, once: about two minutes. Searching works without."""
    from rich.progress import Progress

    from sayso.tools.voices.samples import make_samples

    library = _library()
    with Progress() as bar:
        task = bar.add_task("samples")
        made = make_samples(
            library, lambda name, done, total: bar.update(task, description=name, completed=done, total=total)
        )
    typer.echo(f"{made} samples made. Folder: {library.samples}")


def _voices() -> dict[str, tuple[Voice, ...]]:
    """Voices by model; the embedded one's absence is an error only where there is no other."""
    from sayso.errors import ModelMissingError
    from sayso.models.embedded import all_voices
    from sayso.models.step_audio2.clips import voices_of
    from sayso.models.store import CHECKPOINTS, Hub

    hub = Hub()
    checkpoints = [path for one in CHECKPOINTS if (path := hub.status(one).path) is not None]
    clips = {voice.name: voice for path in checkpoints for voice in voices_of(path)}
    found = {"step-audio-2": tuple(clips.values())} if clips else {}
    try:
        return {"embedded": all_voices(), **found}
    except ModelMissingError:
        if not found:
            raise
        return found


def _library() -> VoiceLibrary:
    from sayso.tools.voices.library import open_library

    return open_library()


def _facts(library: VoiceLibrary, entry: Entry) -> dict[str, Any]:
    path = library.path(entry)
    return {key: value for key, value in asdict(entry).items() if value not in ("", None)} | {
        "path": None if path is None else str(path)
    }


def _print_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
