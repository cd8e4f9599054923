"""The server of the benchmark: a process of its own on a core of its own, and a pipe to ask it what it used.

A model in it streams ready-made speech, each piece with the time at which it was made in its first samples: the other
process has the same clock and knows how long a piece was on its way.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sayso import Agent
from sayso.items import Audio, Instruction, UserInput
from sayso.models.base import Done, ModelEvent, ModelRequest, Profile, Speech, Text
from sayso.server import ServerSettings, create_app
from sayso.server.run import serve
from sayso.tools.journal import Journal

AGENT = "streaming"
RATE_HZ = 24_000  # that of the protocol: nothing is resampled on the way out
PIECE_MS = 40
STAMP_SAMPLES = 4
_PIECE = np.sin(np.arange(RATE_HZ * PIECE_MS // 1000) * 0.05).astype(np.float32) * np.float32(0.1)


def stamped() -> Audio:
    """40 ms of a tone. Its first 4 samples, as 16-bit integers, are `time.monotonic_ns`."""
    samples = _PIECE.copy()
    samples[:STAMP_SAMPLES] = np.frombuffer(time.monotonic_ns().to_bytes(8, "little"), "<i2") / np.float32(32768)
    return Audio(samples, RATE_HZ)


class Streaming:
    """A model that is asked for ``COUNT EVERY_MS``: so many pieces of speech, one every so many milliseconds.

    With 0 milliseconds it makes them as fast as it can.
    """

    def __init__(self) -> None:
        self.profile = Profile(
            name="streaming", hears=True, speaks=True, sample_rate_hz=RATE_HZ, voices=("tone",), says_lines=True
        )

    async def warm(self, request: ModelRequest) -> None:
        """Nothing to load."""

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """The pieces."""
        last = next((item for item in reversed(request.items) if isinstance(item, UserInput | Instruction)), None)
        words = (last.text or "").split() if last is not None else []
        count, every_ms = (int(words[0]), int(words[1])) if len(words) == 2 else (1, 0)
        now = asyncio.get_running_loop().time
        start_s = now()
        yield Text("Here.")
        for number in range(count):
            await asyncio.sleep(max(0.0, start_s + number * every_ms / 1000 - now()) if every_ms else 0)
            yield Speech(stamped(), "")
        yield Done()

    async def say(self, text: str, voice: str | None = None) -> AsyncGenerator[Speech, None]:
        """Any line is a tone."""
        yield Speech(stamped(), text)

    async def aclose(self) -> None:
        """Nothing to free."""


def agent() -> Agent:
    """The agent that is served, and talked to without a server."""
    return Agent(model=Streaming(), journal=Journal())


@dataclass(frozen=True)
class Figures:
    """What the server used so far.

    Attributes:
        cpu_s: Of one core.
        rss_bytes: Its memory.
        waited_s: For its core, which others had.
        sessions: That are open.
        top: Where memory was allocated since the last time, in words, where that is traced.
    """

    cpu_s: float
    rss_bytes: int
    waited_s: float
    sessions: int
    top: list[str]


class Server:
    """The other process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = self._line()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def figures(self, *, collect: bool = False) -> Figures:
        """Ask it what it used; ``collect`` garbage before, where memory counts."""
        assert self._process.stdin is not None
        self._process.stdin.write("collect\n" if collect else "figures\n")
        self._process.stdin.flush()
        return Figures(**json.loads(self._line()))

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the server ended")
        return line.strip()


@contextmanager
def server(core: int | None = None, *, trace: bool = False, **settings: Any) -> Generator[Server]:
    """Inside, a server runs.

    Args:
        core: It runs on this one alone.
        trace: Trace where memory is allocated (slow).
        settings: Other than those of `main`.
    """
    options = json.dumps({"core": core, "trace": trace, "settings": settings})
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server.process", folder, options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("SERVER_LOG") else subprocess.DEVNULL,
            text=True,
            env=environment,
        ) as process,
    ):
        try:
            yield Server(process)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _figures(sessions: int, collect: bool, before: list[tracemalloc.Snapshot]) -> dict[str, Any]:
    cpu_s, top = time.process_time(), list[str]()
    if collect:
        gc.collect()
    if collect and tracemalloc.is_tracing():
        now = tracemalloc.take_snapshot()
        top = [str(line) for line in now.compare_to(before.pop(), "lineno")[:15]] if before else []
        before.append(now)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "cpu_s": cpu_s,
        "rss_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "waited_s": int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9,
        "sessions": sessions,
        "top": top,
    }


def main() -> None:
    """Serve until the process is told to end."""
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    if options["core"] is not None:
        os.sched_setaffinity(0, {options["core"]})
    if options["trace"]:
        tracemalloc.start(8)
    settings = {
        "port": 0,
        "warm": False,
        "max_sessions": 4000,
        "conversations": folder / "conversations.sqlite",
        **options["settings"],
    }
    app = create_app({AGENT: agent()}, ServerSettings.model_validate(settings))
    before: list[tracemalloc.Snapshot] = []

    def answer() -> None:
        asked = sys.stdin.readline()
        if not asked:
            asyncio.get_running_loop().remove_reader(sys.stdin)
            return
        print(json.dumps(_figures(len(app.state.host.sessions), asked.startswith("collect"), before)), flush=True)

    def started(url: str) -> None:
        asyncio.get_running_loop().add_reader(sys.stdin, answer)
        print(url, flush=True)

    asyncio.run(serve(app, started))


if __name__ == "__main__":
    main()
