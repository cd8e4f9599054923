"""`summary.md`: what a pull request should show of a run, or of the change from one run to another."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sayso.evals.compare import Comparison, reasons
from sayso.evals.metrics import Metric, Results
from sayso.evals.records import Unit
from sayso.evals.report import words
from sayso.evals.report.load import Report
from sayso.evals.stats import Estimate

SHOWN = 20
"""Most failures and flips that are listed."""
CHOSEN = (
    "pass@1",
    "pass^",
    "turn_pass",
    "trigger_precision",
    "trigger_recall",
    "trigger_f1",
    "false_trigger",
    "arguments_strict",
    "state",
    "attack_success",
    "ttfa.p50",
    "ttfa.p95",
)
"""Metrics that a short summary shows; those that end in ^ with any k."""
ALWAYS = ("trigger_precision", "trigger_recall")
"""Shown even where they are not defined: an agent that never calls has no precision."""

_PLAIN = re.compile(r"[\w .,;:%()'\"=?…+-]*")
_NOT_PLAIN = re.compile(r"\b_|_\b|\bwww\.", re.IGNORECASE)


def chosen(results: Results) -> list[tuple[str, dict[str, Metric]]]:
    """The metrics of a short summary: title and the metric in each mode."""
    rows: list[tuple[str, dict[str, Metric]]] = []
    for wanted in CHOSEN:
        found = {
            mode.mode: metric
            for mode in results.modes
            for metric in mode.metrics
            if (metric.name == wanted or (wanted.endswith("^") and metric.name.startswith(wanted)))
            and (metric.estimate.value is not None or wanted in ALWAYS)
        }
        if found:
            rows.append((next(iter(found.values())).title, found))
    return rows


def render_summary(report: Report) -> str:
    """The summary of a run in GitHub's Markdown."""
    modes = [mode.mode for mode in report.results.modes]
    lines = [f"## Evaluation of {_text(report.run.agent.name)}: {'passed' if report.passed else 'failed'}", ""]
    if report.partial:
        lines += [f"**Partial**: {len(report.units)} of {report.run.planned} units are done.", ""]
    lines += ["| | " + " | ".join(modes) + " |", "|---|" + "---|" * len(modes)]
    for title, found in chosen(report.results):
        cells = (_cell(found[mode]) if mode in found else words.NOTHING for mode in modes)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    if report.results.gap is not None:
        lines += ["", f"Speech against text: {_change(report.results.gap)}."]
    lines += ["", "Values with 95% intervals; *n* counts events, void units are in neither.", ""]
    lines += ["| gate | asks for | found | |", "|---|---|---|---|"]
    for gate in report.gates:
        cells = (f"`{gate.name}`", _text(gate.rule), _text(gate.message), "pass" if gate.passed else "**fail**")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_failures(report.units)]).rstrip() + "\n"


def render_comparison(found: Comparison) -> str:
    """The change from one run to another in GitHub's Markdown."""
    lines = [f"## Comparison: {found.outcome}", "", "| | before | after | change |", "|---|---|---|---|"]
    for mode in found.modes:
        one = mode.passed
        before, after = (words.value(metric.estimate.value, "share") for metric in (one.before, one.after))
        lines.append(f"| passed, {mode.mode} | {before} | {after} | {_change(one.difference)} |")
    lines += ["", f"{len(found.flips)} flips:", ""] if found.flips else ["", "Nothing flipped."]
    for flip in found.flips[:SHOWN]:
        why = f": {_text(flip.why[0])}" if flip.why else ""
        breaks = " **must pass**" if flip.breaks else ""
        lines.append(
            f"- {_text(flip.scenario)} ({flip.mode}, trial {flip.trial + 1}) {flip.before} → {flip.after}{breaks}{why}"
        )
    if len(found.flips) > SHOWN:
        lines.append(f"- and {len(found.flips) - SHOWN} more")
    return "\n".join(lines) + "\n"


def _failures(units: Iterable[Unit]) -> list[str]:
    failed = [unit for unit in units if unit.verdict == "fail"]
    if not failed:
        return ["Nothing failed."]
    failed.sort(key=lambda unit: not unit.must_pass)
    lines = [f"<details><summary>{len(failed)} units failed</summary>", ""]
    for unit in failed[:SHOWN]:
        must = " **must pass**" if unit.must_pass else ""
        lines.append(f"- {_text(unit.scenario)} ({unit.mode}, trial {unit.trial + 1}){must}: {_text(reasons(unit)[0])}")
    if len(failed) > SHOWN:
        lines.append(f"- and {len(failed) - SHOWN} more")
    return [*lines, "", "</details>"]


def _cell(metric: Metric) -> str:
    found = metric.estimate
    ends = words.interval(found, metric.measure)
    bare = f"**{words.value(found.value, metric.measure)}**{f' ({ends})' if ends else ''}"
    return f"{bare}, {words.counts(found)}"


def _change(found: Estimate) -> str:
    ends = words.interval(found, "share")
    return f"{words.change(found, 'share')}{f' ({ends})' if ends else ''}, n {found.n}"


def _text(text: str) -> str:
    """Text from models, tools and files on one line: no mark-up, no links, nobody mentioned.

    What is more than plain words stands as code, where GitHub reads nothing into it.
    """
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split()).replace("`", "'")
    flat = flat if len(flat) <= 300 else flat[:300] + "…"
    if _PLAIN.fullmatch(flat) and not _NOT_PLAIN.search(flat):
        return flat
    return f"`{flat.replace('|', chr(92) + '|')}`"
