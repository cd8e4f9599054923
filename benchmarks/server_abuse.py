"""What bad clients do to the server and to the others.

    python -m benchmarks.server_abuse

5,000 malformed messages on each of the two live protocols, bytes that are no WebSocket, readers who do not read,
connections that stop in the middle, sound 20 times as fast as it was spoken, an hour of silence; beside them sessions
that are sent speech all the time and must not feel it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any

from benchmarks.report import write
from benchmarks.server import abuse
from benchmarks.server.__main__ import pin
from benchmarks.server.malformed import Protocol
from benchmarks.server.process import Server, server

OTHERS = 5


async def run(served: Server, count: int, hours: float) -> list[dict[str, Any]]:
    """All of it; a row each."""
    rows: list[dict[str, Any]] = []

    def tell(what: str, found: str, harm: abuse.Harm, good: bool) -> None:
        good = good and not harm.lost and harm.p99_ms < 100
        rows.append(
            {
                "what": what,
                "found": found,
                "others p99 ms": round(harm.p99_ms, 1),
                "before": round(harm.before_ms, 1),
                "memory +MB": round(harm.grown_mb, 1),
                "good": "yes" if good else "NO",
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)

    protocols: tuple[Protocol, ...] = ("realtime", "agents")
    for protocol in protocols:
        messages = abuse.made(protocol, count)  # before: the others' clients are in this process
        async with abuse.watched(served, OTHERS, 2) as harm:
            found = await abuse.send_malformed(served.url, protocol, messages)
        text = f"{found.refused} refused, {found.taken} taken, {found.closed} closed"
        bad = f"{found.extra} with several errors, {found.faults} faults, {found.hung} hung"
        good = not (found.extra or found.faults or found.hung)
        tell(f"{found.sent} malformed messages, {protocol}", f"{text}; {bad}", harm, good)
    async with abuse.watched(served, OTHERS, 2) as harm:
        left = await abuse.send_frames(served.url)
    tell("bytes that are no WebSocket", f"left open: {', '.join(left) or 'none'}", harm, not left)
    async with abuse.watched(served, OTHERS, 2) as harm:
        readers = 3
        gone = await abuse.read_slowly(served, readers, 40_000, 20)
    tell(f"{readers} readers who do not read", f"{gone} let go", harm, gone == readers)
    async with abuse.watched(served, OTHERS, 2) as harm:
        await abuse.half_open(served, 200)
    tell("200 requests and 200 sockets that stop in the middle", "", harm, True)
    async with abuse.watched(served, OTHERS, 2) as harm:
        await abuse.flood(served.url, 1_000_000, 15)
    tell("1 MB/s of sound", "15 s", harm, True)
    async with abuse.watched(served, OTHERS, 2) as harm:
        took_s = await abuse.silence(served.url, hours)
    tell(f"{hours * 60:.0f} minutes of silence", f"heard in {took_s:.0f} s", harm, True)
    return rows


def main() -> int:
    """Run, print, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--hours", type=float, default=1.0)
    options = parser.parse_args()
    since_s = time.monotonic()
    with server(pin()) as served:
        rows = asyncio.run(run(served, options.messages, options.hours))
    write("server_abuse", rows, [f"{OTHERS} other sessions at 25 deltas/s; {time.monotonic() - since_s:.0f} s in all"])
    return 0 if all(row["good"] == "yes" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
