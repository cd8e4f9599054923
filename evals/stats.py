"""Intervals and tests for results of evaluations.

Trials of one scenario are not independent: a hard scenario fails in all of them. So what was measured in several
trials, or several times in a scenario, gets its interval by a bootstrap that draws whole scenarios (Davison and
Hinkley, Bootstrap Methods, 1997, section 3.8; for model evaluations Miller 2024, arXiv 2411.00640). A share with one
observation a scenario gets Wilson's interval (Wilson 1927). All intervals are two-sided, 95 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import comb, sqrt
from statistics import NormalDist
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 20_260_317
FEW = 10
"""Below this many events a number says more of luck than of the agent."""
BLOCK = 4_000_000
"""Most numbers of a resampled block in memory: 16 to 32 MB."""
KEPT = 50_000_000
"""Most bootstrap weights that are kept as floats: 200 MB, 5,000 scenarios."""

Method: TypeAlias = Literal["wilson", "wilson by scenario", "bootstrap by scenario", "none"]
Floats: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, how far it may be off, and what it stands on.

    Attributes:
        value: None where nothing was observed.
        low: Lower end of the interval; None where there is none.
        high: Upper end.
        n: Events that it was computed from.
        void: Units that could not be judged and are in neither the value nor ``n``.
        method: How the interval was made.
        draws: The value in each bootstrap sample, where `Resamples` was asked to keep them.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    void: int = 0
    method: Method = "none"
    draws: Floats | None = field(default=None, compare=False, repr=False)

    @property
    def few(self) -> bool:
        """There are too few events to say much."""
        return self.n < FEW


def wilson(successes: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share, (0, 1) where nothing was observed.

    Raises:
        ValueError: There are fewer than 0 successes, or more than ``n``.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} cannot be")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, scale = successes / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / scale
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    # at the ends the formula gives the share itself, but for rounding
    return (0.0 if successes == 0 else max(0.0, middle - half)), (1.0 if successes == n else min(1.0, middle + half))


def pass_at_k(passed: int, trials: int, k: int) -> float:
    """Chance that one of ``k`` trials passes: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374)."""
    _check_trials(passed, trials, k)
    return 1 - comb(trials - passed, k) / comb(trials, k)


def pass_hat_k(passed: int, trials: int, k: int) -> float:
    """Chance that all of ``k`` trials pass, unbiased: C(c, k) / C(n, k) (Yao et al. 2024, arXiv 2406.12045)."""
    _check_trials(passed, trials, k)
    return comb(passed, k) / comb(trials, k)


def _check_trials(passed: int, trials: int, k: int) -> None:
    if not (0 <= passed <= trials and 1 <= k <= trials):
        raise ValueError(f"{passed} of {trials} trials passed, k is {k}: that cannot be")


def mcnemar(one_way: int, other_way: int) -> float:
    """Exact two-sided p of McNemar's test: were this many flips of pairs, this unevenly, mere chance?"""
    flips, fewer = one_way + other_way, min(one_way, other_way)
    if flips == 0:
        return 1.0
    tail = sum(comb(flips, i) for i in range(fewer + 1))
    return min(1.0, 2 * tail / 2**flips)


