"""Reports of runs: one HTML page, JUnit XML, Markdown and the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sayso.errors import ModelMissingError

if find_spec("jinja2") is None:
    raise ModelMissingError("Reports need the package jinja2.", "Install it with: pip install 'sayso[evals]'")

from sayso.evals.compare import Comparison, compare
from sayso.evals.records import read_run, read_units
from sayso.evals.report.junit import render_junit
from sayso.evals.report.load import Report, load
from sayso.evals.report.markdown import render_summary
from sayso.evals.report.page import render_comparison, render_report

__all__ = ["PAGE", "Report", "Written", "compare_runs", "load", "write_comparison", "write_report"]

PAGE = "report.html"


@dataclass(frozen=True, slots=True)
class Written:
    """Where the parts of a report are."""

    page: Path
    junit: Path
    summary: Path


def write_report(report: Report, folder: Path | None = None) -> Written:
    """Write `report.html`, `junit.xml` and `summary.md`.

    Args:
        report: A run that was read with `load`.
        folder: Where to; None: into the run's folder.
    """
    into = report.folder if folder is None else folder
    into.mkdir(parents=True, exist_ok=True)
    written = Written(into / PAGE, into / "junit.xml", into / "summary.md")
    written.page.write_text(render_report(report, into), encoding="utf-8")
    written.junit.write_bytes(render_junit(report))
    written.summary.write_text(render_summary(report), encoding="utf-8")
    return written


def compare_runs(before: Path, after: Path) -> Comparison:
    """Compare the runs of two folders.

    Raises:
        UsageError: One of them is no run, or they have nothing in common.
    """
    return compare(read_units(before), read_units(after))


def write_comparison(found: Comparison, before: Path, after: Path, page: Path) -> Path:
    """Write the page of two runs.

    Args:
        found: What `compare_runs` found.
        before: Folder of the first run.
        after: Folder of the second.
        page: The file to write.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_comparison(found, read_run(before), read_run(after)), encoding="utf-8")
    return page
