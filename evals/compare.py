"""Two runs of the same scenarios and seeds: what flipped, and whether the second is worse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sayso.errors import UsageError
from sayso.evals.metrics import Measured, Metric, measure
from sayso.evals.records import Mode, Unit, Verdict
from sayso.evals.stats import Estimate, difference, mcnemar

Outcome: TypeAlias = Literal["worse", "better", "no difference shown"]
Key: TypeAlias = tuple[str, Mode, int, int]


@dataclass(frozen=True, slots=True)
class Flip:
    """A pair of units with two verdicts.

    Attributes:
        title: What the scenario is about.
        before: Verdict in the first run.
        after: Verdict in the second.
        why: What the failed checks said, in the run that failed.
        breaks: The scenario must pass, passed in all its trials before, and no longer does.
    """

    scenario: str
    title: str
    mode: Mode
    trial: int
    before: Verdict
    after: Verdict
    why: tuple[str, ...]
    breaks: bool = False


@dataclass(frozen=True, slots=True)
class Delta:
    """A metric in both runs, over their pairs, and its difference (second minus first)."""

    before: Metric
    after: Metric
    difference: Estimate

    @property
    def outcome(self) -> Outcome:
        """Which way the interval of the difference lies, if it lies on one side of 0.

        Too few events show nothing, but for the scenarios passed: a small suite that breaks is worse.
        """
        low, high = self.difference.low, self.difference.high
        if self.difference.few and self.before.name != "pass@1":
            return "no difference shown"
        if low is None or high is None or self.before.better is None or low <= 0 <= high:
            return "no difference shown"
        return "better" if (low > 0) == (self.before.better == "higher") else "worse"


@dataclass(frozen=True, slots=True)
class ModePair:
    """The pairs of one mode.

    Attributes:
        pairs: Units that are in both runs and void in neither.
        lost: Pairs that passed and now fail.
        won: Pairs that failed and now pass.
        p: Of McNemar's exact test over these flips, trial by trial. With several trials of a scenario it is too small,
            since trials are not independent; the interval of the difference, by scenario, decides.
        passed: Pass rate before, after, difference.
        deltas: Every other metric.
    """

    mode: str
    pairs: int
    void: int
    lost: int
    won: int
    p: float
    passed: Delta
    deltas: tuple[Delta, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from one run to the other.

    Attributes:
        modes: Numbers by mode.
        flips: Every pair with two verdicts; what got worse comes first.
        only_before: Units that only the first run has, or with another seed or scenario text.
        only_after: The same of the second.
    """

    modes: tuple[ModePair, ...]
    flips: tuple[Flip, ...]
    only_before: int
    only_after: int

    @property
    def outcome(self) -> Outcome:
        """Worse where a mode's pass rate fell for certain or a scenario that must pass broke; better likewise."""
        found = {mode.passed.outcome for mode in self.modes}
        if "worse" in found or any(flip.breaks for flip in self.flips):
            return "worse"
        return "better" if "better" in found else "no difference shown"


def compare(before: Iterable[Unit], after: Iterable[Unit]) -> Comparison:
    """Compare two runs, pair by pair.

    Raises:
        UsageError: They have no unit in common.
    """
    first, second = {_key(unit): unit for unit in before}, {_key(unit): unit for unit in after}
    shared = [key for key in sorted(first) if key in second and _same(first[key], second[key])]
    if not shared:
        raise UsageError(
            "The two runs have no unit in common.", "Run the same suite with the same --seed, --trials and --mode."
        )
    pairs = [(first[key], second[key]) for key in shared]
    modes: tuple[Mode, ...] = ("text", "speech")
    found = tuple(_mode_pair(mode, of_mode) for mode in modes if (of_mode := [p for p in pairs if p[0].mode == mode]))
    order = {"fail": 0, "void": 1, "pass": 2}
    flips = sorted(
        _flips(pairs), key=lambda flip: (not flip.breaks, order[flip.after], flip.scenario, flip.mode, flip.trial)
    )
    return Comparison(found, tuple(flips), len(first) - len(pairs), len(second) - len(pairs))


def _key(unit: Unit) -> Key:
    return unit.scenario, unit.mode, unit.trial, unit.seed


def _same(first: Unit, second: Unit) -> bool:
    return first.scenario_hash == second.scenario_hash


def _mode_pair(mode: str, pairs: Sequence[tuple[Unit, Unit]]) -> ModePair:
    judged = [pair for pair in pairs if "void" not in (pair[0].verdict, pair[1].verdict)]
    if not judged:
        raise UsageError(f"Every pair of the mode {mode} is void in one of the runs.", "Look at what made them void.")
    void = len(pairs) - len(judged)
    before, after = (measure((pair[side] for pair in judged), keep=True).modes[0] for side in (0, 1))
    deltas = list(_deltas(before, after))
    lost = sum(one.verdict == "pass" and other.verdict == "fail" for one, other in judged)
    won = sum(one.verdict == "fail" and other.verdict == "pass" for one, other in judged)
    return ModePair(mode, len(judged), void, lost, won, mcnemar(lost, won), deltas[0], tuple(deltas[1:]))


def _deltas(before: Measured, after: Measured) -> Iterator[Delta]:
    for metric in before.metrics:
        other = after.metric(metric.name)
        if other is not None and metric.estimate.value is not None and other.estimate.value is not None:
            yield Delta(metric, other, difference(metric.estimate, other.estimate))


def _flips(pairs: Sequence[tuple[Unit, Unit]]) -> Iterator[Flip]:
    unbroken = {(one.scenario, one.mode) for one, _ in pairs if one.must_pass}
    unbroken -= {(one.scenario, one.mode) for one, _ in pairs if one.verdict != "pass"}
    for one, other in pairs:
        if one.verdict != other.verdict:
            breaks = other.verdict == "fail" and (one.scenario, one.mode) in unbroken
            why = tuple(reasons(other) or reasons(one))
            yield Flip(other.scenario, other.title, other.mode, other.trial, one.verdict, other.verdict, why, breaks)


def reasons(unit: Unit) -> list[str]:
    """Why a unit did not pass: what its failed checks say, or why it is void."""
    if unit.verdict == "void":
        return [unit.void_reason or "void"]
    found = [check.message or check.name for check in unit.checks if check.verdict == "fail"]
    return found or ["no check says why"] * (unit.verdict == "fail")
