"""`sayso eval report` and `sayso eval compare`: read runs back, hold them against gates, tell what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunArgument = Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)]


def report(
    run: RunArgument,
    gates: Annotated[
        Path | None, typer.Option("--gates", help="What the run must reach: a YAML file.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the report here, not into the run's folder.", show_default=False)
    ] = None,
) -> None:
    """Write report.html, junit.xml and summary.md of a run. Exit code 1: a gate failed; 3: too much is void."""
    from rich.console import Console

    from sayso.evals.gates import Gates, exit_code, read_gates
    from sayso.evals.report import load, write_report
    from sayso.evals.report.terminal import print_report

    found = load(run, Gates() if gates is None else read_gates(gates))
    written = write_report(found, out)
    print_report(found, Console(highlight=False, soft_wrap=True))
    typer.echo(f"report  {written.page}")
    if code := exit_code(found.gates):
        raise typer.Exit(code)


def compare(
    before: Annotated[Path, typer.Argument(help="The folder of the first run.", show_default=False)],
    after: Annotated[Path, typer.Argument(help="The folder of the second run.", show_default=False)],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with all of it.", show_default=False)
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write a summary for a pull request.", show_default=False)
    ] = None,
) -> None:
    """Compare two runs of the same scenarios and seeds; exit code 1 where the second is worse."""
    from rich.console import Console

    from sayso.evals.gates import FAILED
    from sayso.evals.report import compare_runs, write_comparison
    from sayso.evals.report.markdown import render_comparison
    from sayso.evals.report.terminal import print_comparison

    found = compare_runs(before, after)
    print_comparison(found, Console(highlight=False, soft_wrap=True))
    if html is not None:
        typer.echo(f"report  {write_comparison(found, before, after, html)}")
    if markdown is not None:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        markdown.write_text(render_comparison(found), encoding="utf-8")
    if found.outcome == "worse":
        raise typer.Exit(FAILED)
