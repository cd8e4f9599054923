"""Which tools were called where which were wanted: precision, recall, F1, right tool, confusion."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sayso.evals.records import Unit
from sayso.evals.stats import Estimate, Floats, Resamples, f1, macro, precision, recall

Place: TypeAlias = Callable[[Unit], int]
Named: TypeAlias = tuple[str, str, Literal["higher", "lower"], Estimate]

NOTHING = ""
"""No tool, in a confusion matrix."""


@dataclass(frozen=True, slots=True)
class ToolRow:
    """How one tool was triggered.

    Attributes:
        hits: Turns in which it was wanted and called.
        false_alarms: Called, not wanted.
        misses: Wanted, not called.
        arguments: Calls with all arguments right, where it was the right tool.
    """

    name: str
    hits: int
    false_alarms: int
    misses: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    arguments: Estimate


@dataclass(frozen=True, slots=True)
class Confusion:
    """Turns by the tool wanted (rows) and the tool called (columns); `NOTHING` is the last name.

    A turn that wants several tools counts once for each. What was wanted and called is on the diagonal; what is left
    over on both sides is paired in the order of names.
    """

    names: tuple[str, ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledTurn:
    """A turn for which it is known which tools it wants."""

    unit: Unit
    expected: frozenset[str]
    called: frozenset[str]


def labelled_turns(units: Iterable[Unit]) -> Iterator[LabelledTurn]:
    """Every turn with a label for some tool."""
    for unit in units:
        expected: dict[int, set[str]] = defaultdict(set)
        called: dict[int, set[str]] = defaultdict(set)
        for trigger in unit.triggers:
            expected[trigger.turn].update({trigger.tool} if trigger.expected else ())
            called[trigger.turn].update({trigger.tool} if trigger.called else ())
        for turn in sorted(expected):
            yield LabelledTurn(unit, frozenset(expected[turn]), frozenset(called[turn]))


def trigger_metrics(units: Sequence[Unit], place: Place, resamples: Resamples, void: int) -> Iterator[Named]:
    """Micro and macro precision, recall and F1 over tools, and how often a turn without a tool set one off."""
    tables = _tables(units, place, resamples.clusters)
    everything = [[float(sum(cell)) for cell in zip(*rows, strict=True)] for rows in zip(*tables.values(), strict=True)]
    side_by_side = [[cell for row in rows for cell in row] for rows in zip(*tables.values(), strict=True)]
    counted = [sum(row[i] for row in everything) for i in range(3)]
    for name, title, statistic, n in (
        ("precision", "precision", precision, counted[0] + counted[1]),
        ("recall", "recall", recall, counted[0] + counted[2]),
        ("f1", "F1", f1, sum(counted)),
    ):
        estimate = resamples.statistic(everything, statistic, round(n), void) if n else Estimate(void=void)
        yield f"trigger_{name}", f"Trigger {title}", "higher", estimate
        average = resamples.statistic(side_by_side, macro(statistic), round(n), void) if n else Estimate(void=void)
        yield f"trigger_{name}_macro", f"Trigger {title}, mean over tools", "higher", average
    above, below = [0.0] * resamples.clusters, [0.0] * resamples.clusters
    for turn in labelled_turns(units):
        if not turn.expected:
            below[place(turn.unit)] += 1
            above[place(turn.unit)] += bool(turn.called)
    estimate = resamples.share(above, below, void)
    yield "false_trigger", "Turns without a tool that set one off", "lower", estimate


def type_accuracy(units: Iterable[Unit]) -> Iterator[tuple[Unit, float]]:
    """Of turns where a tool was wanted and some tool called: were all that were wanted among those called?"""
    for turn in labelled_turns(units):
        if turn.expected and turn.called:
            yield turn.unit, float(turn.expected <= turn.called)


def tool_rows(units: Sequence[Unit], place: Place, resamples: Resamples, void: int) -> tuple[ToolRow, ...]:
    """A row for each tool that is labelled somewhere."""
    rows: list[ToolRow] = []
    for tool, table in sorted(_tables(units, place, resamples.clusters).items()):
        hits, alarms, misses = (round(sum(row[i] for row in table)) for i in range(3))
        rows.append(
            ToolRow(
                tool,
                hits,
                alarms,
                misses,
                _estimate(resamples, table, precision, hits + alarms, void),
                _estimate(resamples, table, recall, hits + misses, void),
                _estimate(resamples, table, f1, hits + alarms + misses, void),
                _arguments(tool, units, place, resamples, void),
            )
        )
    return tuple(rows)


def confusion(units: Iterable[Unit]) -> Confusion:
    """Count wanted against called."""
    pairs: Counter[tuple[str, str]] = Counter()
    for turn in labelled_turns(units):
        pairs.update(_paired(turn))
    names = (*sorted({name for pair in pairs for name in pair} - {NOTHING}), NOTHING)
    return Confusion(names, tuple(tuple(pairs[row, column] for column in names) for row in names))


def _paired(turn: LabelledTurn) -> Iterator[tuple[str, str]]:
    if not turn.expected and not turn.called:
        yield NOTHING, NOTHING
    for name in turn.expected & turn.called:
        yield name, name
    missed, extra = sorted(turn.expected - turn.called), sorted(turn.called - turn.expected)
    for at in range(max(len(missed), len(extra))):
        yield missed[at] if at < len(missed) else NOTHING, extra[at] if at < len(extra) else NOTHING


def _tables(units: Iterable[Unit], place: Place, clusters: int) -> dict[str, list[list[float]]]:
    """For each tool, by scenario: hits, false alarms, misses."""
    tables: dict[str, list[list[float]]] = defaultdict(lambda: [[0.0, 0.0, 0.0] for _ in range(clusters)])
    for unit in units:
        for trigger in unit.triggers:
            if not trigger.tool:  # the row that says: none was wanted, none called
                continue
            row = tables[trigger.tool][place(unit)]
            row[0] += trigger.expected and trigger.called
            row[1] += trigger.called and not trigger.expected
            row[2] += trigger.expected and not trigger.called
    return dict(sorted(tables.items()))


def _estimate(
    resamples: Resamples, table: list[list[float]], statistic: Callable[[Floats], Floats], n: int, void: int
) -> Estimate:
    return resamples.statistic(table, statistic, n, void) if n else Estimate(void=void)


def _arguments(tool: str, units: Iterable[Unit], place: Place, resamples: Resamples, void: int) -> Estimate:
    above, below = [0.0] * resamples.clusters, [0.0] * resamples.clusters
    for unit in units:
        by_turn: dict[int, list[bool]] = defaultdict(list)
        for one in unit.arguments:
            if one.tool == tool:
                by_turn[one.turn].append(one.right)
        for rights in by_turn.values():
            below[place(unit)] += 1
            above[place(unit)] += all(rights)
    return resamples.share(above, below, void)
