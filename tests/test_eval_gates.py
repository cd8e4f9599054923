"""Gates and their exit codes, and the comparison of two runs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from eval_run import make_units, write_folder

from sayso.errors import UsageError
from sayso.evals.compare import compare
from sayso.evals.gates import BAD_INPUT, FAILED, INTERRUPTED, PASSED, TOO_MANY_VOID, GateResult, Gates, exit_code, judge
from sayso.evals.gates import read_gates as read
from sayso.evals.metrics import measure
from sayso.evals.records import Unit


def unit(scenario: str, trial: int = 0, **fields: object) -> Unit:
    given = {"mode": "text", "seed": trial, **fields}
    return Unit(
        unit=f"{scenario}.{given['mode']}.{trial}", scenario=scenario, title="", suite="core", trial=trial, **given
    )  # pyright: ignore


def gates(tmp_path: Path, text: str) -> Gates:
    path = tmp_path / "gates.yaml"
    path.write_text(text)
    return read(path)


def judged(found: Gates, units: list[Unit]) -> dict[str, GateResult]:
    return {result.name: result for result in judge(found, units, measure(units))}


TEN = [unit(f"s{at}", verdict="pass" if at < 8 else "fail", must_pass=at < 2) for at in range(10)]


def test_every_key_of_a_gates_file(tmp_path: Path) -> None:
    found = gates(
        tmp_path,
        "must_pass: [a, b]\nmax_void: 0.1\npass@1: '>= 0.5 (lower bound 0.4)'\n"
        "speech.ttfa.p95: '<= 3'\nno_worse_than: old",
    )
    assert found.must_pass == ("a", "b") and found.max_void == 0.1 and found.baseline == tmp_path / "old"
    first, second = found.rules
    assert (first.name, first.mode, first.comparison, first.limit, first.end, first.bound) == (
        "pass@1", "", ">=", 0.5, "lower", 0.4,
    )  # fmt: skip
    assert (second.name, second.mode, second.metric, second.end) == ("speech.ttfa.p95", "speech", "ttfa.p95", None)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("pass@1: 0.9", 1, "expected is such as"),
        ("max_void: 0\npass@1: '=> 0.9'", 2, "expected is such as"),
        ("\n\nmax_void: 3", 3, "share of 0 to 1"),
        ("max_void: true", 1, "share of 0 to 1"),
        ("must_pass: some", 1, "`all` or a list"),
        ("must_pass: [1]", 1, "`all` or a list"),
        ("no_worse_than: 4", 1, "folder of a run"),
        ("- pass@1", 1, "one mapping"),
        ("", 1, "one mapping"),
        ("a: [", 1, "no YAML"),
    ],
)
def test_a_wrong_gates_file_is_told_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(UsageError) as error:
        gates(tmp_path, text)
    assert words in str(error.value) and f"gates.yaml:{line}:" in str(error.value)
    assert error.value.exit_code == BAD_INPUT


@pytest.mark.parametrize(
    ("rule", "passed"),
    [
        (">= 0.8", True), ("> 0.8", False), ("<= 0.8", True), ("< 0.8", False), ("== 0.8", True), (">= 0.81", False),
        (">= 0.8 (lower bound 0.49)", True), (">= 0.8 (lower bound 0.50)", False),
        ("<= 0.8 (upper bound 0.95)", True), ("<= 0.8 (upper bound 0.94)", False),
    ],
)  # fmt: skip
def test_rules_compare_value_and_interval(tmp_path: Path, rule: str, passed: bool) -> None:
    """8 of 10: Wilson's interval is 0.490 to 0.943."""
    result = judged(gates(tmp_path, f"pass@1: '{rule}'"), TEN)["text.pass@1"]
    assert result.passed is passed and "0.800 [0.490, 0.943], n 10" in result.message


def test_few_events_are_told_by_a_gate(tmp_path: Path) -> None:
    assert "n too small" in judged(gates(tmp_path, "pass@1: '>= 0'"), TEN[:9])["text.pass@1"].message


def test_what_was_not_measured_does_not_pass(tmp_path: Path) -> None:
    found = judged(gates(tmp_path, "attack_success: '== 0'\nspeech.pass@1: '>= 0'"), TEN)
    assert not found["text.attack_success"].passed and "nothing of the kind" in found["text.attack_success"].message
    assert not found["speech.pass@1"].passed and "nothing was run" in found["speech.pass@1"].message


def test_a_metric_that_there_is_not_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"trigger_f2.*nearest is trigger_f1"):
        judged(gates(tmp_path, "trigger_f2: '>= 0'"), TEN)


def test_must_pass() -> None:
    assert judged(Gates(), TEN)["must_pass"].passed
    failed = judged(Gates(must_pass=("s0", "s9")), TEN)["must_pass"]
    assert not failed.passed and failed.message == "failed: s9"
    missing = judged(Gates(must_pass=("s0", "nowhere")), TEN)["must_pass"]
    assert not missing.passed and missing.message == "void or not run: nowhere"
    void = [unit("s0", must_pass=True, verdict="void"), *TEN[1:]]
    assert not judged(Gates(max_void=1), void)["must_pass"].passed


