"""`sayso eval render`: the users' turns of a suite as sound, before it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sayso.cli_options import EngineOption


def render(
    suites: Annotated[list[Path], typer.Argument(metavar="SUITE...", help="Files or folders.", show_default=False)],
    seed: Annotated[int, typer.Option("--seed", help="As of the run: it chooses the voices.")] = 0,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Of each scenario; else as it says.", show_default=False)
    ] = None,
    tts: EngineOption = "kokoro",
    check: Annotated[bool, typer.Option("--check/--no-check", help="Hear each clip back by a recogniser.")] = True,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Keep the clips here; else in the cache.", show_default=False)
    ] = None,
) -> None:
    """Render what users say, so that runs need no synthesiser. Exit code 1: a clip cannot be understood."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from sayso.evals.loader import load_suites
    from sayso.evals.speech.cache import ClipCache
    from sayso.evals.speech.fill import fill
    from sayso.evals.speech.listen import Listener
    from sayso.evals.speech.render import Renderer

    loaded = load_suites([*suites])
    renderer = Renderer(ClipCache(cache), engine=tts, listener=Listener() if check else None)
    console = Console(stderr=True)
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=None)
        found = fill(
            loaded,
            renderer,
            seed=seed,
            trials=trials,
            tell=lambda done, of: progress.update(bar, completed=done, total=of),
        )
    for scenario, turn, reason in found.bad:
        typer.echo(f"{scenario} turn {turn}: {reason}")
    typer.echo(f"{found.clips} turns have a clip in {renderer.cache.folder} ({found.made} sounds made now).")
    if found.bad:
        typer.echo(f"{len(found.bad)} clips cannot be understood: their units would be void.")
        raise typer.Exit(1)
