"""No schedule repeats a write, loses its outcome, or lets one run that was withdrawn or that nobody agreed to.

Conversations are made up by hypothesis: turns that are interrupted, guessed too early and withdrawn, approved and
refused, timed out, and processes that die in the middle. A process that dies takes its `Journal` with it at once:
what its tasks do afterwards is neither seen nor counted.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sayso import Agent, Session, tool
from sayso.errors import UsageError
from sayso.items import ToolCall, ToolOutput, UserInput, unanswered_calls
from sayso.models.base import ModelEvent, ModelRequest
from sayso.testing import ScriptedModel, call, run, say
from sayso.tools import Executor, Tool
from sayso.tools.journal import Journal

TIMEOUT_S = 4


@dataclass
class World:
    """What the tools did, as it would be found in the world afterwards. It survives every process."""

    entered: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    ended: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)  # labels of turns that were taken back
    cut: set[str] = field(default_factory=set)  # and of turns that were interrupted
    agreed: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    alive: bool = True
    writing: int = 0

    async def act(self, label: str, kind: str, before: int, after: int) -> str:
        if not self.alive:
            self.broken.append(f"{label} began in a dead process")
        if kind != "look":
            self.entered[label] += 1
            self.writing += 1
            if self.writing > 1:
                self.broken.append(f"{label} beside another write")
            if label in self.withdrawn or (label in self.cut and kind != "order"):
                self.broken.append(f"{label} began in a turn that was cut off")
            if kind == "pay" and label not in self.agreed:
                self.broken.append(f"{label} began and nobody agreed")
        try:
            await asyncio.sleep(before)
            self.effects[label] += self.alive
            await asyncio.sleep(after)
        finally:
            self.writing -= kind != "look"
        self.ended.add(label)
        return label


def tools(world: World) -> list[Tool]:
    @tool(effect="read", timeout_s=TIMEOUT_S)
    async def look(label: str, before: int, after: int) -> str:
        """Look."""
        return await world.act(label, "look", before, after)

    @tool(effect="write", timeout_s=TIMEOUT_S)
    async def book(label: str, before: int, after: int) -> str:
        """Book."""
        return await world.act(label, "book", before, after)

    @tool(effect="irreversible", timeout_s=TIMEOUT_S, confirm="Shall I pay for {label}?")
    async def pay(label: str, before: int, after: int) -> str:
        """Pay."""
        return await world.act(label, "pay", before, after)

    @tool(effect="write", timeout_s=TIMEOUT_S, background=True)
    async def order(label: str, before: int, after: int) -> str:
        """Order."""
        return await world.act(label, "order", before, after)

    return [look, book, pay, order]


# --- one call id, dispatched again and again ------------------------------------------------------------------------

dispatches = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 6), st.none() | st.integers(0, 6)),  # which, when, given up after
    max_size=8,
)
lives = st.lists(st.tuples(dispatches, st.integers(0, 9)), min_size=1, max_size=4)  # and when the process dies


@settings(max_examples=60)
@given(lives)
def test_a_call_id_is_begun_once_however_often_it_is_dispatched(plan: list[Any]) -> None:
    world = World()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        for made, dies_s in plan:
            run(dispatch(world, path, made, dies_s))
        journal = Journal(path)
        rows = {entry.call_id: entry for entry in journal.entries("talk")}
        journal.close()
    assert world.broken == []
    assert all(count == 1 for count in world.entered.values())
    assert set(world.entered) == set(rows)
    assert all(world.effects[call_id] == 1 for call_id, entry in rows.items() if entry.status == "ok")


async def dispatch(world: World, path: Path, made: list[Any], dies_s: int) -> None:
    journal = Journal(path)
    in_doubt = {entry.call_id for entry in journal.take_over("talk")}
    executor = Executor(tools(world), session="talk", journal=journal)
    world.alive, world.writing = True, 0

    async def attempt(which: int, at_s: int, given_up_s: int | None) -> None:
        await asyncio.sleep(at_s)
        label = f"c{which}"
        with suppress(TimeoutError):
            async with asyncio.timeout(given_up_s):
                outcome = await executor.call(ToolCall(label, "book", {"label": label, "before": 2, "after": 1}))
                if label in in_doubt and outcome.status != "in_doubt":
                    world.broken.append(f"{label} is in doubt and read {outcome.status}")
                if outcome.status == "ok" and label not in world.ended:
                    world.broken.append(f"{label} was said to have worked")

    tasks = [asyncio.create_task(attempt(*one)) for one in made]
    await asyncio.sleep(dies_s)
    world.alive = False
    journal.close()
    for task in tasks:
        task.cancel()


# --- whole conversations --------------------------------------------------------------------------------------------


class Obedient(ScriptedModel):
    """Calls what the user's words stand for, and answers when it is shown a result."""

    def __init__(self, plans: dict[str, list[Any]]) -> None:
        super().__init__()
        self.plans = plans

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        last = request.items[-1]
        planned = self.plans.get(last.text, []) if isinstance(last, UserInput) else []
        actions: list[Any] = [*say("Well."), *(call(name, **arguments) for name, arguments in planned)]
        async for event in ScriptedModel((None, actions)).respond(request):
            yield event


