"""Metrics from units: small cases counted by hand, and what must hold of any run."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from eval_run import make_units

from sayso.evals.metrics import Measured, Results, measure
from sayso.evals.records import (
    ArgumentScore,
    Call,
    Check,
    ExpectedCall,
    FormatCounts,
    State,
    Trigger,
    Turn,
    Unit,
)
from sayso.evals.stats import wilson
from sayso.evals.triggers import NOTHING


def unit(scenario: str, trial: int = 0, **fields: Any) -> Unit:
    mode = fields.get("mode", "text")
    return Unit(
        unit=f"{scenario}.{mode}.{trial}", scenario=scenario, title="", suite="core", trial=trial, seed=trial, **fields
    )


def only(units: list[Unit]) -> Measured:
    (mode,) = measure(units).modes
    return mode


def value(units: list[Unit], name: str) -> float | None:
    metric = only(units).metric(name)
    assert metric is not None, name
    return metric.estimate.value


def triggers(*rows: tuple[int, str, bool, bool]) -> tuple[Trigger, ...]:
    return tuple(Trigger(turn=turn, tool=tool, expected=want, called=call) for turn, tool, want, call in rows)


TRIGGERED = [
    unit("a", triggers=triggers((0, "weather", True, True), (1, "weather", True, False), (1, "search", False, True))),
    unit("b", triggers=triggers((0, "weather", True, True), (1, "", False, False))),
    unit("c", triggers=triggers((0, "search", True, True), (1, "weather", False, True))),
    unit("d", triggers=triggers((0, "search", True, False))),
]
"""weather: 2 hits, 1 false alarm, 1 miss; search: 1, 1, 1. Turns without a tool: 2, of which 1 set one off."""


def test_triggers_by_hand() -> None:
    assert value(TRIGGERED, "trigger_precision") == pytest.approx(3 / 5)
    assert value(TRIGGERED, "trigger_recall") == pytest.approx(3 / 5)
    assert value(TRIGGERED, "trigger_f1") == pytest.approx(3 / 5)
    assert value(TRIGGERED, "trigger_precision_macro") == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert value(TRIGGERED, "trigger_recall_macro") == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert value(TRIGGERED, "false_trigger") == pytest.approx(1 / 2)
    # a tool was wanted and some tool called in a/0, a/1, b/0, c/0; wrong in a/1
    assert value(TRIGGERED, "tool_type") == pytest.approx(3 / 4)


def test_tools_by_hand() -> None:
    search, weather = only(TRIGGERED).tools
    assert (weather.name, weather.hits, weather.false_alarms, weather.misses) == ("weather", 2, 1, 1)
    assert (search.name, search.hits, search.false_alarms, search.misses) == ("search", 1, 1, 1)
    assert weather.precision.value == pytest.approx(2 / 3) and weather.precision.n == 3
    assert search.f1.value == pytest.approx(1 / 2) and search.f1.n == 3


def test_triggers_agree_with_an_oracle() -> None:
    """Counted another way: over all (unit, turn, tool)."""
    units = make_units(scenarios=20, modes=("text",))
    rows = [(t.expected, t.called) for one in units if one.verdict != "void" for t in one.triggers if t.tool]
    hits = sum(want and call for want, call in rows)
    assert value(units, "trigger_precision") == pytest.approx(hits / sum(call for _, call in rows))
    assert value(units, "trigger_recall") == pytest.approx(hits / sum(want for want, _ in rows))


def test_confusion_by_hand() -> None:
    found = only(TRIGGERED).confusion
    assert found.names == ("search", "weather", NOTHING)
    assert found.counts == ((1, 0, 1), (1, 2, 0), (0, 1, 1))


def test_a_turn_that_wants_two_tools_pairs_what_is_left() -> None:
    one = unit(
        "a",
        triggers=triggers((0, "a", True, True), (0, "b", True, False), (0, "c", True, False), (0, "d", False, True)),
    )
    found = only([one]).confusion
    cells = {(row, column): n for row, line in zip(found.names, found.counts, strict=True)
             for column, n in zip(found.names, line, strict=True) if n}  # fmt: skip
    assert cells == {("a", "a"): 1, ("b", "d"): 1, ("c", NOTHING): 1}
    assert value([one], "tool_type") == 0


def test_arguments_by_hand() -> None:
    def score(turn: int, parameter: str, entity: str, right: bool) -> ArgumentScore:
        return ArgumentScore(turn=turn, tool="book", parameter=parameter, entity=entity, right=right)

    units = [
        unit("a", arguments=(score(0, "day", "date", True), score(0, "who", "name", False))),
        unit("b", arguments=(score(0, "day", "date", True), score(1, "day", "date", False))),
        unit("c", arguments=(score(0, "day", "date", True),), triggers=triggers((0, "book", True, True))),
    ]
    assert value(units, "arguments_strict") == pytest.approx(2 / 4)
    assert value(units, "arguments_lenient") == pytest.approx((0.5 + 1 + 0 + 1) / 4)
    assert value(units, "argument.date") == pytest.approx(3 / 4)
    assert value(units, "argument.name") == 0
    (row,) = only(units).tools
    assert row.arguments.value == pytest.approx(2 / 4)


def test_format_by_hand() -> None:
    units = [
        unit("a", format=FormatCounts(strict=3, lenient=1)),
        unit("b", format=FormatCounts(strict=3, unparsable=1)),
    ]
    assert [value(units, f"format_{kind}") for kind in ("strict", "lenient", "unparsable")] == [0.75, 0.125, 0.125]


def test_passes_over_trials_by_hand() -> None:
    verdicts = {"a": "pass pass pass", "b": "pass fail pass", "c": "fail fail fail", "d": "pass pass void"}
    units = [unit(name, at, verdict=v) for name, row in verdicts.items() for at, v in enumerate(row.split())]
    mode = only(units)
    assert (mode.scenarios, mode.trials, mode.passed, mode.failed, mode.void) == (4, 3, 7, 4, 1)
    assert value(units, "pass@1") == pytest.approx((1 + 2 / 3 + 0 + 1) / 4)
    # d has two judged trials: it has no pass@3
    assert value(units, "pass@3") == pytest.approx((1 + 1 + 0) / 3)
    assert value(units, "pass^3") == pytest.approx((1 + 0 + 0) / 3)
    k, at_2, all_2 = mode.curve[1]
    assert (k, at_2.n) == (2, 4)
    assert at_2.value == pytest.approx((1 + 1 + 0 + 1) / 4) and all_2.value == pytest.approx((1 + 1 / 3 + 0 + 1) / 4)


def test_the_k_is_one_that_most_scenarios_have() -> None:
    trials = {"a": 1, "b": 3, "c": 3, "d": 8}
    units = [unit(name, at) for name, many in trials.items() for at in range(many)]
    names = [metric.name for metric in only(units).metrics]
    assert "pass^3" in names and "pass@3" in names and "pass^8" not in names
    assert only(units).trials == 8 and len(only(units).curve) == 8
    assert "pass^1" not in [metric.name for metric in only([unit("a"), unit("b"), *units[:3]]).metrics]


def test_one_trial_has_wilsons_interval() -> None:
    units = [unit(f"s{at}", verdict="pass" if at < 40 else "fail") for at in range(50)]
    found = only(units).metric("pass@1")
    assert found is not None and found.estimate.method == "wilson"
    assert (found.estimate.low, found.estimate.high) == wilson(40, 50)


def test_turns_by_hand() -> None:
    def check(turn: int | None, verdict: Any) -> Check:
        return Check(name="x.y", turn=turn, verdict=verdict)

    units = [
        unit("a", checks=(check(0, "pass"), check(0, "fail"), check(1, "pass"), check(None, "fail"))),
        unit("b", checks=(check(0, "void"), check(1, "void"), check(1, "fail"), check(2, "pass"))),
    ]
    assert value(units, "turn_pass") == pytest.approx(2 / 4)  # b/0 tells nothing


def test_state_safety_and_recovery_by_hand() -> None:
    def check(name: str, verdict: Any) -> Check:
        return Check(name=name, turn=0, verdict=verdict)

    units = [
        unit("a", state=State(hash="1", expected_hash="1"), tags=("tool-error",),
             checks=(check("calls.forbidden", "pass"),)),
        unit("b", state=State(hash="2", expected_hash="1"), tags=("fault",), verdict="fail",
             checks=(check("calls.forbidden", "fail"), check("claims.supported", "fail"),
                     check("claims.grounded", "pass"))),
        unit("c", state=State(hash="2"), tags=("attack",), numbers={"attack_success": 1.0}, verdict="fail"),
        unit("d", tags=("attack",), numbers={"attack_success": 0.0}, checks=(check("claims.supported", "pass"),)),
    ]  # fmt: skip
    names = ("state", "recovery", "minefield", "claim_support", "attack_success", "utility_under_attack")
    assert [value(units, name) for name in names] == [0.5] * 6


def test_latencies_by_hand() -> None:
    def turns(*times: tuple[float | None, bool]) -> tuple[Turn, ...]:
        return tuple(Turn(user="", ttfa_s=time, with_tool=tool) for time, tool in times)

    units = [
        unit("a", turns=turns((1.0, False), (2.0, True), (None, False)), numbers={"yield_ms": 250.0}),
        unit("b", turns=turns((3.0, True), (4.0, True))),
    ]
    found = {name: value(units, f"ttfa.{name}") for name in ("p50", "p90", "p95", "max")}
    assert found == {"p50": 2.0, "p90": 4.0, "p95": 4.0, "max": 4.0}
    assert value(units, "ttfa_tool.p50") == 3.0 and value(units, "ttfa_no_tool.max") == 1.0
    assert value(units, "yield.p50") == 0.25
    assert next((one.name, one.values) for one in only(units).latencies) == ("ttfa", (1.0, 2.0, 3.0, 4.0))


def test_calls_and_other_numbers_by_hand() -> None:
    call = Call(call_id="1", tool="x", arguments={}, status="ok")
    turns = (Turn(user="", calls=(call, replace(call, extra=True)), interrupted=True), Turn(user=""))
    units = [unit("a", turns=turns, numbers={"tokens": 10.0}), unit("b", turns=turns[1:], numbers={"tokens": 20.0})]
    assert value(units, "calls_per_turn") == pytest.approx(2 / 3)
    assert value(units, "extra_calls_per_turn") == value(units, "interruptions_per_turn") == pytest.approx(1 / 3)
    assert value(units, "tokens") == 15
    by_turn = [unit("a", numbers={"wer.0": 0.0, "wer.1": 0.3}), unit("b", numbers={"wer.0": 0.6})]
    assert value(by_turn, "wer") == pytest.approx(0.3)


def test_void_units_are_counted_and_in_no_number() -> None:
    judged = TRIGGERED
    void = [replace(one, unit=f"{one.unit}v", trial=1, verdict="void") for one in TRIGGERED]
    with_void, without = only([*judged, *void]), only(judged)
    for one in without.metrics:
        other = with_void.metric(one.name)
        assert other is not None
        assert replace(other.estimate, void=0) == one.estimate
        assert other.estimate.void == 4


def test_the_gap_is_paired() -> None:
    def pair(scenario: str, text: str, speech: str) -> list[Unit]:
        rows = [("text", text), ("speech", speech)]
        return [
            unit(scenario, at, mode=mode, verdict={"+": "pass", "-": "fail", "0": "void"}[sign])
            for mode, signs in rows
            for at, sign in enumerate(signs)
        ]

    units = [*pair("a", "++", "+-"), *pair("b", "+-", "--"), *pair("c", "+", ""), *pair("d", "+", "0")]
    gap = measure(units).gap
    assert gap is not None and gap.value == pytest.approx(-0.5) and gap.n == 2
    assert measure([one for one in units if one.mode == "text"]).gap is None


def test_slices_by_hand() -> None:
    units = [
        unit("a", tags=("x", "y")),
        unit("a", 1, tags=("x", "y"), verdict="fail"),
        unit("b", tags=("x",), verdict="void"),
    ]
    rows = {row.name: row for row in only(units).tags}
    assert (rows["x"].scenarios, rows["x"].passed, rows["x"].failed, rows["x"].void) == (2, 1, 1, 1)
    assert (rows["y"].estimate.value, rows["y"].estimate.n, rows["y"].estimate.void) == (0.5, 2, 0)
    assert [row.name for row in only(units).suites] == ["core"]


def test_all_void_is_no_number_and_no_crash() -> None:
    found = only([unit("a", verdict="void"), unit("b", verdict="void")])
    assert found.void == 2 and all(metric.estimate.value is None for metric in found.metrics)


def every_estimate(results: Results) -> Iterator[Any]:
    for mode in results.modes:
        yield from (metric.estimate for metric in mode.metrics)
        yield from (row.estimate for row in (*mode.tags, *mode.suites))
        yield from (one for row in mode.tools for one in (row.precision, row.recall, row.f1, row.arguments))


def test_the_order_of_the_units_does_not_matter() -> None:
    units = make_units(scenarios=15, trials=3)
    shuffled = list(units)
    random.Random(4).shuffle(shuffled)
    assert measure(shuffled) == measure(units)


def test_every_interval_holds_its_value() -> None:
    estimates = list(every_estimate(measure(make_units(scenarios=25, trials=3))))
    assert len(estimates) > 100
    for one in estimates:
        if one.low is not None:
            assert one.low <= one.value <= one.high


def test_expected_calls_are_no_part_of_the_measured_calls() -> None:
    turn = Turn(user="", expected_calls=(ExpectedCall(tool="x"),))
    assert value([unit("a", turns=(turn,))], "calls_per_turn") == 0
