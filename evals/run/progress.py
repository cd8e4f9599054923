"""How far a run is: passes, fails, voids, time left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sayso.evals.records import Unit

EVERY = 10
"""Where there is no terminal: a line for so many per cent."""


@contextmanager
def progress(planned: int, done: Sequence[Unit], console: Console | None = None) -> Generator[Callable[[Unit], None]]:
    """Inside, each unit that is told moves the display.

    Args:
        planned: Units in all.
        done: Those that an earlier attempt has done.
        console: Where to; None: standard error.
    """
    screen = console or Console(stderr=True)
    counts = Counter(unit.verdict for unit in done)
    if not screen.is_terminal:
        yield lambda unit: _line(screen, counts, unit, planned)
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(
            "[green]{task.fields[passed]} passed[/] [red]{task.fields[failed]} failed[/] {task.fields[void]} void"
        ),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as display:
        task = display.add_task("", total=planned, completed=len(done), **_fields(counts))

        def tell(unit: Unit) -> None:
            counts[unit.verdict] += 1
            display.update(task, advance=1, **_fields(counts))

        yield tell


def _fields(counts: Counter[str]) -> dict[str, Any]:
    return {"passed": counts["pass"], "failed": counts["fail"], "void": counts["void"]}


def _line(screen: Console, counts: Counter[str], unit: Unit, planned: int) -> None:
    before = counts.total()
    counts[unit.verdict] += 1
    if counts.total() == planned or counts.total() * 100 // (planned * EVERY) > before * 100 // (planned * EVERY):
        told = ", ".join(f"{count} {name}" for name, count in _fields(counts).items())
        screen.print(f"{counts.total()}/{planned} units: {told}", highlight=False)
