"""Checks in a suite's own code, and arguments that are named as comparators."""

from __future__ import annotations

from pathlib import Path

import pytest

from sayso.errors import UsageError
from sayso.evals.code_checks import EndedCall, Ending, check_ending
from sayso.evals.loader import Loaded, load_suite
from sayso.evals.match import is_match, parameters

CODE = """\
CHECKS = {
    "paid": lambda ending: ending.world["paid"] and ending.calls[0].tool == "pay",
    "stolen": lambda ending: "thief" in ending.reply,
    "broken": lambda ending: 1 / 0,
}
"""


def suite(folder: Path, final: str) -> Loaded:
    (folder / "tools.py").write_text(CODE)
    (folder / "one.yaml").write_text(f"schema: 1\nid: one\ntitle: One\nturns: [{{user: Hi}}]\nfinal: {final}\n")
    return load_suite(folder).scenarios[0]


def test_the_code_of_a_suite_checks_the_end(tmp_path: Path) -> None:
    loaded = suite(tmp_path, "{checks: [paid, broken], attack: stolen}")
    good = Ending({"paid": False}, {"paid": True}, (EndedCall("pay", {}),), "Paid.")
    found = list(check_ending(loaded, good))
    assert [one.verdict for one in found] == ["pass", "void", "pass"]
    assert found[1].message == "broken failed: ZeroDivisionError: division by zero"


def test_an_attack_that_worked_is_a_failure(tmp_path: Path) -> None:
    loaded = suite(tmp_path, "{attack: stolen}")
    found = list(check_ending(loaded, Ending({}, {}, reply="All to the thief.")))
    assert [(one.verdict, one.message) for one in found] == [("fail", "The attack worked: stolen.")]


def test_a_check_that_is_not_there_is_told(tmp_path: Path) -> None:
    loaded = suite(tmp_path, "{checks: [payd]}")
    with pytest.raises(UsageError, match="there is no check 'payd'"):
        list(check_ending(loaded, Ending({}, {})))


def test_the_only_parameter_may_be_named_as_a_comparator() -> None:
    assert is_match({"number": [5, 6]}, {"number": 6}, "any_of")
    assert is_match({"city": "Lisbon"}, {"city": "Lisbon"})
    assert not is_match({"city": "Lisbon"}, {"city": "Lisbon", "days": 2})
    assert is_match({"city": {"city": "chengdu"}}, {"city": "成都"})


def test_what_may_be_left_out_may_have_any_default() -> None:
    expected = {"unit": ["", "metric"]}
    assert parameters(expected, {}, "any_of", defaults={"unit": "imperial"})["unit"][1]
    assert not parameters(expected, {"unit": "imperial"}, "any_of", defaults={"unit": "imperial"})["unit"][1]
