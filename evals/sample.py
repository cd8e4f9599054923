"""The units of one mode, and estimates over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sayso.evals.records import Unit
from sayso.evals.stats import Estimate, Resamples, ratio


class Sample:
    """The units of one mode, their scenarios, and the bootstrap samples that all their numbers share.

    Attributes:
        judged: Units that are not void.
        void: How many are.
        names: Scenarios, void ones too.
    """

    def __init__(self, units: Sequence[Unit], keep: bool = False) -> None:
        self.units = units
        self.judged = [unit for unit in units if unit.verdict != "void"]
        self.void = len(units) - len(self.judged)
        self.names = list(dict.fromkeys(unit.scenario for unit in units))
        self.resamples = Resamples(len(self.names), keep=keep)
        self._places = {name: place for place, name in enumerate(self.names)}

    def place(self, unit: Unit) -> int:
        """The index of a unit's scenario."""
        return self._places[unit.scenario]

    def share(self, events: Iterable[tuple[Unit, float]], void: int | None = None) -> Estimate:
        """The share of events that are 1, of pairs of their unit and 0, 1 or a part."""
        return self.resamples.share(*self._sums(events), self.void if void is None else void)

    def mean(self, events: Iterable[tuple[Unit, float]]) -> Estimate:
        """The mean of events' values."""
        return self.resamples.mean(*self._sums(events), self.void)

    def by_scenario(self, value: Callable[[int, int], float], least: int) -> Estimate:
        """The mean over scenarios of a function of (passed, judged) trials, where there are at least that many."""
        passed, judged = [0] * len(self.names), [0] * len(self.names)
        for unit in self.judged:
            judged[self.place(unit)] += 1
            passed[self.place(unit)] += unit.verdict == "pass"
        values = [value(c, n) if n >= least else 0.0 for c, n in zip(passed, judged, strict=True)]
        counted = [float(n >= least) for n in judged]
        if max(judged, default=0) <= 1:
            return self.resamples.share(values, counted, self.void)
        return self.resamples.statistic(list(zip(values, counted, strict=True)), ratio, round(sum(counted)), self.void)

    def _sums(self, events: Iterable[tuple[Unit, float]]) -> tuple[list[float], list[float]]:
        """By scenario: the sum of the events' values, and how many they are."""
        above, below = [0.0] * len(self.names), [0.0] * len(self.names)
        for unit, value in events:
            above[self.place(unit)] += value
            below[self.place(unit)] += 1
        return above, below
