"""The kill matrix: on the smallest suite every fault that has a place is caught by a check that is there for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import eval_mutants
from benchmarks.eval_mutants import MUTATIONS, SUITES, matrix
from sayso.evals.loader import load_suite


def test_every_mutant_of_the_smoke_suite_is_caught_as_meant() -> None:
    tallies = matrix(load_suite(SUITES / "smoke").scenarios, seed=1)
    assert [one.escaped for one in tallies if one.escaped] == []
    assert sum(one.mutants for one in tallies) >= 30
    assert sum(one.mutants > 0 for one in tallies) >= 8


def test_a_mutant_that_another_check_catches_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    swapped = replace(MUTATIONS[0], checks=("timing.",))
    monkeypatch.setattr(eval_mutants, "MUTATIONS", (swapped,))
    (tally,) = matrix(load_suite(SUITES / "smoke").scenarios, seed=1)
    assert tally.mutants == tally.caught == len(tally.escaped) > 3
    assert tally.as_meant == 0


@pytest.mark.parametrize(("checks", "status"), [(MUTATIONS[0].checks, 0), (("timing.",), 1)])
def test_the_bar_decides_how_the_program_ends(
    checks: tuple[str, ...], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []

    def write(name: str, rows: Sequence[Any], told: Sequence[str]) -> None:
        notes.extend(told)

    monkeypatch.setattr(eval_mutants, "write", write)
    monkeypatch.setattr(eval_mutants, "MUTATIONS", (replace(MUTATIONS[0], checks=checks),))
    monkeypatch.setattr("sys.argv", ["eval_mutants", str(SUITES / "smoke" / "calls.yaml")])
    assert eval_mutants.main() == status
    assert notes[1].endswith("bar 95%")
