"""Exactly once across deaths: processes that run agents are killed at random points, a thousand times.

    python -m benchmarks.crash --kills 1000

Two processes at a time run conversations at full speed on one journal. Their tools append a line to a file: that is the
world. One after the other is killed with SIGKILL after a random time, and a new process takes its conversation over: it
tells what it found in doubt, dispatches each of those calls again under its id (it must not run), and goes on.

What has to hold after every death: nothing was done that the journal has not begun; nothing was done twice; what the
journal has as worked was done; what was done and did not end well is in doubt; calls in doubt are just those that were
begun and not seen to end, each told once to the app and once to the model, and never run again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.report import write
from sayso import Agent, Context, Session, tool
from sayso.items import ToolCall, ToolOutput, UserInput
from sayso.models.base import CallClose, CallOpen, Done, ModelEvent, ModelRequest, Profile, Speech, Text
from sayso.tools import CallOutcome, Executor, Tool
from sayso.tools.journal import Entry, Journal

AT_ONCE = 2
LONGEST_S = 0.05
KILLS_A_CONVERSATION = 10
CHECKED_EVERY = 100
"""Kills between two looks at the whole world; what a new process finds in doubt is checked at each."""


def tools(world: int, conversation: str) -> list[Tool]:
    """Counters of each kind that a write can be; ``world`` is the descriptor of the file they append to."""

    def count(ctx: Context) -> None:
        os.write(world, f"{conversation} {ctx.call_id}\n".encode())

    @tool(effect="write")
    async def plain(number: int, ctx: Context) -> int:
        """Count."""
        count(ctx)
        return number

    @tool(effect="write", resource="counter")
    async def slow(number: int, ctx: Context) -> int:
        """Count between two pauses."""
        await asyncio.sleep(0.0005)
        count(ctx)
        await asyncio.sleep(0.0005)
        return number

    @tool(effect="write")
    def threaded(number: int, ctx: Context) -> int:
        """Count in a thread."""
        count(ctx)
        return number

    @tool(effect="write", background=True, reply=False)
    async def background(number: int, ctx: Context) -> int:
        """Count while the conversation goes on."""
        await asyncio.sleep(0.001)
        count(ctx)
        return number

    return [plain, slow, threaded, background]


class Caller:
    """A model that calls two tools at each request of the user, and says that it did."""

    def __init__(self, names: list[str], seed: int) -> None:
        self.profile = Profile(name="caller")
        self._names = names
        self._random = random.Random(seed)

    async def warm(self, request: ModelRequest) -> None:
        """Nothing to load."""

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Two calls, or a word."""
        if request.items and isinstance(request.items[-1], UserInput):
            for index in range(2):
                yield CallOpen(index, name := self._random.choice(self._names))
                yield CallClose(index, {"number": self._random.randrange(10**9)}, name)
        else:
            yield Text("Counted.")
        yield Done()

    async def say(self, text: str, voice: str | None = None) -> AsyncGenerator[Speech, None]:
        """It has no voice."""
        for speech in ():
            yield speech

    async def aclose(self) -> None:
        """Nothing to free."""


