"""What the server costs, beside what it may cost.

    python -m benchmarks.server            # minutes
    python -m benchmarks.server --quick    # seconds: whether it all works, not how fast

The server runs in a process of its own on one core, the clients on another one; a scripted model streams ready-made
speech. Nothing is paced: sound is sent as it comes from the model.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.report import RESULTS, save, write
from benchmarks.server import measures
from benchmarks.server.process import server

PARTS = ("push", "steady", "frames", "idle", "curve", "latency")


def _row(
    what: str, value: float, unit: str, target: str = "", good: bool | None = None, note: str = ""
) -> dict[str, Any]:
    return {
        "what": what,
        "value": round(value, 3),
        "unit": unit,
        "reach": target,
        "reached": "" if good is None else "yes" if good else "NO",
        "note": note,
    }


async def measure(
    parts: list[str], quick: bool, core: int | None, trace: bool, tell: Callable[[str], None]
) -> list[Any]:
    """Run the parts that are asked for; a row each figure."""
    rows: list[dict[str, Any]] = []
    with server(core, trace=trace) as served:
        if "push" in parts:
            for talkers in (1, 8):
                found = await measures.push(served, 400 if quick else 40_000, talkers)
                what = f"audio deltas pushed, {talkers} session{'s' * (talkers > 1)}"
                good = found["per_s"] >= 10_000
                note = f"{found['per_cpu_s']:.0f} a second of CPU, the model's share included"
                rows.append(_row(what, found["per_s"], "1/s", "10,000", good, note))
                tell(what)
        if "steady" in parts:
            talkers = 10 if quick else 200
            found = await measures.steady(served, talkers, 1 if quick else 20)
            note = f"p50 {found['p50_ms']:.2f}, max {found['max_ms']:.1f} ms, {100 * found['core']:.0f} % of the core"
            note += f"; {100 * found['waited']:.0f} % of the time it waited for others on that core"
            what = f"{talkers} sessions at 25 deltas/s: p99 from the model to the client"
            rows.append(_row(what, found["p99_ms"], "ms", "20", found["p99_ms"] < 20, note))
            tell(what)
        if "frames" in parts:
            talkers, seconds = (4, 1) if quick else (20, 20)
            hearing = measures.hearing(2 if quick else 60)
            whole = await measures.frames(served, talkers, seconds, detect=True)
            deaf = await measures.frames(served, talkers, seconds, detect=False)
            what = "a live session, 50 frames/s of 24 kHz in"
            note = f"the VAD network alone: {hearing['network']:.2f} %"
            rows.append(_row(what, whole, "% of a core", "1", whole < 1, note))
            rows.append(_row("  without the VAD network", whole - hearing["network"], "% of a core"))
            rows.append(_row("  endpointing (VAD, resampling), no server", hearing["whole"], "% of a core"))
            rows.append(_row("  the same without turn detection", deaf, "% of a core"))
            tell(what)
        if "latency" in parts:
            found = await measures.latency(served, 10 if quick else 300)
            base = found.pop("in one process")
            note = f"p99 {base['p99_ms']:.2f} ms"
            rows.append(_row("to the first sound of a turn, in one process, p50", base["p50_ms"], "ms", note=note))
            for name, ms in found.items():
                added = ms["p50_ms"] - base["p50_ms"]
                note = f"p99 {ms['p99_ms'] - base['p99_ms']:.2f} ms"
                rows.append(_row(f"added by {name}, p50", added, "ms", "5", added < 5, note))
            tell("latency")
    if "idle" in parts:
        count = 60 if quick else 500
        for name, idle in (("realtime", measures.idle_realtime), ("agents", measures.idle_agents)):
            with server(core) as served:  # a new one: no memory is used again
                size = await idle(served, count)
            what = f"memory of an idle session, /v1/{name}"
            rows.append(_row(what, size / 1000, "kB", "300", size < 300_000, f"RSS over {count} sessions"))
        tell("idle sessions")
    if "curve" in parts:
        count = 100 if quick else 10_000
        with server(core, trace=trace) as served:
            for name, points in (await measures.curve(served, count, tell)).items():
                grown = (points[-1] - points[len(points) // 2]) * 1e6 / (count / 2)
                note = "MB at each tenth: " + " ".join(f"{point:.1f}" for point in points)
                what = f"memory kept by a session that was closed, /v1/{name}"
                rows.append(_row(what, grown / 1000, "kB", "0.1", grown < 100, f"of the last {count // 2}; {note}"))
    return rows


def main() -> int:
    """Run, print, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--trace", action="store_true", help="tell where memory is kept (slow)")
    options = parser.parse_args()
    parts: list[str] = options.parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    core = pin()
    notes = [
        "one core for the server, another for the clients" if core is not None else "NOT pinned to cores",
        "the scripted model sends as fast as it can: sound is not paced",
    ]

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    rows = asyncio.run(measure(parts, options.quick, core, options.trace, tell))
    if options.quick or options.trace or options.parts:
        save("server_part", rows, notes, results=RESULTS.parent.parent / "out")
        for row in rows:
            print(row)
    else:
        write("server", rows, notes)
    return 0


def pin() -> int | None:
    """Run on one core; the one that is left for the server, where there is one."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return None
    os.sched_setaffinity(0, {cores[0]})
    return cores[-1]


if __name__ == "__main__":
    sys.exit(main())
