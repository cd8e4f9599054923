"""Drawings of a report as SVG: intervals, pass^k, latencies. Colours and type come from the page's style sheet.

Every drawing says in words (``aria-label``) what it shows; the numbers stand in a table beside it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

from markupsafe import Markup

from sayso.evals.metrics import Latency, Measure, Measured
from sayso.evals.report.words import sentence
from sayso.evals.stats import Estimate

WIDE, ROW = 200, 13
PLOT_WIDE, PLOT_HIGH = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 12, 34
EDGES_S = tuple(step * 10**power for power in range(-2, 4) for step in (1, 2, 5))
"""Where the axis of seconds may begin and end: 10 ms, 20 ms, 50 ms, ..."""


def dots(
    rows: Sequence[tuple[str, Estimate]], measure: Measure = "share", top: float = 1.0, bottom: float = 0.0
) -> Markup:
    """Estimates as dots with their intervals as whiskers, one below the other.

    Args:
        rows: A mode (its colour) and an estimate.
        measure: Of the estimates.
        top: Value at the right end.
        bottom: Value at the left end.
    """
    high, span = ROW * len(rows), (top - bottom) or 1.0

    def x(number: float) -> str:
        return f"{5 + (WIDE - 10) * min(1.0, max(0.0, (number - bottom) / span)):.1f}"

    parts: list[Markup] = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = x(bottom + share * span)
        parts.append(Markup('<line class="grid" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(at, high))
    for row, (mode, estimate) in enumerate(rows):
        y = ROW * row + ROW / 2
        if estimate.value is None:
            continue
        if estimate.low is not None and estimate.high is not None:
            parts.append(
                Markup('<path class="whisker {0}" d="M{1} {3}H{2}M{1} {4}V{5}M{2} {4}V{5}"/>').format(
                    mode, x(estimate.low), x(estimate.high), y, y - 3, y + 3
                )
            )
        kind = "dot few" if estimate.few else "dot"
        parts.append(Markup('<circle class="{} {}" cx="{}" cy="{}" r="3.6"/>').format(kind, mode, x(estimate.value), y))
    label = "; ".join(f"{mode}: {sentence(estimate, measure)}" for mode, estimate in rows)
    return _svg("dots", WIDE, high, label, parts)


def pass_curve(modes: Sequence[Measured]) -> Markup:
    """pass@k (one of k trials passes) and pass^k (all do) over k."""
    most = max(len(measured.curve) for measured in modes)

    def x(k: int) -> float:
        return LEFT + (PLOT_WIDE - LEFT - RIGHT) * ((k - 1) / max(1, most - 1))

    parts = _share_axis()
    for k in range(1, most + 1):
        parts.append(_text("tick", x(k), PLOT_HIGH - BOTTOM + 19, f"k = {k}", "middle"))
    told: list[str] = []
    for measured in modes:
        for title, kind, at in (("pass@k", "dashed", 1), ("pass^k", "solid", 2)):
            points = [(row[0], row[at]) for row in measured.curve if isinstance(row[at], Estimate)]
            known = [(k, found) for k, found in points if isinstance(found, Estimate) and found.value is not None]
            band = [(x(k), _share_y(found.high or 0)) for k, found in known]
            band += [(x(k), _share_y(found.low or 0)) for k, found in reversed(known)]
            parts.append(Markup('<polygon class="band {}" points="{}"/>').format(measured.mode, _points(band)))
            line = [(x(k), _share_y(found.value or 0)) for k, found in known]
            parts.append(
                Markup('<polyline class="line {} {}" points="{}"/>').format(kind, measured.mode, _points(line))
            )
            parts += [
                Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3.6"/>').format(measured.mode, *point)
                for point in line
            ]
            told += [f"{measured.mode} {title} at {k}: {sentence(found, 'share')}" for k, found in known]
    return _svg("plot", PLOT_WIDE, PLOT_HIGH, "; ".join(told), parts)


def latency_curves(curves: Sequence[tuple[str, str, Latency]]) -> Markup:
    """For each time the share of turns that took no longer, on a logarithmic axis of seconds.

    Args:
        curves: Mode (its colour), kind of line (``solid`` or ``dashed``) and the times.
    """
    values = [value for *_, latency in curves for value in latency.values]
    first = max([edge for edge in EDGES_S if edge <= min(values)], default=EDGES_S[0])
    last = min([edge for edge in EDGES_S if edge >= max(values)], default=EDGES_S[-1])
    last = last if last > first else first * 2
    span = log10(last) - log10(first)

    def x(seconds: float) -> float:
        inside = min(last, max(first, seconds))
        return LEFT + (PLOT_WIDE - LEFT - RIGHT) * (log10(inside) - log10(first)) / span

    parts = _share_axis()
    for edge in (edge for edge in EDGES_S if first <= edge <= last):
        parts.append(
            Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
                x(edge), TOP, PLOT_HIGH - BOTTOM
            )
        )
        parts.append(_text("tick", x(edge), PLOT_HIGH - BOTTOM + 19, f"{edge:g} s", "middle"))
    told: list[str] = []
    for mode, kind, latency in curves:
        steps = _steps(latency.values)
        points: list[tuple[float, float]] = [(x(latency.values[0]), _share_y(0))]
        for seconds, share in steps:
            points += [(x(seconds), points[-1][1]), (x(seconds), _share_y(share))]
        parts.append(Markup('<polyline class="line {} {}" points="{}"/>').format(kind, mode, _points(points)))
        told.append(
            f"{mode}, {latency.title.lower()}: {len(latency.values)} turns from {latency.values[0]:.2f} to "
            f"{latency.values[-1]:.2f} s"
        )
    return _svg("plot", PLOT_WIDE, PLOT_HIGH, "; ".join(told), parts)


def nice_top(values: Sequence[float]) -> float:
    """A round number no smaller than the largest value: the end of an axis from 0."""
    largest = max(values, default=0.0)
    if largest <= 0:
        return 1.0
    step = 10 ** floor(log10(largest))
    return next((step * n for n in (1, 2, 5, 10) if step * n >= largest), ceil(largest / step) * step)


def _steps(values: Sequence[float], most: int = 300) -> list[tuple[float, float]]:
    """(value, share of values up to it), at most that many of them."""
    every = max(1, len(values) // most)
    places = [*range(0, len(values) - 1, every), len(values) - 1]
    return [(values[place], (place + 1) / len(values)) for place in places]


def _share_axis() -> list[Markup]:
    parts: list[Markup] = []
    for percent in (0, 25, 50, 75, 95, 100):
        y = _share_y(percent / 100)
        parts.append(
            Markup('<line class="{}" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                "grid p95" if percent == 95 else "grid", LEFT, PLOT_WIDE - RIGHT, y, y
            )
        )
        if percent != 100:
            parts.append(_text("tick", LEFT - 6, y + 4, f"{percent}%", "end"))
    return parts


def _share_y(share: float) -> float:
    return TOP + (PLOT_HIGH - TOP - BOTTOM) * (1 - share)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(kind: str, x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, text)


def _svg(kind: str, wide: int, high: int, label: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        kind, wide, high, label, Markup("").join(parts)
    )
