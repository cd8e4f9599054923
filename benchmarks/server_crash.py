"""A server that is killed in mid-turn, again and again: no finished turn is lost, and nothing is done twice.

    python -m benchmarks.server_crash --kills 200

Clients of the agent endpoint let conversations count at full speed: each turn makes one write, and the tool appends a
line to a file, which is the world. The server is killed with SIGKILL after a random time and started anew on the same
files; the clients go on with the same conversations.

What has to hold after every death: a turn that a client saw the end of is in the conversation's history with its reply;
no number was counted twice; a number whose turn was seen to end was counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.report import write
from sayso import Agent, Context, tool
from sayso.client import Client, ClientError
from sayso.http import NetworkError
from sayso.items import AssistantReply, Item, UserInput
from sayso.models.base import CallClose, CallOpen, Done, ModelEvent, ModelRequest, Profile, Speech, Text
from sayso.server import ServerSettings, create_app
from sayso.server.run import serve
from sayso.tools.journal import Journal

CONVERSATIONS = 4
LONGEST_S = 0.4


class Counting:
    """A model that lets the number in the user's words be counted, and says so."""

    def __init__(self) -> None:
        self.profile = Profile(name="counting")

    async def warm(self, request: ModelRequest) -> None:
        """Nothing to load."""

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """One call, or a word."""
        last = request.items[-1]
        if isinstance(last, UserInput):
            yield CallOpen(0, "count")
            yield CallClose(0, {"number": int(last.text)}, last.text)
        else:
            yield Text("Counted.")
        yield Done()

    async def say(self, text: str, voice: str | None = None) -> AsyncGenerator[Speech, None]:
        """It has no voice."""
        for speech in ():
            yield speech

    async def aclose(self) -> None:
        """Nothing to free."""


@dataclass
class Tally:
    """What was found, over all kills. ``lost``, ``twice`` and ``never`` have to stay 0.

    Attributes:
        finished: Turns that a client saw the end of.
        cut: Turns that the server died in.
        took_effect: Of those that were cut, how many had counted.
    """

    kills: int = 0
    finished: int = 0
    cut: int = 0
    took_effect: int = 0
    lost: int = 0
    twice: int = 0
    never: int = 0
    restart_s: list[float] = field(default_factory=list[float])


@dataclass
class Talk:
    """One conversation: the numbers whose turns were seen to end, and those whose turn was cut."""

    name: str
    next: int = 1
    finished: list[int] = field(default_factory=list[int])
    cut: list[int] = field(default_factory=list[int])


def start(folder: Path, port: int) -> int:
    """Fork a server that runs until it is killed; its process."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # its log
        world = os.open(folder / "world", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

        @tool(effect="write", thread=False)
        def count(number: int, ctx: Context) -> int:
            """Count."""
            os.write(world, f"{number} {ctx.call_id}\n".encode())
            return number

        agent = Agent(model=Counting(), tools=[count], journal=Journal(folder / "journal.sqlite"))
        settings = ServerSettings(port=port, conversations=folder / "conversations.sqlite", warm=False)
        asyncio.run(serve(create_app({"counter": agent}, settings)))
    finally:
        os._exit(1)


async def ready(port: int) -> float:
    """Wait until the server takes connections; the seconds it took."""
    since_s = time.monotonic()
    while time.monotonic() - since_s < 30:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.005)
            continue
        writer.close()
        return time.monotonic() - since_s
    raise RuntimeError("the server did not start")


async def talk(client: Client, one: Talk, tally: Tally) -> None:
    """Go on with a conversation until the server dies."""
    try:
        session = await client.session("counter", id=one.name)
        history = await session.history()
        known = {number for number in one.finished if not _answered(history, number)}
        tally.lost += len(known)
        while True:
            number, one.next = one.next, one.next + 1
            one.cut.append(number)
            await session.ask(str(number))
            one.cut.remove(number)
            one.finished.append(number)
    except (NetworkError, ClientError):
        return


def _answered(history: tuple[Item, ...], number: int) -> bool:
    """Whether the turn of ``number`` is there from its question to its reply."""
    for at, item in enumerate(history):
        if isinstance(item, UserInput) and item.text == str(number):
            after = history[at + 1 : at + 4]
            return len(after) == 3 and isinstance(after[2], AssistantReply)
    return False


async def run(kills: int, seed: int, folder: Path) -> Tally:
    """Kill ``kills`` servers; what was found."""
    chance, tally = random.Random(seed), Tally()
    talks = [Talk(f"conversation-{number}", next=number * 1_000_000 + 1) for number in range(CONVERSATIONS)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for round in range(kills + 1):
        pid = start(folder, port)
        tally.restart_s.append(await ready(port))
        async with Client(f"http://127.0.0.1:{port}", timeout_s=30) as client:
            talking = [asyncio.create_task(talk(client, one, tally)) for one in talks]
            await asyncio.sleep(chance.uniform(0.02, LONGEST_S))
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(os.waitpid, pid, 0)
            await asyncio.gather(*talking)
        tally.kills += round < kills
        if sys.stderr.isatty():
            print(f"\r{tally.kills} kills", end="", file=sys.stderr)
    counted = Counter(int(line.split()[0]) for line in (folder / "world").read_text().splitlines())
    finished = {number for one in talks for number in one.finished}
    cut = {number for one in talks for number in one.cut}
    tally.finished, tally.cut = len(finished), len(cut)
    tally.took_effect = len(cut & set(counted))
    tally.twice = sum(times > 1 for times in counted.values())
    tally.never = len(finished - set(counted))
    return tally


def main() -> int:
    """Run, print, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = asyncio.run(run(options.kills, options.seed, Path(folder)))
    times = sorted(tally.restart_s)
    row = {**asdict(tally), "restart_s": round(times[len(times) // 2], 3)}
    write("server_crash", [row], ["lost, twice and never have to be 0; restart_s is the median"])
    return 1 if tally.lost or tally.twice or tally.never else 0


if __name__ == "__main__":
    sys.exit(main())
