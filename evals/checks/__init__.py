"""Checks: what a unit did and said against what its scenario expects. Each family is a file, and points to events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from sayso.evals.checks import calls, claims, reply, state, timing
from sayso.evals.checks.case import Case
from sayso.evals.records import Check

Family: TypeAlias = Callable[[Case], Iterable[Check]]

FAMILIES: Final[tuple[Family, ...]] = (calls.check, state.check, reply.check, claims.check, timing.check)
"""All that is checked in every mode. What needs sound is added by the speech mode (`sayso.evals.run.mode.Mode`)."""


def check_all(case: Case, more: Iterable[Family] = ()) -> list[Check]:
    """Every check of a unit, in the order of families, then turns."""
    return [found for family in (*FAMILIES, *more) for found in family(case)]
