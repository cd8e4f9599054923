"""Numbers of evaluations as people read them: the same in the page, the terminal and the summary."""

from __future__ import annotations

import json
from typing import Any

from sayso.evals.metrics import Measure
from sayso.evals.stats import Estimate

NOTHING = "–"


def value(number: float | None, measure: Measure) -> str:
    """``85.3%``, ``0.95 s``, ``1.20``; a dash for None."""
    if number is None:
        return NOTHING
    if measure == "share":
        return f"{number * 100:.1f}%"
    return f"{_bare(number, measure)} s" if measure == "s" else _bare(number, measure)


def interval(estimate: Estimate, measure: Measure) -> str:
    """``79.6 to 90.4``, in the unit of the value; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{_bare(estimate.low, measure)} to {_bare(estimate.high, measure)}"


def change(estimate: Estimate, measure: Measure) -> str:
    """A difference with its sign; that of shares in points."""
    if estimate.value is None:
        return NOTHING
    digits = {"share": 1, "s": 2, "number": 3}[measure]
    number = round(estimate.value * (100 if measure == "share" else 1), digits)
    unit = {"share": " points", "s": " s", "number": ""}[measure]
    return f"{number:+.{digits}f}{unit}" if number else f"0{unit}"  # no sign where nothing is seen to change


def counts(estimate: Estimate) -> str:
    """``n 60, void 4``, and a warning where there are few events."""
    void = f", {estimate.void} void" if estimate.void else ""
    return f"n {estimate.n}{void}" + (": n too small" if estimate.few else "")


def sentence(estimate: Estimate, measure: Measure) -> str:
    """All of it, on one line."""
    ends = interval(estimate, measure)
    return f"{value(estimate.value, measure)}{f' ({ends})' if ends else ''}, {counts(estimate)}"


def as_json(data: Any, limit: int = 4_000) -> str:
    """A value as people read JSON; what is too long is cut, and says so."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, default=str)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def _bare(number: float, measure: Measure) -> str:
    if measure == "share":
        return f"{number * 100:.1f}"
    if measure == "s" or abs(number) >= 1:
        return f"{number:.2f}"
    return f"{number:.3f}"