async def live(conversation: str, journal_file: Path, world_file: Path, seed: int, report: int) -> None:
    """Take a conversation over, tell what is in doubt, and go on until somebody kills this process."""
    world = os.open(world_file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    journal = Journal(journal_file)
    counters = tools(world, conversation)
    agent = Agent(tools=counters, model=Caller([counter.name for counter in counters], seed), journal=journal)
    session = agent.session(id=conversation)
    told = await taken_over(session, counters, journal)
    os.write(report, json.dumps(told).encode() + b"\n")
    while True:
        await session.ask("Count twice.")


async def taken_over(session: Session, counters: list[Tool], journal: Journal) -> dict[str, list[str]]:
    """What a new process knows of calls in doubt, and what comes of dispatching them again."""
    outcomes: list[CallOutcome] = []
    executor = Executor(counters, session=session.id, journal=journal, late=outcomes.append)
    for entry in session.in_doubt:
        outcomes.append(await executor.call(ToolCall(entry.call_id, entry.tool, json.loads(entry.arguments))))
    await executor.aclose()
    in_history = [item for item in session.history if isinstance(item, ToolOutput)]
    return {
        "app": sorted(entry.call_id for entry in session.in_doubt),
        "model": sorted(item.call_id for item in in_history if item.status == "in_doubt"),
        "again": [outcome.status for outcome in outcomes if outcome.status != "running"],
    }


@dataclass
class Child:
    """A process at work on a conversation."""

    pid: int
    conversation: int
    report: int

    @classmethod
    def start(cls, conversation: int, seed: int, folder: Path) -> Child:
        """Fork one from this process, which has everything loaded."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _child(live(f"c{conversation}", folder / "journal.sqlite", folder / "world", seed, writing))
        os.close(writing)
        return cls(pid, conversation, reading)

    def told(self) -> dict[str, list[str]]:
        """What it found in doubt.

        Raises:
            RuntimeError: It ended, or said nothing for a minute.
        """
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.report], [], [], 60)
            piece = os.read(self.report, 65536) if ready else b""
            if not piece:
                raise RuntimeError(f"process {self.pid} did not take over conversation {self.conversation}")
            line += piece
        return json.loads(line)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.report)
        if os.WTERMSIG(status) != signal.SIGKILL:
            raise RuntimeError(f"process {self.pid} ended by itself: {status}")


def _child(work: Any) -> NoReturn:
    try:
        asyncio.run(work)
    finally:
        os._exit(1)


@dataclass
class Tally:
    """What was found, over all kills. Everything from ``twice`` on has to stay 0."""

    kills: int = 0
    begun: int = 0
    ended: int = 0
    in_doubt: int = 0
    took_effect_in_doubt: int = 0
    twice: int = 0
    not_begun: int = 0
    lost: int = 0
    not_told: int = 0
    run_again: int = 0
    conversations: set[int] = field(default_factory=set[int])

    def take_over(self, conversation: int, told: dict[str, list[str]], journal_file: Path) -> None:
        """Compare what a new process told with the journal: before its first call nothing is in doubt but that."""
        journal = Journal(journal_file)
        rows = [entry.call_id for entry in journal.entries(f"c{conversation}") if entry.status == "in_doubt"]
        journal.close()
        self.not_told += told["app"] != sorted(rows)
        self.not_told += told["model"] != sorted(rows)
        self.run_again += told["again"] != ["in_doubt"] * len(rows)
        self.conversations.add(conversation)

    def look(self, folder: Path) -> None:
        """Compare the world with the journal."""
        journal = Journal(folder / "journal.sqlite")
        rows: dict[tuple[str, str], Entry] = {}
        for conversation in {f"c{number}" for number in self.conversations}:
            rows |= {(conversation, entry.call_id): entry for entry in journal.entries(conversation)}
        journal.close()
        lines = (folder / "world").read_text().splitlines()
        done = Counter((where, call_id) for where, call_id in (line.split() for line in lines))
        doubt = {key for key, entry in rows.items() if entry.status in (None, "in_doubt")}
        worked = {key for key, entry in rows.items() if entry.status == "ok"}
        self.begun, self.ended, self.in_doubt = len(rows), len(rows) - len(doubt), len(doubt)
        self.took_effect_in_doubt = len(doubt & set(done))
        self.twice = sum(count > 1 for count in done.values())
        self.not_begun = len(set(done) - set(rows))
        self.lost = len(worked - set(done)) + len(set(done) - worked - doubt)

    @property
    def failures(self) -> int:
        """How much went wrong."""
        return self.twice + self.not_begun + self.lost + self.not_told + self.run_again

    def row(self) -> dict[str, int]:
        """For the report."""
        return vars(self) | {"conversations": len(self.conversations)}


def kill_repeatedly(kills: int, seed: int, folder: Path) -> Tally:
    """Start, kill and take over until there were ``kills`` deaths; then look at all of it."""
    chance, tally = random.Random(seed), Tally()
    journal_file = folder / "journal.sqlite"
    deaths: Counter[int] = Counter()
    newest = AT_ONCE - 1

    def begin(conversation: int) -> Child:
        child = Child.start(conversation, chance.randrange(10**9), folder)
        tally.take_over(conversation, child.told(), journal_file)
        return child

    children = [begin(number) for number in range(AT_ONCE)]
    while tally.kills < kills:
        time.sleep(chance.uniform(0, LONGEST_S))
        victim = children.pop(chance.randrange(len(children)))
        victim.kill()
        tally.kills += 1
        deaths[victim.conversation] += 1
        follower = victim.conversation
        if deaths[follower] == KILLS_A_CONVERSATION:
            newest = follower = newest + 1
        children.append(begin(follower))
        if tally.kills % CHECKED_EVERY == 0:
            print(f"{tally.kills} kills, {tally.failures} failures", file=sys.stderr)
    for child in children:
        child.kill()
    for number in range(newest + 1):  # a last process looks at each conversation
        begin(number).kill()
    tally.look(folder)
    return tally


def main() -> int:
    """Kill, check and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = kill_repeatedly(options.kills, options.seed, Path(folder))
    notes = [
        f"{AT_ONCE} processes at a time on one journal, killed after 0 to {LONGEST_S * 1000:g} ms, seed {options.seed},"
        f" {time.monotonic() - started_s:.0f} s in all; every {KILLS_A_CONVERSATION} kills a new conversation",
        "twice, not_begun, lost, not_told, run_again: bar 0 each: " + ("MISSED" if tally.failures else "reached"),
        "took_effect_in_doubt: of the calls in doubt, those whose effect is in the world; nobody could know without it",
    ]
    write("crash", [tally.row()], notes)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