NAMES = st.sampled_from(["look", "book", "pay", "order"])
CALLS = st.lists(st.tuples(NAMES, st.integers(0, 3), st.integers(0, 3)), max_size=3)
PLAYED = st.none() | st.integers(0, 2000)
ANSWERS = st.sampled_from(["yes", "no", "yes, no wait, fifteen", "silence", "approve", "refuse", "wrong id"])
STEPS = st.one_of(
    st.tuples(st.just("turn"), CALLS),
    st.tuples(st.just("interrupted"), CALLS, st.integers(0, 6), PLAYED),
    st.tuples(st.just("guessed"), CALLS, st.integers(0, 4), st.booleans()),
    st.tuples(st.just("dies"), CALLS, st.integers(0, 6)),
    st.tuples(st.just("answer"), ANSWERS),
    st.tuples(st.just("pause"), st.integers(0, 8)),
    st.tuples(st.just("stop")),
    st.tuples(st.just("follow up")),
)


class Died(Exception):
    """The process was killed."""


class Conversation:
    """One process's part of the conversation."""

    def __init__(self, world: World, plans: dict[str, list[Any]], journal: Journal) -> None:
        self.world = world
        self.plans = plans
        self.session: Session = Agent(tools=tools(world), model=Obedient(plans), journal=journal).session(id="talk")
        self.done = 0

    def plan(self, calls: list[Any]) -> tuple[str, set[str]]:
        """Words that stand for ``calls``, and the labels of these."""
        words = f"task {len(self.plans)}"
        planned = [
            (name, {"label": f"{words}.{index}", "before": before, "after": after})
            for index, (name, before, after) in enumerate(calls)
        ]
        self.plans[words] = planned
        return words, {arguments["label"] for _, arguments in planned}

    async def run(self, steps: list[Any]) -> None:
        for step in steps:
            self.done += 1
            await getattr(self, "do_" + step[0].replace(" ", "_"))(*step[1:])
            self.check_history()
        async with self.session:
            pass
        self.check_history()

    async def do_turn(self, calls: list[Any]) -> None:
        result = await self.session.ask(self.plan(calls)[0])
        for report in result.calls:
            if report.status == "ok" and report.output != report.arguments["label"]:
                self.world.broken.append(f"{report.arguments['label']} was answered with the result of another call")

    async def do_interrupted(self, calls: list[Any], at_s: int, played_ms: int | None) -> None:
        words, labels = self.plan(calls)
        turn = asyncio.create_task(self.session.ask(words))
        await asyncio.sleep(at_s)
        if not turn.done():
            self.world.cut |= labels - set(self.world.entered)
        await self.session.interrupt(played_ms)
        await turn

    async def do_guessed(self, calls: list[Any], at_s: int, right: bool) -> None:
        words, labels = self.plan(calls)
        if not self.session.conductor.may_anticipate:
            return
        confirmed = asyncio.Event()
        turn = asyncio.create_task(
            self.session.conductor.run_turn(self.session.conductor.answer(words), lambda event: None, confirmed)
        )
        await asyncio.sleep(at_s)
        if labels & set(self.world.entered):
            self.world.broken.append(f"{words} began to write before it was certain")
        if right:
            self.session.conductor.turns.confirm(confirmed)
        else:
            self.world.withdrawn |= labels
            known = self.session.history
            await self.session.conductor.turns.withdraw()
            if self.session.history[: len(known)] != known or any(
                isinstance(item, ToolCall) and item.arguments["label"] in labels for item in self.session.history
            ):
                self.world.broken.append(f"{words} was withdrawn and left something")
        await turn

    async def do_dies(self, calls: list[Any], at_s: int) -> None:
        turn = asyncio.create_task(self.session.ask(self.plan(calls)[0]))
        await asyncio.sleep(at_s)
        turn.cancel()
        raise Died

    async def do_answer(self, answer: str) -> None:
        waiting = self.session.approval
        if waiting is not None and answer in ("yes", "approve"):
            self.world.agreed.add(waiting.job.arguments["label"])
        match answer:
            case "silence":
                await asyncio.sleep(60)
            case "approve" if waiting is not None:
                await self.session.approve(waiting.call_id)
            case "refuse" if waiting is not None:
                self.session.refuse(waiting.call_id)
            case "approve" | "refuse" | "wrong id":
                with suppress(UsageError):
                    await self.session.approve("call_0_0")
                    self.world.broken.append("a call that does not wait was approved")
            case words:
                await self.session.ask(words)

    async def do_pause(self, seconds: int) -> None:
        await asyncio.sleep(seconds)

    async def do_stop(self) -> None:
        for running in self.session.running:
            self.session.cancel_call(running.call_id)

    async def do_follow_up(self) -> None:
        await self.session.follow_up()

    def check_history(self) -> None:
        history = self.session.history
        if unanswered_calls(history):
            self.world.broken.append("a call in history has no output")
        called: set[str] = set()
        for item in history:
            called |= {item.call_id} if isinstance(item, ToolCall) else set()
            if isinstance(item, ToolOutput) and item.call_id not in called:
                self.world.broken.append(f"an output in history has no call: {item}")


