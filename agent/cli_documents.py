"""`sayso documents`: index folders, search in them, see which indexes there are."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sayso.tools.documents import DocumentIndex, IndexReport, IndexStatus, Passage
    from sayso.tools.documents.update import OnProgress, Progress

documents_app = typer.Typer(help="Search in your own documents.", no_args_is_help=True)

NameOption = Annotated[
    str | None,
    typer.Option("--name", help="Of the index; made from the folders by default.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
SHOWN_PROBLEMS = 20


@documents_app.command("index")
def index_folders(
    folders: Annotated[list[Path], typer.Argument(help="With text, Markdown, HTML and PDF files.")],
    name: NameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index folders, or bring their index up to date. Safe to interrupt: the next run goes on."""
    from sayso.tools.documents import DocumentIndex

    index = DocumentIndex(*folders, name=name)
    with _progress() as progress:
        report = index.update(progress)
    if as_json:
        typer.echo(json.dumps(_report_facts(index, report), ensure_ascii=False, indent=2))
    else:
        _print_report(index, report)


@documents_app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for, in your own words.")],
    name: NameOption = None,
    count: Annotated[int, typer.Option("--count", min=1, max=50, help="At most this many passages.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Search in documents that were indexed."""
    from sayso.tools.documents import DocumentIndex

    found = DocumentIndex.open(_chosen(name)).search(query, count)
    if as_json:
        typer.echo(json.dumps([_passage_facts(one) for one in found.passages], ensure_ascii=False, indent=2))
        return
    if found.note:
        typer.echo(found.note, err=True)
    if not found.passages:
        typer.echo("Nothing in the documents fits.")
    for number, passage in enumerate(found.passages, 1):
        typer.echo(f"{number}. {passage.citation}  ({passage.path})")
        typer.echo(f"   {' '.join(passage.text.split())}\n")


@documents_app.command("list")
def list_indexes(as_json: JsonOption = False) -> None:
    """List the indexes on this machine."""
    from sayso.tools.documents import DocumentIndex, index_names

    found = [DocumentIndex.open(name).status() for name in index_names()]
    if as_json:
        typer.echo(json.dumps([_status_facts(one) for one in found], indent=2))
    elif found:
        _print_table(found)
    else:
        typer.echo("There are no indexes yet. Make one with: sayso documents index FOLDER")


def _chosen(name: str | None) -> str:
    """The index that is meant: the one named, that of `SAYSO_DOCUMENTS`, or the only one there is."""
    from sayso import settings
    from sayso.errors import UsageError
    from sayso.tools.documents import DocumentIndex, index_names

    if name is not None:
        return name
    if folders := settings.document_folders():
        return DocumentIndex(*folders).name
    names = index_names()
    if len(names) != 1:
        there = f"There are {len(names)} indexes: {', '.join(names)}." if names else "There are no indexes yet."
        hint = "Choose one with --name." if names else "Make one with: sayso documents index FOLDER"
        raise UsageError(there, hint)
    return names[0]


@contextmanager
def _progress() -> Generator[OnProgress]:
    """A bar on the terminal, one for each phase; nothing where the output goes elsewhere."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, TextColumn("{task.fields[path]}"), console=console, disable=not console.is_terminal) as bars:
        tasks = {
            phase: bars.add_task(words, total=None, visible=False, path="")
            for phase, words in (
                ("waiting", "waiting for another run"),
                ("reading", "reading files"),
                ("embedding", "finding meanings"),
            )
        }

        def show(progress: Progress) -> None:
            bars.update(
                tasks[progress.phase],
                completed=progress.done,
                total=progress.total or None,
                visible=True,
                path=escape(progress.path[-40:]),
            )

        yield show


def _print_report(index: DocumentIndex, report: IndexReport) -> None:
    status = index.status()
    typer.echo(
        f"{index.name}: {status.documents} documents, {status.chunks} passages, {status.embedded} of them with meaning."
    )
    typer.echo(
        f"{report.added} new ({report.moved} of them moved), {report.changed} changed, {report.removed} removed, "
        f"{report.unchanged} unchanged, in {report.seconds:.1f} s."
    )
    if report.skipped:
        typer.echo(f"{len(report.skipped)} left out:", err=True)
    for one in report.skipped[:SHOWN_PROBLEMS]:
        typer.echo(f"  {one.path}: {one.reason}", err=True)
    if (more := len(report.skipped) - SHOWN_PROBLEMS) > 0:
        typer.echo(f"  and {more} more (see --json)", err=True)
    if report.note:
        typer.echo(report.note, err=True)


def _print_table(found: list[IndexStatus]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sayso.models.store.files import text_size

    table = Table(box=None, pad_edge=False)
    for title in ("name", "documents", "passages", "with meaning", "size", "updated", "folders"):
        numeric = title in ("documents", "passages", "with meaning", "size")
        table.add_column(title, justify="right" if numeric else "left", no_wrap=title != "folders", overflow="fold")
    for one in found:
        updated = datetime.fromtimestamp(one.updated).strftime("%Y-%m-%d") if one.updated else "unfinished"
        counts = (str(one.documents), str(one.chunks), str(one.embedded), text_size(one.size_bytes))
        table.add_row(*map(Text, (one.name, *counts, updated, ", ".join(map(str, one.folders)))))
    Console().print(table)


def _report_facts(index: DocumentIndex, report: IndexReport) -> dict[str, object]:
    counts = {key: getattr(report, key) for key in ("added", "changed", "moved", "removed", "unchanged", "embedded")}
    skipped = [{"path": one.path, "reason": one.reason} for one in report.skipped]
    rest = {"skipped": skipped, "seconds": round(report.seconds, 3), "note": report.note}
    return {"name": index.name, "file": str(index.path), **counts, **rest}


def _passage_facts(passage: Passage) -> dict[str, object]:
    return {
        "source": passage.citation,
        "text": passage.text,
        "title": passage.title,
        "heading": passage.heading,
        "page": passage.page,
        "path": passage.path,
        "file": str(passage.file),
        "modified": passage.modified,
        "score": round(passage.score, 5),
    }


def _status_facts(status: IndexStatus) -> dict[str, object]:
    return {
        "name": status.name,
        "file": str(status.path),
        "folders": [str(folder) for folder in status.folders],
        "documents": status.documents,
        "left_out": status.problems,
        "chunks": status.chunks,
        "embedded": status.embedded,
        "updated": status.updated,
        "size_bytes": status.size_bytes,
    }
