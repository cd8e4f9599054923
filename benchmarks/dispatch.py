"""What a call costs in the framework: from a parsed call to its outcome, the tool itself being trivial.

    python -m benchmarks.dispatch

Each row is timed in batches, because one call is too short for the clock; the numbers are per call. Bars: 15 µs for a
trivial inline pure tool (parsing done; validate, call, make the outcome, with its events), 150 µs with the journal on
(a file on disk, write-ahead log). Of 200 tools: 1 s to make them and their schemas, 5 ms to write them into the prompt.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from benchmarks.report import write
from sayso.items import ToolCall
from sayso.models.llm.prompt import opening
from sayso.tools import Context, Executor, Tool, tool
from sayso.tools.journal import Journal
from sayso.tools.round import CallEvent

BATCHES = 200
BAR_US = 15.0
JOURNAL_BAR_US = 150.0
TOOLS = 200
BUILD_BAR_S = 1.0
PROMPT_BAR_MS = 5.0


class Sum(BaseModel):
    """A small result."""

    total: int


@tool(effect="pure", thread=False)
def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


@tool(effect="pure", thread=False, say="That makes {total}.")
def add_model(a: int, b: int = 1) -> Sum:
    """Add, with a model and a template."""
    return Sum(total=a + b)


@tool(effect="read")
async def add_async(a: int, b: int = 1) -> int:
    """Add, in a task."""
    return a + b


@tool(effect="write")
async def add_write(a: int, b: int = 1) -> int:
    """Add, in the lane of the writes."""
    return a + b


@tool(effect="read")
def add_thread(a: int, b: int = 1) -> int:
    """Add, in a thread."""
    return a + b


ALL = [add, add_model, add_async, add_write, add_thread]
EXECUTOR = Executor(ALL)
CONTEXT = Context()
_ids = itertools.count()


def ignore(event: CallEvent) -> None:
    """Where a session would queue the event."""


async def in_one_round(name: str, count: int) -> None:
    """Start ``count`` calls in one round and wait for them."""
    async with EXECUTOR.round(CONTEXT, ignore) as calls:
        for index in range(count):
            calls.start(ToolCall("c", name, {"a": index}))
        await calls.outcomes()


async def round_each(name: str, count: int) -> None:
    """A round for every call, as a turn with a single call has it."""
    for index in range(count):
        async with EXECUTOR.round(CONTEXT, ignore) as calls:
            calls.start(ToolCall("c", name, {"a": index}))
            await calls.outcomes()


def journaled(executor: Executor) -> Callable[[str, int], Awaitable[None]]:
    """As `round_each`, with ids that are new and a journal."""

    async def work(name: str, count: int) -> None:
        for index in range(count):
            async with executor.round(CONTEXT, ignore) as calls:
                calls.start(ToolCall(f"call_{next(_ids)}", name, {"a": index}))
                await calls.outcomes()

    return work


async def validate_only(name: str, count: int) -> None:
    """The compiled validator."""
    validate = EXECUTOR.registry[name].validate
    for index in range(count):
        validate({"a": index})


async def measure(work: Callable[[str, int], Awaitable[None]], name: str, calls: int) -> dict[str, Any]:
    """Time ``BATCHES`` batches of ``calls`` calls; microseconds a call."""
    await work(name, calls)
    gc.collect()
    samples: list[float] = []
    used: list[float] = []
    for _ in range(BATCHES):
        started_ns, cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        await work(name, calls)
        used.append((time.process_time_ns() - cpu_ns) / calls / 1000)
        samples.append((time.perf_counter_ns() - started_ns) / calls / 1000)
    samples.sort()
    return {
        "median_us": round(statistics.median(samples), 2),
        "cpu_median_us": round(statistics.median(used), 2),
        "p95_us": round(samples[int(0.95 * len(samples))], 2),
        "min_us": round(samples[0], 2),
    }


class Place(BaseModel):
    """Where something is."""

    street: str
    number: int = 1


def varied(index: int) -> Tool:
    """A tool of one of four shapes, as agents have them; each is a function, a docstring and a schema of its own."""
    decorate = tool(name=f"tool_{index}", effect="read", examples={"Do it now": {"what": "tea"}}, say="{result}")
    match index % 4:
        case 0:

            async def look_up(what: str, day: Literal["today", "tomorrow"] = "today") -> str:
                """Look something up in a list that is kept elsewhere.

                Args:
                    what: The thing to look up.
                    day: For when.
                """
                return what

            return decorate(look_up)
        case 1:

            async def order(
                what: str, count: Annotated[int, Field(ge=1, le=99)] = 1, place: Place | None = None
            ) -> str:
                """Order something to a place. Use it when the user wants to have something brought.

                Args:
                    what: The thing.
                    count: How many.
                    place: Where to.
                """
                return what

            return decorate(order)
        case 2:

            async def search(what: str, tags: list[str] | None = None, limits: dict[str, float] | None = None) -> str:
                """Search a catalogue by words and limits."""
                return what

            return decorate(search)
        case _:

            async def mention(what: str) -> str:
                """Say something about a thing that the user names."""
                return what

            return decorate(mention)


def many_tools() -> list[dict[str, Any]]:
    """What 200 tools cost: to make, and to write into the prompt (its text; no model reads it)."""
    specs = [varied(index).spec for index in range(TOOLS)]
    return [
        timed(f"make {TOOLS} tools", lambda: [varied(index) for index in range(TOOLS)], 10),
        timed(f"prompt of {TOOLS} tools", lambda: opening("You help.", specs), BATCHES),
    ]


def timed(label: str, work: Callable[[], object], repeats: int) -> dict[str, Any]:
    """A row for something long: microseconds each time."""
    samples: list[float] = []
    for _ in range(repeats):
        started_ns = time.perf_counter_ns()
        work()
        samples.append((time.perf_counter_ns() - started_ns) / 1000)
    samples.sort()
    return {
        "dispatch": label,
        "median_us": round(statistics.median(samples)),
        "p95_us": round(samples[int(0.95 * len(samples))]),
        "min_us": round(samples[0]),
    }


def verdict(value: float, bar: float) -> str:
    """Whether a bar was reached."""
    return f"{'reached' if value <= bar else 'MISSED'} ({value})"


async def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.sqlite")
        try:
            await measure_all(journal)
        finally:
            journal.close()


async def measure_all(journal: Journal) -> None:
    """All rows."""
    with_journal = journaled(Executor(ALL, session="benchmark", journal=journal))
    cases: list[tuple[str, Callable[[str, int], Awaitable[None]], str, int]] = [
        ("validate only", validate_only, "add", 200),
        ("inline pure, returns int", in_one_round, "add", 200),
        ("inline pure, returns int, a round each", round_each, "add", 200),
        ("inline pure, returns model, say template", in_one_round, "add_model", 200),
        ("async read, 200 at once", in_one_round, "add_async", 200),
        ("async read, a round each", round_each, "add_async", 50),
        ("async write, in order", in_one_round, "add_write", 50),
        ("sync read in a thread, a round each", round_each, "add_thread", 20),
        ("inline pure, a round each, journal on", with_journal, "add", 50),
        ("async write, a round each, journal on", with_journal, "add_write", 50),
    ]
    rows: list[dict[str, Any]] = []
    for label, work, name, calls in cases:
        rows.append({"dispatch": label, **await measure(work, name, calls)})
    plain, kept = (
        next(row["median_us"] for row in rows if row["dispatch"] == f"inline pure, {what}")
        for what in ("returns int, a round each", "a round each, journal on")
    )
    made, prompt = many_tools()
    rows += [made, prompt]
    notes = [
        f"bar: {BAR_US:g} µs median for an inline pure call in a round of its own: {verdict(plain, BAR_US)}",
        f"bar: {JOURNAL_BAR_US:g} µs median for it with the journal on: {verdict(kept, JOURNAL_BAR_US)}",
        f"bar: {BUILD_BAR_S:g} s to make {TOOLS} tools of four shapes: {verdict(made['median_us'] / 1e6, BUILD_BAR_S)}",
        f"bar: {PROMPT_BAR_MS:g} ms for the prompt of them: {verdict(prompt['median_us'] / 1000, PROMPT_BAR_MS)}",
        f"{BATCHES} batches a row, microseconds a call, events emitted to a function that drops them",
        "wall time grows with the machine's load (named above); cpu_median_us is the processor time of all threads",
    ]
    write("dispatch", rows, notes)


if __name__ == "__main__":
    asyncio.run(main())
