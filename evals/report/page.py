"""`report.html`: one file that needs no network and trusts nothing of what models and tools said.

Every text is escaped. A content security policy lets in this file's own style and script, by their hashes, and no
other; nothing can be loaded from elsewhere, so that even a text that slipped through could do no harm.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sayso.evals.compare import Comparison
from sayso.evals.records import Run
from sayso.evals.report import figures, tables, words
from sayso.evals.report.failures import failures
from sayso.evals.report.load import Report

MOST_FAILURES = 400
"""Units that did not pass and are shown in full; of more there is a note."""
HEADLINES = ("pass@1", "pass^", "trigger_precision", "trigger_recall", "ttfa.p50", "ttfa.p95", "attack_success")


def render_report(report: Report, page: Path) -> str:
    """The page of a run.

    Args:
        report: The run.
        page: The folder in which the page will lie: recordings that are too large for it are linked from there.
    """
    modes = report.results.modes
    bad = sum(unit.verdict != "pass" for unit in report.units)
    shown = list(failures(report.units, report.folder, page))[:MOST_FAILURES]
    return render(
        "report.html.j2",
        report=report,
        run=report.run,
        modes=modes,
        gap=report.results.gap,
        headlines=_headlines(report),
        groups=tables.metric_groups(modes),
        percentiles=tables.PERCENTILES,
        latency_rows=tables.latency_rows(modes),
        unmeasured=tables.unmeasured(modes),
        suites=tables.slices(modes, "suites"),
        tags=tables.slices(modes, "tags"),
        matrix=tables.matrix(report.units),
        scenarios=tables.scenarios(report.units),
        checks=tables.failed_checks(report.units),
        failures=shown,
        hidden=bad - len(shown),
        curve=figures.pass_curve(modes) if max(len(mode.curve) for mode in modes) > 1 else "",
        latencies=_latency_figures(report),
    )


def render_comparison(found: Comparison, before: Run, after: Run) -> str:
    """The page of two runs."""
    partial = not (before.complete and after.complete)
    return render("compare.html.j2", found=found, before=before, after=after, partial=partial)


def render(template: str, **values: Any) -> str:
    """A template of this package with the style and the script in it."""
    style, script = _own("style.css"), _own("script.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "media-src data: 'self' file:; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(style=Markup(style), script=Markup(script), policy=policy, **values)
    )


@cache
def _environment() -> Any:
    environment: Any = Environment(
        loader=PackageLoader("sayso.evals.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        value=words.value,
        interval=words.interval,
        change=words.change,
        counts=words.counts,
        sentence=words.sentence,
        as_json=words.as_json,
    )
    environment.globals.update(dots=figures.dots)
    return environment


@cache
def _own(name: str) -> str:
    return (files("sayso.evals.report") / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _headlines(report: Report) -> list[tuple[str, Mapping[str, Any]]]:
    """The few numbers at the top, each with its modes."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for start in HEADLINES:
        rows = [
            (measured.mode, metric)
            for measured in report.results.modes
            for metric in measured.metrics
            if (metric.name == start or (start.endswith("^") and metric.name.startswith(start)))
            and metric.estimate.value is not None
        ]
        if rows:
            found.append((rows[0][1].title, dict(rows)))
    return found


def _latency_figures(report: Report) -> list[tuple[str, list[tuple[str, str, str]], Markup]]:
    """Title, legend (mode, kind of line, words) and drawing."""
    found: list[tuple[str, list[tuple[str, str, str]], Markup]] = []
    for title, names in (
        ("Time to first audio", {"ttfa_no_tool": "solid", "ttfa_tool": "dashed"}),
        ("Silent after an interruption", {"yield": "solid"}),
    ):
        curves = [
            (measured.mode, names[latency.name], latency)
            for measured in report.results.modes
            for latency in measured.latencies
            if latency.name in names
        ]
        if curves:
            legend = [(mode, kind, _short(latency.name)) for mode, kind, latency in curves]
            found.append((title, legend, figures.latency_curves(curves)))
    return found


def _short(name: str) -> str:
    return {"ttfa_tool": "with a tool", "ttfa_no_tool": "without a tool"}.get(name, "")
