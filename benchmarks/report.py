"""What every benchmark shares: the machine it ran on, a table on the screen, a JSON file under ``results/``."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"

Row = Mapping[str, Any]


def machine() -> dict[str, Any]:
    """What the numbers were taken on: CPU model, cores that this process may use, Python, load at the moment."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def write(name: str, rows: Sequence[Row], notes: Sequence[str] = (), *, results: Path = RESULTS) -> Path:
    """Print ``rows`` as a table and write them to ``results/<name>.json`` with the machine and the date.

    Args:
        name: The benchmark's name, and the file's.
        rows: One mapping a row; the keys of all of them are the columns, in the order in which they first occur.
        notes: Lines to print and keep beside the numbers: how they were taken.
        results: The folder to write to.

    Returns:
        The file that was written.
    """
    where = machine()
    title = f"{name} ({where['cpu']}, {where['cores']} cores, Python {where['python']}, load {where['load_1min']})"
    show(title, rows, notes)
    return save(name, rows, notes, results=results)


def save(name: str, rows: Sequence[Row], notes: Sequence[str] = (), *, results: Path = RESULTS) -> Path:
    """Write as `write` does, and print nothing."""
    results.mkdir(parents=True, exist_ok=True)
    file = results / f"{name}.json"
    content = {
        "benchmark": name,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "notes": list(notes),
        "rows": [dict(row) for row in rows],
    }
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def show(title: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> None:
    """Print ``rows`` as a table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title, title_justify="left")
    for column in columns:
        numbers = all(isinstance(row.get(column, 0), (int, float)) for row in rows)
        table.add_column(column, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console = Console()
    console.print(table)
    for note in notes:
        console.print(f"  {note}", style="dim", highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
