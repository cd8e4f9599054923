"""What the programs share that drive a Python client: its arguments, speech in real time, checks, the report.

Each program gets the server's address, a key and a folder of questions (16-bit PCM, 24 kHz), runs its cases one after
the other and prints one JSON object: ``{case: {"passed": bool, "note": str}}``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

URL, KEY = sys.argv[1].rstrip("/"), sys.argv[2]
SOUNDS = Path(sys.argv[3])
RATE_HZ = 24_000
FRAME_S = 0.02
LONGEST_S = 75.0
"""Of a case: the embedded model may have to load first, on a machine that does other things too."""

INSTRUCTIONS = "You are a friendly voice assistant. Use a tool where one fits."
STORY = "Please tell me a long story about a fox and a hen, of ten sentences."
TOOL = {
    "name": "time_in_city",
    "description": "Tells the time of day in a city. Use it whenever the user asks what time it is somewhere.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Name of the city."}},
        "required": ["city"],
    },
}
TOOL_SAYS = "It is 9:41 in the morning."
Case = Callable[[], Awaitable[str]]


class Broken(Exception):
    """The server did something else than the protocol says."""


def check(holds: object, otherwise: str) -> None:
    """Fail the case unless ``holds``."""
    if not holds:
        raise Broken(otherwise)


def frames(name: str, after_s: float = 1.2) -> list[bytes]:
    """A question, then silence, in pieces of 20 ms."""
    sound = (SOUNDS / f"{name}.pcm").read_bytes() + bytes(2 * round(RATE_HZ * after_s))
    size = 2 * round(RATE_HZ * FRAME_S)
    return [sound[start : start + size] for start in range(0, len(sound), size)]


async def speak(send: Callable[[bytes], Awaitable[None]], name: str, after_s: float = 1.2) -> None:
    """Send a question as fast as a microphone does."""
    start_s = time.monotonic()
    for number, frame in enumerate(frames(name, after_s)):
        await asyncio.sleep(max(0.0, start_s + number * FRAME_S - time.monotonic()))
        await send(frame)


async def history() -> list[dict[str, Any]]:
    """What the only open session holds."""

    def get() -> Any:
        with urlopen(f"{URL}/conformance/history", timeout=5) as answer:
            return json.load(answer)

    sessions = await asyncio.to_thread(get)
    check(len(sessions) == 1, f"{len(sessions)} sessions are open, not one")
    return sessions[0]


async def check_cut(heard_s: float) -> str:
    """The first reply of the session was cut to what was heard of it, which is at most ``heard_s``."""
    for _ in range(40):
        found = [item for item in await history() if item["type"] == "assistant"]
        if found and found[0]["interrupted"] and len(found[0]["text"]) <= 25 * heard_s + 20:
            return f"history: {found[0]['text']!r}"
        await asyncio.sleep(0.1)
    raise Broken(f"history after {heard_s:.1f} s of sound: {found}")


def check_tokyo(arguments: str | dict[str, Any]) -> None:
    """The tool was asked for the right city."""
    check("tokyo" in str(arguments).lower(), f"the tool was given {arguments!r}")


def check_time(words: str) -> None:
    """The answer uses what the tool said."""
    check(any(one in words.lower() for one in ("9", "nine")), f"the tool's result is not in {words!r}")


def check_sum(words: str) -> None:
    """The answer uses what the server's tool found."""
    check(any(one in words.lower() for one in ("45", "forty")), f"the result is not in {words!r}")


def run(**cases: Case) -> None:
    """Run the cases and print what came of them."""
    wanted = sys.argv[4:]
    found = asyncio.run(_run({name: case for name, case in cases.items() if not wanted or name in wanted}))
    print(json.dumps(found), flush=True)


async def _run(cases: dict[str, Case]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, case in cases.items():
        start_s = time.monotonic()
        try:
            passed, note = True, await asyncio.wait_for(case(), LONGEST_S)
        except TimeoutError:
            passed, note = False, f"nothing after {LONGEST_S:.0f} s"
        except Exception as error:
            traceback.print_exc()
            passed, note = False, f"{type(error).__name__}: {error}"[:300]
        found[name] = {"passed": passed, "note": note, "seconds": round(time.monotonic() - start_s, 1)}
    return found
