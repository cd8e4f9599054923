"""Time: latency budgets, on the clock that the unit ran on, and how fast the agent yields."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from sayso.evals.checks.case import Case, CheckedTurn, checked
from sayso.evals.expectations import Budget, Latencies
from sayso.evals.records import Check


def check(case: Case) -> Iterator[Check]:
    """All checks of time."""
    for number, turn in enumerate(case.turns):
        yield from _budgets(turn, turn.expect.latency_ms, [turn], case)
        if turn.expect.yields_within_ms is not None and number:
            yield _yields(case.turns[number - 1], turn, turn.expect.yields_within_ms)
    yield from _budgets(None, case.scenario.final.latency_ms, case.turns, case)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _budgets(
    turn: CheckedTurn | None, latencies: Latencies, scope: Sequence[CheckedTurn], case: Case
) -> Iterator[Check]:
    for stage, budget in latencies.items():
        if stage == "ttfa" and case.mode == "text":
            continue
        values = [value * 1000 for one in scope if (value := _latency(one, str(stage))) is not None]
        limits = budget if isinstance(budget, Budget) else Budget(max=budget)
        events = case.final_event if turn is None else turn.trace.last_event
        if not values:
            yield checked("timing.latency", turn, False, f"{stage} was never reached.", events=events, expected=stage)
            continue
        bounds = {
            "max": (limits.max, 1.0),
            "p50": (limits.p50, 0.5),
            "p90": (limits.p90, 0.9),
            "p95": (limits.p95, 0.95),
        }
        for name, (most, share) in bounds.items():
            if most is None:
                continue
            found = round(percentile(values, share), 3)
            message = f"{stage} took {found:g} ms ({name}), over {most:g} ms."
            yield checked("timing.latency", turn, found <= most, message, events=events, expected=most, found=found)


def _latency(turn: CheckedTurn, stage: str) -> float | None:
    return turn.trace.ttfa_s if stage == "ttfa" else turn.trace.stages.get(stage)


def _yields(before: CheckedTurn, turn: CheckedTurn, most: float) -> Check:
    yielded = before.trace.yield_ms
    if yielded is None:
        message = "The reply was over before the user spoke: there was nothing to cut off."
        return Check(name="timing.yield", turn=turn.index, verdict="void", message=message, expected=most)
    message = f"The agent spoke on for {yielded:g} ms, over {most:g} ms."
    return checked(
        "timing.yield", turn, yielded <= most, message, events=before.trace.last_event, expected=most, found=yielded
    )
