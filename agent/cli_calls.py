"""`sayso calls`: what agents did, as the journal has it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sayso.cli_options import SessionOption
from sayso.tools.journal import Journal, default_path


def calls(
    session: SessionOption = None,
    in_doubt: Annotated[
        bool, typer.Option("--in-doubt", help="Only those that were begun and not seen to end.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The last so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the calls that were made, and whether they are known to have ended."""
    journal = Journal(default_path())
    try:
        found = journal.in_doubt(session) if in_doubt else journal.entries(session, limit)
    finally:
        journal.close()
    found = found[-limit:]
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in found], ensure_ascii=False, indent=2))
        return
    if not found:
        typer.echo("No calls in doubt." if in_doubt else "No calls yet.")
        return
    table = Table("when", "session", "call", "tool", "arguments", "status", "output")
    for entry in found:
        when = datetime.fromtimestamp(entry.begun_s).strftime("%Y-%m-%d %H:%M:%S")
        row = (when, entry.session, entry.call_id, entry.tool, entry.arguments, entry.status or "running", entry.output)
        table.add_row(*(Text(_printable(cell or "")) for cell in row))
    Console().print(table)


def _printable(text: str) -> str:
    """It came from models and tools, and a terminal would obey its control characters."""
    return "".join(character if character.isprintable() else " " for character in text)
