"""Intervals and tests: the design's worked example, other libraries as oracles, properties."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.evals.stats import (
    Estimate,
    Resamples,
    difference,
    f1,
    macro,
    mcnemar,
    pass_at_k,
    pass_hat_k,
    precision,
    recall,
    wilson,
)

PASSES = [4] * 20 + [3] * 15 + [2] * 10 + [1] * 5
"""50 scenarios of 4 trials: 150 of 200 pass, 20 scenarios pass in all."""


def test_the_worked_example_of_50_scenarios_and_4_trials() -> None:
    assert wilson(150, 200) == pytest.approx((0.686, 0.805), abs=0.001)  # as if trials were independent
    resamples = Resamples(50)
    clustered = resamples.share(PASSES, [4] * 50)
    assert clustered.value == 0.75
    assert (clustered.low, clustered.high) == pytest.approx((0.680, 0.815), abs=0.006)
    assert clustered.method == "bootstrap by scenario" and clustered.n == 200
    every = resamples.mean([pass_hat_k(passed, 4, 4) for passed in PASSES])
    assert every.value == pytest.approx(0.40)
    assert (every.low, every.high) == pytest.approx((0.26, 0.54), abs=0.005)


def test_half_widths_at_80_percent() -> None:
    found = {n: (high - low) / 2 for n in (20, 50, 100, 200, 400) for low, high in [wilson(0.8 * n, n)]}
    assert found == pytest.approx({20: 0.17, 50: 0.11, 100: 0.08, 200: 0.06, 400: 0.04}, abs=0.006)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (5, 9), (10, 10), (40, 50), (320, 400)])
def test_wilson_is_that_of_scipy(successes: int, n: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is a development dependency")
    interval = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((interval.low, interval.high))


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test_of_scipy(one_way: int, other_way: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is a development dependency")
    flips = one_way + other_way
    expected = stats.binomtest(one_way, flips).pvalue if flips else 1.0
    assert mcnemar(one_way, other_way) == pytest.approx(expected)


def test_mcnemar_by_hand() -> None:
    assert mcnemar(0, 0) == mcnemar(1, 1) == 1.0
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 64)


def test_the_bootstrap_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is a development dependency")
    random = np.random.default_rng(3)
    trials = random.integers(1, 5, size=80)
    passed = random.binomial(trials, 0.7)
    oracle = stats.bootstrap(
        (passed, trials),
        lambda above, below, axis=-1: above.sum(axis=axis) / below.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    found = Resamples(80).share(passed, trials)
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=0.006)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.sampled_from([0.5, 0.9, 0.95, 1.0]))
def test_a_resampled_quantile_is_that_of_numpy(counts: list[int], share: float) -> None:
    """Each sample's quantile equals numpy's of the values as often as they were drawn."""
    resamples = Resamples(len(counts), count=40, keep=True)
    values = [float(7 * owner + at) for owner, count in enumerate(counts) for at in range(count)]
    owners = [owner for owner, count in enumerate(counts) for _ in range(count)]
    (found,) = resamples.quantiles(values, owners, [share])
    if not values:
        assert found == Estimate()
        return
    assert found.value == np.quantile(values, share, method="inverted_cdf")
    if found.draws is not None:
        for drawn, weights in zip(found.draws, resamples._weights, strict=True):
            repeated = np.repeat(values, weights[owners])
            if len(repeated):
                assert drawn == np.quantile(repeated, share, method="inverted_cdf")
            else:
                assert np.isnan(drawn)


def test_every_sample_draws_as_many_scenarios_as_there_are() -> None:
    weights = Resamples(37, count=200)._weights
    assert weights.shape == (200, 37) and (weights.sum(axis=1) == 37).all()
    assert weights.mean() == 1.0 and weights.var() == pytest.approx(1, abs=0.1)


def test_the_same_seed_draws_the_same_samples() -> None:
    first, again, other = (Resamples(50, seed=seed)._weights for seed in (1, 1, 2))
    assert (first == again).all() and not (first == other).all()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_an_interval_holds_its_value(pairs: list[tuple[int, int]]) -> None:
    above, below = [min(pair) for pair in pairs], [max(pair) for pair in pairs]
    found = Resamples(len(pairs), count=300).share(above, below, void=2)
    assert found.n == sum(below) and found.void == 2
    if found.value is None:
        assert sum(below) == 0 and found.low is found.high is None
    else:
        assert found.low is not None and found.high is not None
        assert 0 <= found.low <= found.value <= found.high <= 1


@given(st.integers(1, 12), st.data())
def test_pass_hat_k_falls_and_pass_at_k_rises(trials: int, data: st.DataObject) -> None:
    passed = data.draw(st.integers(0, trials))
    every = [pass_hat_k(passed, trials, k) for k in range(1, trials + 1)]
    some = [pass_at_k(passed, trials, k) for k in range(1, trials + 1)]
    assert every == sorted(every, reverse=True) and some == pytest.approx(sorted(some))
    assert every[0] == pytest.approx(some[0]) == pytest.approx(passed / trials)


def test_pass_at_k_counts_every_choice_of_k_trials() -> None:
    trials = [True, True, False, False, True, False]
    for k in range(1, 7):
        choices = list(itertools.combinations(trials, k))
        assert len(choices) == comb(6, k)
        assert pass_at_k(3, 6, k) == pytest.approx(sum(map(any, choices)) / len(choices))
        assert pass_hat_k(3, 6, k) == pytest.approx(sum(map(all, choices)) / len(choices))


@pytest.mark.parametrize("wrong", [(3, 2, 1), (1, 2, 3), (1, 2, 0), (-1, 2, 1)])
def test_impossible_counts_are_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        pass_at_k(*wrong)
    with pytest.raises(ValueError, match="cannot be"):
        pass_hat_k(*wrong)


def test_more_successes_than_events_are_refused() -> None:
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, 2)


def test_one_observation_a_scenario_has_wilsons_interval() -> None:
    found = Resamples(4).share([1, 0, 1, 1], [1, 1, 1, 1])
    assert found.method == "wilson" and (found.low, found.high) == wilson(3, 4)


def test_always_right_is_not_certain() -> None:
    found = Resamples(10).share([4] * 10, [4] * 10)
    assert found.value == 1 and found.method == "wilson by scenario"
    assert (found.low, found.high) == wilson(10, 10)  # 10 scenarios, not 40 events


def test_nothing_observed_has_no_value() -> None:
    resamples = Resamples(3)
    assert resamples.share([0, 0, 0], [0, 0, 0], void=1) == Estimate(void=1)
    assert resamples.mean([0, 0, 0], [0, 0, 0]) == Estimate()
    assert resamples.quantiles([], [], [0.5, 0.95]) == [Estimate(), Estimate()]
    assert resamples.statistic([[0, 0, 0]] * 3, f1, 0) == Estimate()


def test_latencies_of_one_scenario_have_no_interval() -> None:
    (found,) = Resamples(2).quantiles([1.0, 2.0], [1, 1], [0.5])
    assert (found.value, found.low, found.n) == (1.0, None, 2)


def test_few_events_are_told() -> None:
    assert Estimate(n=9).few and not Estimate(n=10).few


def test_f1_and_its_parts_by_hand() -> None:
    sums = np.array([8.0, 2.0, 4.0])
    assert precision(sums) == 0.8
    assert recall(sums) == pytest.approx(8 / 12)
    assert f1(sums) == pytest.approx(2 * 0.8 * (8 / 12) / (0.8 + 8 / 12))
    with np.errstate(invalid="ignore"):
        both = macro(precision)(np.array([8.0, 2.0, 4.0, 1.0, 0.0, 0.0, 0.0, 0.0, 3.0]))
    assert both == pytest.approx((0.8 + 1.0) / 2)  # the third tool was never called: it has no precision


def test_paired_runs_share_their_samples() -> None:
    before, after = (Resamples(50, keep=True) for _ in range(2))
    worse = [max(0, passed - 1) for passed in PASSES]
    found = difference(before.share(PASSES, [4] * 50), after.share(worse, [4] * 50))
    assert found.value == pytest.approx(-0.25)
    assert (found.low, found.high) == pytest.approx((-0.25, -0.25))  # every scenario lost one of four
    unkept = Resamples(50).share(PASSES, [4] * 50)
    with pytest.raises(ValueError, match="not kept"):
        difference(unkept, unkept)
