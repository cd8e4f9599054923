"""What a pull tells while it runs: bars on a terminal, plain lines elsewhere, nothing by default."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from sayso.models.store.files import text_size

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID


class Progress(Protocol):
    """Listens to a pull. Methods are called from any thread, one at a time for each name."""

    def note(self, text: str) -> None:
        """A line for the reader: a licence, a source that did not work, a wait."""
        ...

    def begin(self, name: str, total_bytes: int) -> None:
        """``total_bytes`` are to be fetched for ``name``; called again where another source begins."""
        ...

    def update(self, name: str, done_bytes: int) -> None:
        """``done_bytes`` of them are in place; less than before where something is fetched anew."""
        ...

    def end(self, name: str) -> None:
        """``name`` is complete and verified."""
        ...


class Silent:
    """Says nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def begin(self, name: str, total_bytes: int) -> None:
        """Say nothing."""

    def update(self, name: str, done_bytes: int) -> None:
        """Say nothing."""

    def end(self, name: str) -> None:
        """Say nothing."""


class Lines:
    """A plain line for every tenth of an artefact, for logs and pipes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._totals: dict[str, int] = {}
        self._tenths: dict[str, int] = {}

    def note(self, text: str) -> None:
        """Print the note."""
        print(text, file=self._stream, flush=True)

    def begin(self, name: str, total_bytes: int) -> None:
        """Print what is to come."""
        self._totals[name], self._tenths[name] = total_bytes, 0
        self.note(f"{name}: {text_size(total_bytes)} to fetch")

    def update(self, name: str, done_bytes: int) -> None:
        """Print where a further tenth is done."""
        total = self._totals[name]
        tenth = done_bytes * 10 // max(total, 1)
        if tenth > self._tenths[name]:
            self._tenths[name] = tenth
            self.note(f"{name}: {tenth * 10} % ({text_size(done_bytes)} of {text_size(total)})")

    def end(self, name: str) -> None:
        """Print that it is complete."""
        self.note(f"{name}: complete and verified")


class Bars:
    """One rich bar per artefact: name, bytes, speed, time left."""

    def __init__(self, bars: RichBars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def note(self, text: str) -> None:
        """Print the note above the bars."""
        self._bars.console.print(text, markup=False, highlight=False)

    def begin(self, name: str, total_bytes: int) -> None:
        """Add a bar, or start it again."""
        if name in self._tasks:
            self._bars.reset(self._tasks[name], total=total_bytes)
        else:
            self._tasks[name] = self._bars.add_task(name, total=total_bytes)

    def update(self, name: str, done_bytes: int) -> None:
        """Move the bar."""
        self._bars.update(self._tasks[name], completed=done_bytes)

    def end(self, name: str) -> None:
        """Fill the bar."""
        if name in self._tasks:
            task = self._tasks[name]
            self._bars.update(task, completed=self._bars.tasks[task].total)


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """Bars where stderr is a terminal, plain lines where it is not."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as RichBars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with RichBars(*columns, console=Console(stderr=True)) as bars:
        yield Bars(bars)


def meter(progress: Progress, name: str) -> Callable[[str, int], None]:
    """Adds up the positions of the parts of ``name`` that are fetched side by side."""
    positions: dict[str, int] = {}
    lock = threading.Lock()

    def at(part: str, done_bytes: int) -> None:
        with lock:
            positions[part] = done_bytes
            progress.update(name, sum(positions.values()))

    return at