@settings(max_examples=150)
@given(st.lists(STEPS, min_size=1, max_size=9))
def test_no_conversation_repeats_a_write_or_runs_one_that_it_may_not(steps: list[Any]) -> None:
    world, plans = World(), dict[str, list[Any]]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        while steps:
            steps = run(life(world, plans, path, steps))
            check_journal(world, path)
    assert world.broken == []


async def life(world: World, plans: dict[str, list[Any]], path: Path, steps: list[Any]) -> list[Any]:
    """One process: it runs until it is killed, and gives back what is left to do."""
    journal = Journal(path)
    was_open = {entry.call_id for entry in journal.in_doubt("talk")}
    world.alive, world.writing = True, 0
    talk = Conversation(world, plans, journal)
    assert {entry.call_id for entry in talk.session.in_doubt} == was_open
    told = [item for item in talk.session.history if isinstance(item, ToolOutput)]
    assert sorted(item.call_id for item in told) == sorted(was_open)
    assert all(item.status == "in_doubt" for item in told)
    with suppress(Died):
        await talk.run(steps)
        assert all(entry.status is not None for entry in journal.entries("talk"))
    world.alive = False
    journal.close()
    return steps[talk.done :]


def check_journal(world: World, path: Path) -> None:
    """What was done, and what is written of it."""
    journal = Journal(path)
    rows = {}
    for entry in journal.entries("talk"):
        label = entry.arguments.partition('"label":"')[2].partition('"')[0]
        if entry.effect != "read":
            assert label not in rows, f"{label} was begun under two ids"
            rows[label] = entry
    journal.close()
    assert set(world.entered) == set(rows)
    assert all(count == 1 for count in world.entered.values())
    for label, entry in rows.items():
        assert world.effects[label] <= 1
        if entry.status == "ok":
            assert world.effects[label] == 1
    worked = sum(entry.status == "ok" for entry in rows.values())
    unknown = sum(entry.status != "ok" for entry in rows.values())
    assert worked <= sum(world.effects[label] for label in rows) <= worked + unknown