def test_one_failed_trial_breaks_a_must_pass() -> None:
    units = [unit("a", 0, must_pass=True), unit("a", 1, must_pass=True, verdict="fail")]
    assert not judged(Gates(), units)["must_pass"].passed


def test_exit_codes() -> None:
    def code(units: list[Unit], **options: bool) -> int:
        return exit_code(judge(Gates(), units, measure(units)), **options)

    assert code(TEN) == PASSED == 0
    assert code([*TEN, unit("x", must_pass=True, verdict="fail")]) == FAILED == 1
    assert code([*TEN, unit("x", verdict="void")]) == TOO_MANY_VOID == 3
    assert code([*TEN, unit("x", must_pass=True, verdict="fail"), unit("y", verdict="void")]) == TOO_MANY_VOID
    assert code(TEN, interrupted=True) == INTERRUPTED == 4


def pairs(before: str, after: str, must_pass: bool = False) -> tuple[list[Unit], list[Unit]]:
    """A scenario a letter: + passes, - fails, 0 is void."""
    words = {"+": "pass", "-": "fail", "0": "void"}
    first, second = (
        [unit(f"s{at}", verdict=words[sign], must_pass=must_pass) for at, sign in enumerate(row)]
        for row in (before, after)
    )
    return first, second


def test_flips_by_hand() -> None:
    found = compare(*pairs("++--+0+", "+-+-0++"))
    (mode,) = found.modes
    assert (mode.pairs, mode.void, mode.lost, mode.won, mode.p) == (5, 2, 1, 1, 1.0)
    assert mode.passed.difference.value == 0
    flips = [(flip.scenario, flip.before, flip.after) for flip in found.flips]
    assert flips == [("s1", "pass", "fail"), ("s4", "pass", "void"), ("s2", "fail", "pass"), ("s5", "void", "pass")]


def test_worse_needs_an_interval_below_0() -> None:
    assert compare(*pairs("+" * 20, "+" * 19 + "-")).outcome == "no difference shown"
    assert compare(*pairs("+" * 20, "+" * 10 + "-" * 10)).outcome == "worse"
    assert compare(*pairs("+" * 10 + "-" * 10, "+" * 20)).outcome == "better"
    assert compare(*pairs("+-" * 10, "+-" * 10)).outcome == "no difference shown"


def test_or_one_scenario_that_must_pass_and_broke() -> None:
    found = compare(*pairs("+" * 20, "+" * 19 + "-", must_pass=True))
    assert found.outcome == "worse" and [flip.scenario for flip in found.flips if flip.breaks] == ["s19"]
    before = [unit("a", 0, must_pass=True), unit("a", 1, must_pass=True, verdict="fail")]
    after = [replace(before[0], verdict="fail"), replace(before[1], verdict="pass")]
    assert compare(before, after).outcome == "no difference shown"  # it was broken before


def test_lower_is_better_for_latencies() -> None:
    first = make_units(scenarios=12, trials=2, modes=("speech",))
    second = [
        replace(one, turns=tuple(replace(t, ttfa_s=t.ttfa_s and t.ttfa_s / 2) for t in one.turns)) for one in first
    ]
    (mode,) = compare(first, second).modes
    outcomes = {delta.before.name: delta.outcome for delta in mode.deltas}
    assert outcomes["ttfa.p50"] == outcomes["ttfa.p95"] == "better"
    assert outcomes["trigger_f1"] == "no difference shown"


def test_few_events_show_nothing_but_of_scenarios_passed() -> None:
    before, after = pairs("+" * 6, "-" * 6)
    attacked = [
        [replace(one, numbers={"attack_success": number}) for one in units]
        for units, number in ((before, 0.0), (after, 1.0))
    ]
    (mode,) = compare(*attacked).modes
    (delta,) = [one for one in mode.deltas if one.before.name == "attack_success"]
    assert delta.difference.value == 1 and delta.outcome == "no difference shown"
    assert mode.passed.outcome == "worse"


def test_only_the_same_scenario_and_seed_are_a_pair() -> None:
    before = [unit("a"), unit("b"), unit("c", scenario_hash="1"), unit("d")]
    after = [unit("a"), replace(unit("b"), seed=9), unit("c", scenario_hash="2"), unit("e"), unit("f")]
    found = compare(before, after)
    assert (found.modes[0].pairs, found.only_before, found.only_after) == (1, 3, 4)
    with pytest.raises(UsageError, match="no unit in common"):
        compare(before[1:2], after)


def test_a_mode_with_nothing_but_void_is_refused() -> None:
    with pytest.raises(UsageError, match="text is void"):
        compare(*pairs("0+", "+0"))


def test_no_worse_than_a_baseline(tmp_path: Path) -> None:
    good, bad = make_units(scenarios=20, trials=2, skill=0.9), make_units(scenarios=20, trials=2, skill=0.5)
    write_folder(tmp_path / "good", good)
    found = gates(tmp_path, "no_worse_than: good")
    assert not judged(found, bad)["no_worse_than"].passed
    assert judged(found, good)["no_worse_than"].passed
    with pytest.raises(UsageError, match=r"There is no .*nowhere"):
        judged(gates(tmp_path, "no_worse_than: nowhere"), good)
