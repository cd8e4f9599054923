"""`sayso models`: what the agent's models are, fetching them, checking them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sayso.models.store import Artefact, Checkpoint, Report, Status

models_app = typer.Typer(help="Fetch and check the models that run on this machine.", no_args_is_help=True)


@models_app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the models: size, licence, whether they are here, what they are for."""
    from sayso.models.store import CHECKPOINTS, Hub, Store

    store, hub = Store(), Hub()
    rows: list[tuple[Artefact | Checkpoint, Status]] = [
        *((artefact, store.status(artefact.name)) for artefact in store.artefacts()),
        *((checkpoint, hub.status(checkpoint)) for checkpoint in CHECKPOINTS),
    ]
    if as_json:
        typer.echo(json.dumps([_facts(*row) for row in rows], indent=2))
    else:
        _print_table(rows)
        typer.echo(f"Folder: {store.root}")


@models_app.command()
def pull(
    names: Annotated[list[str] | None, typer.Argument(help="Which ones; the default set where none is named.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every model there is, but not the checkpoints of 18 GB.")
    ] = False,
    small: Annotated[bool, typer.Option("--small", help="The set for small machines.")] = False,
) -> None:
    """Fetch models. Safe to interrupt: running the same again goes on where it stopped."""
    from sayso.errors import UsageError
    from sayso.models.store import Hub, Store, find_checkpoint, terminal_progress

    if sum((bool(names), everything, small)) > 1:
        raise UsageError("Names, --all and --small exclude each other.", "Give one of them.")
    store = Store()
    chosen = names or [one.name for one in store.artefacts() if everything or (one.small if small else one.default)]
    checkpoints = [found for name in chosen if (found := find_checkpoint(name)) is not None]
    with terminal_progress() as progress:
        store.pull([name for name in chosen if find_checkpoint(name) is None], progress)
        for checkpoint in checkpoints:
            Hub().pull(checkpoint, progress)


@models_app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which ones; all that are here where none is named.")
    ] = None,
) -> None:
    """Hash every file and compare with the manifest. Exit code 1 where something is wrong."""
    from sayso.models.store import CHECKPOINTS, Hub, Store, find_checkpoint

    store, hub = Store(), Hub()
    chosen = names or [
        *(one.name for one in store.artefacts() if store.status(one.name).state not in _ABSENT),
        *(one.name for one in CHECKPOINTS if hub.status(one).state not in _ABSENT),
    ]
    if not chosen:
        typer.echo("There are no models here. Fetch them with: sayso models pull")
    reports = ((name, find_checkpoint(name)) for name in chosen)
    if not all([_told(store.verify(name) if one is None else hub.verify(one)) for name, one in reports]):
        raise typer.Exit(1)


@models_app.command()
def random(
    name: Annotated[str, typer.Argument(help="step-audio-2-mini")],
    folder: Annotated[Path, typer.Argument(help="Where to write it: a new or empty folder.")],
    tiny: Annotated[bool, typer.Option("--tiny", help="Networks for tests (44 MB) instead of 18 GB.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="The same seed writes the same weights.")] = 0,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="Copy the tokenizer files of this folder.")
    ] = None,
) -> None:
    """Write a checkpoint with random weights, in the layout of the real one: for tests and to measure speed."""
    from sayso.errors import ModelMissingError, UsageError

    if name != "step-audio-2-mini":
        raise UsageError(f"{name!r} cannot be made with random weights.", "Name step-audio-2-mini.")
    try:
        from sayso.models.step_audio2.random_weights import write_random
        from sayso.models.step_audio2.token2wav.random_weights import write_random as write_token2wav
    except ModuleNotFoundError as error:
        raise ModelMissingError(
            f"The package {error.name!r} is not installed.", "Install it with: pip install 'sayso[step-audio]'"
        ) from error
    written = write_random(folder, tiny=tiny, seed=seed, tokenizer=tokenizer, token2wav=write_token2wav)
    typer.echo(f"Random weights of {name}{' (tiny)' if tiny else ''} are in {written}")


_ABSENT = ("missing", "partial", "fallback")


def _told(report: Report) -> bool:
    name = report.name
    if report.ok:
        note = "" if report.files else " (named by a setting; taken as it is)"
        typer.echo(f"{name}: good{note}  {report.path}")
        return True
    typer.echo(f"{name}: WRONG. Fetch it again with: sayso models pull {name}  {report.path}")
    for file in report.files:
        if file.state != "good":
            typer.echo(f"  {file}")
    return False


def _facts(artefact: Artefact | Checkpoint, status: Status) -> dict[str, object]:
    from sayso.settings import model_variable

    return {
        "name": artefact.name,
        "purpose": artefact.purpose,
        "size_bytes": artefact.size,
        "licence": artefact.licence,
        "upstream": artefact.upstream,
        "default": artefact.default,
        "small": artefact.small,
        "state": status.state,
        "path": str(status.path) if status.path else None,
        "setting": model_variable(artefact.name),
    }


def _print_table(rows: list[tuple[Artefact | Checkpoint, Status]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from sayso.models.store.files import text_size

    table = Table(box=None, pad_edge=False)
    for title in ("name", "size", "licence", "state", "used for"):
        table.add_column(title, justify="right" if title == "size" else "left", no_wrap=title != "used for")
    for artefact, status in rows:
        used_for = artefact.purpose + (" (default set)" if artefact.default else "")
        table.add_row(artefact.name, text_size(artefact.size), artefact.licence, status.state, escape(used_for))
    Console().print(table)