class Resamples:
    """Bootstrap samples of scenarios, drawn once and used for every number of a run.

    Args:
        clusters: How many scenarios there are.
        count: How many samples.
        seed: The same seed gives the same intervals, on any machine.
        keep: Keep each number's value in each sample, for `difference`.
    """

    def __init__(self, clusters: int, *, count: int = RESAMPLES, seed: int = SEED, keep: bool = False) -> None:
        self.clusters = clusters
        self.count = count
        self.keep = keep
        self._weights = _draw(clusters, count, seed)
        self._floats: NDArray[np.float32] | None = None

    def share(self, numerators: Any, denominators: Any, void: int = 0) -> Estimate:
        """A share: the sum of numerators over the sum of denominators, both given by scenario.

        Wilson's interval where no scenario has more than one observation. Where all were right, or all wrong, every
        sample is the same and a bootstrap would pretend certainty: then Wilson's, with scenarios for observations.
        """
        above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
        n = round(float(below.sum()))
        if n and below.max() <= 1 and bool(np.all(np.isin(above, (0.0, 1.0)))):
            right, table = float(above.sum()), np.stack([above, below], axis=1)
            draws = self._sampled(table, ratio) if self.keep else None
            return Estimate(right / n, *wilson(right, n), n, void, "wilson", draws)
        return self.statistic(np.stack([above, below], axis=1), ratio, n, void)

    def statistic(self, columns: Any, statistic: Statistic, n: int, void: int = 0) -> Estimate:
        """Any statistic from 0 to 1 of sums over scenarios, such as F1. At 0 and at 1 as `share` does it.

        Args:
            columns: (clusters, c) numbers of each scenario that add up.
            statistic: From sums (..., c) to values (...); NaN where it is not defined.
            n: Events.
            void: See `Estimate`.
        """
        table = np.asarray(columns, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(statistic(table.sum(axis=0)))
        if np.isnan(value):
            return Estimate(n=n, void=void)
        scenarios = int(np.count_nonzero(table.any(axis=1)))
        degenerate = value in (0.0, 1.0) or scenarios < 2
        draws = self._sampled(table, statistic) if self.keep or not degenerate else None
        kept = draws if self.keep else None
        if degenerate or draws is None:
            return Estimate(value, *wilson(value * scenarios, scenarios), n, void, "wilson by scenario", kept)
        return Estimate(value, *_ends(value, draws), n, void, "bootstrap by scenario", kept)

    def mean(self, sums: Any, counts: Any | None = None, void: int = 0) -> Estimate:
        """The mean of any values: each scenario's sum and how many they are (one each if None)."""
        above = np.asarray(sums, dtype=np.float64)
        below = np.ones_like(above) if counts is None else np.asarray(counts, dtype=np.float64)
        n = round(float(below.sum()))
        if n == 0:
            return Estimate(void=void)
        value = float(above.sum()) / float(below.sum())
        draws = self._sampled(np.stack([above, below], axis=1), ratio)
        kept = draws if self.keep else None
        if np.count_nonzero(below) < 2:
            return Estimate(value, n=n, void=void, draws=kept)
        return Estimate(value, *_ends(value, draws), n, void, "bootstrap by scenario", kept)

    def _sampled(self, table: Floats, statistic: Statistic) -> Floats:
        used = np.flatnonzero(table.any(axis=1))
        few = used.size < self.clusters // 2
        columns: NDArray[np.float32] = (table[used] if few else table).astype(np.float32)
        rows = max(1, BLOCK // max(1, self.clusters))
        blocks: list[Any] = []
        for at in range(0, self.count, rows):
            if few:
                blocks.append(self._weights[at : at + rows, used].astype(np.float32) @ columns)
            else:
                blocks.append(self._block(at, rows) @ columns)
        with np.errstate(divide="ignore", invalid="ignore"):
            return statistic(np.concatenate(blocks).astype(np.float64))

    def _block(self, at: int, rows: int) -> NDArray[np.float32]:
        """Weights to multiply with; unless there are very many they are turned into floats once."""
        if self._weights.size > KEPT:
            return self._weights[at : at + rows].astype(np.float32)
        if self._floats is None:
            self._floats = self._weights.astype(np.float32)
        return self._floats[at : at + rows]

    def quantiles(
        self, values: Sequence[float], owners: Sequence[int], shares: Sequence[float], void: int = 0
    ) -> list[Estimate]:
        """For each share the smallest observed value that this share of all values does not exceed.

        Args:
            values: Observations.
            owners: For each the index of its scenario.
            shares: Each over 0 and up to 1: 0.95 asks for p95.
            void: See `Estimate`.
        """
        found, whose = np.asarray(values, dtype=np.float64), np.asarray(owners, dtype=np.int64)
        if found.size == 0:
            return [Estimate(void=void) for _ in shares]
        order = np.argsort(found, kind="stable")
        found, whose = found[order], whose[order]
        middles = [float(found[max(1, int(np.ceil(share * found.size - 1e-9))) - 1]) for share in shares]
        if np.unique(whose).size < 2:
            return [Estimate(value, n=found.size, void=void) for value in middles]
        samples = min(self.count, max(1_000, 5 * BLOCK // found.size))  # many values need fewer samples, and much time
        rows = max(1, BLOCK // found.size)
        drawn: list[list[Floats]] = [[] for _ in shares]
        for at in range(0, samples, rows):
            sums = np.cumsum(self._weights[at : min(samples, at + rows), whose], axis=1, dtype=np.int32)
            totals = sums[:, -1]
            for share, into in zip(shares, drawn, strict=True):
                places = np.argmax(sums >= np.maximum(1, np.ceil(share * totals - 1e-9))[:, None], axis=1)
                into.append(np.where(totals > 0, found[places], np.nan))
        return [
            Estimate(
                value,
                *_ends(value, draws := np.concatenate(blocks)),
                found.size,
                void,
                "bootstrap by scenario",
                draws if self.keep else None,
            )
            for value, blocks in zip(middles, drawn, strict=True)
        ]


def difference(before: Estimate, after: Estimate) -> Estimate:
    """After minus before, with the interval of a paired bootstrap: both were drawn with the same samples.

    Raises:
        ValueError: The samples were not kept, or are not the same.
    """
    n, void = min(before.n, after.n), max(before.void, after.void)
    if before.value is None or after.value is None:
        return Estimate(n=n, void=void)
    value = after.value - before.value
    if before.draws is None or after.draws is None:
        if before.method == after.method == "none":
            return Estimate(value, n=n, void=void)
        raise ValueError("bootstrap samples were not kept")
    return Estimate(value, *_ends(value, after.draws - before.draws), n, void, "bootstrap by scenario")


def ratio(sums: Floats) -> Floats:
    """The first column over the second."""
    return sums[..., 0] / sums[..., 1]


def f1(sums: Floats) -> Floats:
    """F1 of (true positives, false positives, false negatives)."""
    return 2 * sums[..., 0] / (2 * sums[..., 0] + sums[..., 1] + sums[..., 2])


def precision(sums: Floats) -> Floats:
    """Precision of (true positives, false positives, false negatives)."""
    return sums[..., 0] / (sums[..., 0] + sums[..., 1])


def recall(sums: Floats) -> Floats:
    """Recall of (true positives, false positives, false negatives)."""
    return sums[..., 0] / (sums[..., 0] + sums[..., 2])


def macro(statistic: Statistic, width: int = 3) -> Statistic:
    """The mean of a statistic over groups of ``width`` columns, without those where it is not defined."""

    def mean_of_groups(sums: Floats) -> Floats:
        groups = statistic(sums.reshape(*sums.shape[:-1], -1, width))
        defined = ~np.isnan(groups)
        return np.where(defined, groups, 0.0).sum(axis=-1) / defined.sum(axis=-1)

    return mean_of_groups


def _draw(clusters: int, count: int, seed: int) -> NDArray[np.uint8]:
    """How often each scenario is in each sample, (count, clusters). Counts stay far below 255: they are Poisson(1)."""
    weights = np.zeros((count, clusters), dtype=np.uint8)
    if clusters == 0:
        return weights
    random = np.random.default_rng(seed)
    rows = max(1, BLOCK // clusters)
    for at in range(0, count, rows):
        block = min(rows, count - at)
        drawn = random.integers(0, clusters, size=(block, clusters)) + np.arange(block)[:, None] * clusters
        weights[at : at + block] = np.bincount(drawn.ravel(), minlength=block * clusters).reshape(block, clusters)
    return weights


def _ends(value: float, draws: Floats) -> tuple[float, float]:
    """The percentile interval, widened where it would not hold the value itself."""
    defined = draws[~np.isnan(draws)]
    if defined.size == 0:
        return value, value
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return min(float(low), value), max(float(high), value)
