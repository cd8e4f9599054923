"""The tables of a report, made from its numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sayso.evals.metrics import Measure, Measured, Row
from sayso.evals.records import Unit, Verdict
from sayso.evals.report.figures import dots, nice_top
from sayso.evals.stats import Estimate

PERCENTILES = ("p50", "p90", "p95", "max")


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric in every mode.

    Attributes:
        cells: A mode and its estimate each.
        figure: The estimates as dots.
    """

    name: str
    title: str
    measure: Measure
    better: str
    cells: tuple[tuple[str, Estimate], ...]
    figure: Markup


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """Percentiles of one kind of time in one mode; ``cells`` as `PERCENTILES`."""

    title: str
    mode: str
    cells: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """Passes of a part of the run (a tag, a suite) in every mode."""

    name: str
    scenarios: int
    cells: tuple[tuple[str, Row], ...]
    figure: Markup


@dataclass(frozen=True, slots=True)
class Cell:
    """How many units of one tag that want one tool passed."""

    passed: int
    judged: int

    @property
    def shade(self) -> int:
        """0 to 10 by the share that passed."""
        return round(10 * self.passed / self.judged) if self.judged else 0


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    """A scenario and the verdicts of its trials by mode.

    Attributes:
        trials: For each mode its trials: number, verdict and unit.
    """

    name: str
    title: str
    tags: tuple[str, ...]
    suite: str
    must_pass: bool
    origin: str
    trials: tuple[tuple[str, tuple[tuple[int, Verdict, str], ...]], ...]
    failed: int


def metric_groups(modes: Sequence[Measured]) -> dict[str, list[MetricRow]]:
    """Metrics by heading, without those that nothing was measured for."""
    names = list(dict.fromkeys(metric.name for mode in modes for metric in mode.metrics))
    groups: dict[str, list[MetricRow]] = defaultdict(list)
    for name in names:
        found = [(mode.mode, metric) for mode in modes if (metric := mode.metric(name)) is not None]
        cells = tuple((mode, metric.estimate) for mode, metric in found if metric.estimate.value is not None)
        first = found[0][1]
        if not cells or first.group == "Latency":
            continue
        # other numbers have nothing in common: each has an axis of its own
        end = 1.0 if first.measure == "share" else _end(estimate for _, estimate in cells)
        figure = dots(cells, first.measure, end)
        groups[first.group].append(MetricRow(name, first.title, first.measure, first.better or "", cells, figure))
    return dict(groups)


def latency_rows(modes: Sequence[Measured]) -> list[LatencyRow]:
    """Percentiles of every time that was measured, the modes of a kind beside each other."""
    rows: list[LatencyRow] = []
    for kind in dict.fromkeys((latency.name, latency.title) for mode in modes for latency in mode.latencies):
        for mode in modes:
            found = [metric for one in PERCENTILES if (metric := mode.metric(f"{kind[0]}.{one}")) is not None]
            if found and found[0].estimate.value is not None:
                rows.append(LatencyRow(kind[1], mode.mode, tuple(metric.estimate for metric in found)))
    return rows


def unmeasured(modes: Sequence[Measured]) -> list[str]:
    """Titles of metrics that the run has no event for."""
    seen = {metric.name for mode in modes for metric in mode.metrics if metric.estimate.value is not None}
    titles = {metric.name: metric.title for mode in modes for metric in mode.metrics if metric.name not in seen}
    return [title for name, title in titles.items() if "." not in name or name.endswith(".p50")]


def slices(modes: Sequence[Measured], kind: str) -> list[Slice]:
    """Passes by tag or by suite (``kind``: ``tags`` or ``suites``)."""
    by_mode: dict[str, dict[str, Row]] = {mode.mode: {row.name: row for row in getattr(mode, kind)} for mode in modes}
    names = sorted({name for rows in by_mode.values() for name in rows})
    found: list[Slice] = []
    for name in names:
        cells = tuple((mode, rows[name]) for mode, rows in by_mode.items() if name in rows)
        figure = dots([(mode, row.estimate) for mode, row in cells])
        found.append(Slice(name, max(row.scenarios for _, row in cells), cells, figure))
    return found


def matrix(units: Iterable[Unit]) -> tuple[list[str], list[tuple[str, list[Cell]]]]:
    """Passes by tag (rows) and by tool that is wanted (columns); the last column is of scenarios without a tool."""
    counts: Counter[tuple[str, str, bool]] = Counter()
    for unit in units:
        if unit.verdict == "void":
            continue
        tools = {call.tool for turn in unit.turns for call in turn.expected_calls} or {""}
        for tag in unit.tags:
            counts.update((tag, tool, unit.verdict == "pass") for tool in tools)
    tools = sorted({tool for _, tool, _ in counts}, key=lambda tool: (not tool, tool))
    tags = sorted({tag for tag, _, _ in counts})
    rows = [
        (tag, [Cell(counts[tag, tool, True], counts[tag, tool, True] + counts[tag, tool, False]) for tool in tools])
        for tag in tags
    ]
    return tools, rows


def scenarios(units: Iterable[Unit]) -> list[ScenarioRow]:
    """Every scenario; those that failed most come first."""
    groups: dict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        groups[unit.scenario].append(unit)
    rows = [_scenario(name, group) for name, group in groups.items()]
    return sorted(rows, key=lambda row: (-row.failed, row.name))


def failed_checks(units: Iterable[Unit]) -> list[tuple[str, int]]:
    """How many units each check failed in, most first."""
    counts: Counter[str] = Counter()
    for unit in units:
        counts.update({check.name for check in unit.checks if check.verdict == "fail"})
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _scenario(name: str, group: Sequence[Unit]) -> ScenarioRow:
    modes = [mode for mode in ("text", "speech") if any(unit.mode == mode for unit in group)]
    first = group[0]
    origin = "" if first.origin is None else f"{first.origin.set} {first.origin.version}, {first.origin.licence}"
    return ScenarioRow(
        name,
        first.title,
        first.tags,
        first.suite,
        first.must_pass,
        origin,
        tuple(
            (mode, tuple((unit.trial, unit.verdict, unit.unit) for unit in group if unit.mode == mode))
            for mode in modes
        ),
        sum(unit.verdict == "fail" for unit in group),
    )


def _end(estimates: Iterable[Estimate]) -> float:
    return nice_top([end for one in estimates for end in (one.value, one.high) if end is not None])
