"""`sayso eval run`, `validate` and `replay`: hold scripted conversations, check files, check again what was held."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sayso.errors import UsageError

if TYPE_CHECKING:
    from sayso.evals.run.runner import Prepared

SuitesArgument = Annotated[
    list[Path], typer.Argument(metavar="SUITE...", help="Folders or files of scenarios.", show_default=False)
]


def run(
    suites: SuitesArgument,
    mode: Annotated[Literal["text", "speech"], typer.Option("--mode", help="How the user speaks.")] = "text",
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent",
            metavar="FILE|NAME",
            help="A Python file that defines agent, or a reference agent: perfect, silent, always-call, parrot. "
            "Else the model with the scenarios' tools.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME|FOLDER", help="As for sayso ask: default, small, ...", show_default=False
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Of each scenario; else as it says.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same units.")] = 0,
    jobs: Annotated[
        int, typer.Option("--jobs", "--procs", min=1, max=256, help="Units at the same time, each in a process.")
    ] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="A folder for the run.", show_default=False)] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Go on with the run in this folder.", show_default=False)
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="tag=x, id=glob, suite=x, language=x; all have to hold.", show_default=False),
    ] = None,
    shard: Annotated[str, typer.Option("--shard", help="2/5: the second fifth of the units.")] = "1/1",
    max_void: Annotated[
        float | None, typer.Option("--max-void", min=0, max=1, help="Most units that may be void.", show_default=False)
    ] = None,
    gates: Annotated[
        Path | None, typer.Option("--gates", help="What the run must reach: a YAML file.", show_default=False)
    ] = None,
    time_limit: Annotated[float, typer.Option("--time-limit", min=1, help="Seconds that a unit may take.")] = 300.0,
    pace: Annotated[
        Literal["real", "fast"] | None,
        typer.Option("--pace", help="Of speech: fast waits for no silence, and tells no times.", show_default=False),
    ] = None,
    render: Annotated[
        bool, typer.Option("--render/--no-render", help="Render what users say where no clip is kept.")
    ] = True,
    listen: Annotated[
        Literal["asked", "always", "never"], typer.Option("--listen", help="Recognise the sound of replies.")
    ] = "asked",
) -> None:
    """Run scenarios. Exit code 1: a gate failed; 2: bad input; 3: too much is void; 4: interrupted."""
    from sayso.evals.agents import AgentSource
    from sayso.evals.gates import Gates, read_gates
    from sayso.evals.run.runner import Options, prepare

    folder = resume or out
    if folder is None or (resume is not None and out is not None and resume != out):
        raise UsageError("A run needs one folder.", "Give --out RUN for a new one, or --resume RUN.")
    found = Gates() if gates is None else read_gates(gates)
    if max_void is not None:
        found = replace(found, max_void=max_void)
    options = Options(
        mode=mode,
        trials=trials,
        seed=seed,
        jobs=jobs,
        filters=tuple(filters or ()),
        shard=_shard(shard),
        limit_s=time_limit,
        mode_options=_speech_options(agent, pace, render, listen) if mode == "speech" else {},
    )
    prepared = prepare([*suites], AgentSource(agent, model), folder, options, resume=resume is not None)
    if prepared.changed:
        typer.echo(f"{len(prepared.changed)} units are run again: their scenario, agent or seed has changed.")
    interrupted = _execute(prepared, jobs)
    code = _finish(folder, found, interrupted=interrupted)
    if code:
        raise typer.Exit(code)


def validate(suites: SuitesArgument) -> None:
    """Check scenarios: their files, worlds, tools, and that the world which they expect can be reached."""
    from sayso.evals.validate import validate as check

    count = asyncio.run(check([*suites]))
    typer.echo(f"{count} scenarios are in order.")


def replay(
    unit: Annotated[Path, typer.Argument(metavar="RUN/UNIT", help="A unit of a run.", show_default=False)],
    suites: Annotated[
        list[Path] | None,
        typer.Option("--suite", help="Where its scenario is; else as in the run.", show_default=False),
    ] = None,
) -> None:
    """Check the stored events of a unit again, with the scenario as it is now. No model is asked."""
    from rich.console import Console

    from sayso.evals.run.replay import replay as again

    found = asyncio.run(again(unit.parent, unit.name, [*(suites or [])]))
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{unit.name}: {found.verdict} {found.void_reason}", markup=False)
    for check in found.checks:
        if check.verdict != "pass":
            where = "" if check.turn is None else f" turn {check.turn}"
            console.print(f"  {check.verdict} {check.name}{where}: {check.message}", markup=False)
    if found.verdict != "pass":
        raise typer.Exit(1)


def _speech_options(agent: str | None, pace: str | None, render: bool, listen: str) -> dict[str, Any]:
    """Keywords of the speech mode. Reference agents compute in no time: a virtual clock measures them."""
    from sayso.evals.agents import KINDS

    return {"pace": pace or ("fast" if agent in KINDS else "real"), "render": render, "listens": listen}


def _execute(prepared: Prepared, jobs: int) -> bool:
    """Run, with a display of how far it is; whether it was interrupted."""
    from sayso.evals.run.progress import progress
    from sayso.evals.run.runner import execute

    with progress(len(prepared.plans), prepared.done) as tell:
        try:
            execute(prepared, jobs, tell)
        except KeyboardInterrupt:
            return True
    return False


def _finish(folder: Path, gates: object, *, interrupted: bool) -> int:
    """Write and print the report; the exit code."""
    from rich.console import Console

    from sayso.evals.gates import INTERRUPTED, Gates, exit_code
    from sayso.evals.records import UNITS
    from sayso.evals.report import load, write_report
    from sayso.evals.report.terminal import print_report

    if interrupted and not (folder / UNITS).exists():
        return INTERRUPTED
    try:
        report = load(folder, gates if isinstance(gates, Gates) else None)
    except UsageError:
        if interrupted:  # before the first unit had ended
            return INTERRUPTED
        raise
    written = write_report(report)
    print_report(report, Console(highlight=False, soft_wrap=True))
    typer.echo(f"report  {written.page}")
    if interrupted:
        typer.echo(f"interrupted; go on with: sayso eval run ... --resume {folder}")
    return exit_code(report.gates, interrupted=interrupted)


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not (number.isdigit() and of.isdigit()):
        raise UsageError(f"--shard {text} is none.", "Give 2/5 for the second of five.")
    return int(number), int(of)
