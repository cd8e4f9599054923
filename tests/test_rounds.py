"""The calls of a round: order, parallelism, one write at a time, and what an interruption may and may not stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.errors import ModelError
from sayso.events import CallFinished, CallStarted
from sayso.items import ToolCall
from sayso.testing import run
from sayso.tools import CallOutcome, Context, Executor, tool


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class World:
    """What tools did, and when."""

    begun: list[tuple[str, float]] = field(default_factory=list)
    ended: list[tuple[str, float]] = field(default_factory=list)
    running: int = 0
    most: int = 0


@tool(effect="read", timeout_s=60)
async def look(name: str, seconds: float, ctx: Context) -> str:
    """Look for a while."""
    return await work(ctx.state["world"], name, seconds)


@tool(effect="write", timeout_s=60)
async def change(name: str, seconds: float, ctx: Context) -> str:
    """Change something, slowly."""
    return await work(ctx.state["world"], name, seconds)


@tool(effect="irreversible", timeout_s=60, approval=False)
async def send(name: str, seconds: float, ctx: Context) -> str:
    """Send something, slowly."""
    return await work(ctx.state["world"], name, seconds)


@tool(effect="read", timeout_s=60, max_concurrency=2)
async def narrow(name: str, seconds: float, ctx: Context) -> str:
    """Look, two at a time."""
    return await work(ctx.state["world"], name, seconds)


@tool(effect="pure", thread=False)
def now_value(name: str) -> str:
    """Give back at once."""
    return name


async def work(world: World, name: str, seconds: float) -> str:
    world.begun.append((name, now()))
    world.running += 1
    world.most = max(world.most, world.running)
    try:
        await asyncio.sleep(seconds)
        world.ended.append((name, now()))
    finally:
        world.running -= 1
    return name


TOOLS = [look, change, send, narrow, now_value]


def call(name: str, label: str, seconds: float | None = None) -> ToolCall:
    return ToolCall(label, name, {"name": label} | ({} if seconds is None else {"seconds": seconds}))


class Bench:
    """An executor with its world, its events and its late outcomes."""

    def __init__(self) -> None:
        self.world = World()
        self.events: list[Any] = []
        self.late: list[CallOutcome] = []
        self.executor = Executor(TOOLS, late=self.late.append, notify=self.events.append)
        self.ctx = Context(state={"world": self.world})

    def round(self) -> Any:
        return self.executor.round(self.ctx, self.events.append)

    def check_events(self) -> None:
        """One end a call, at most one start, and that before the end."""
        finished = [event.call_id for event in self.events if isinstance(event, CallFinished)]
        started = [event.call_id for event in self.events if isinstance(event, CallStarted)]
        assert len(set(finished)) == len(finished) and len(set(started)) == len(started)
        assert set(started) <= set(finished)
        for event in self.events:
            if isinstance(event, CallFinished) and event.call_id in started:
                kinds = [type(other) for other in self.events if getattr(other, "call_id", "") == event.call_id]
                assert kinds[0] is CallStarted and kinds[-1] is CallFinished


def test_reads_run_in_parallel_and_come_back_in_call_order() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.round() as calls:
            calls.start(call("look", "a", 3))
            calls.start(call("look", "b", 1))
            calls.start(call("now_value", "c"))
            outcomes = await calls.outcomes()
        assert [found.value for found in outcomes] == ["a", "b", "c"]
        assert now() == pytest.approx(3)
        assert [name for name, _ in bench.world.ended] == ["b", "a"]
        bench.check_events()

    run(main())


def test_a_call_runs_while_the_next_one_is_still_being_written() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.round() as calls:
            calls.start(call("look", "a", 3))
            await asyncio.sleep(2)  # the model writes on
            calls.start(call("look", "b", 1))
            await calls.outcomes()
        assert now() == pytest.approx(3)

    run(main())


def test_writes_run_one_at_a_time_in_call_order_beside_reads() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.round() as calls:
            calls.start(call("change", "w1", 2))
            calls.start(call("look", "r", 3))
            calls.start(call("send", "w2", 1))
            calls.start(call("change", "w3", 1))
            outcomes = await calls.outcomes()
        assert [found.value for found in outcomes] == ["w1", "r", "w2", "w3"]
        begun = dict(bench.world.begun)
        assert [begun[name] for name in ("w1", "r", "w2", "w3")] == [0, 0, 2, 3]
        assert now() == pytest.approx(4)

    run(main())


def test_a_limit_is_honoured_across_sessions() -> None:
    async def main() -> None:
        one, two = Bench(), Bench()
        two.ctx = one.ctx
        async with one.round() as first, two.round() as second:
            for index in range(3):
                first.start(call("narrow", f"a{index}", 1))
                second.start(call("narrow", f"b{index}", 1))
            await first.outcomes()
            await second.outcomes()
        assert one.world.most == 2
        assert now() == pytest.approx(3)

    run(main())


def test_waiting_for_a_place_is_bounded_too() -> None:
    @tool(effect="read", timeout_s=2, max_concurrency=1)
    async def hang() -> None:
        """Hang."""
        await asyncio.Event().wait()

    async def main() -> None:
        async with Executor([hang]).round(Context()) as calls:
            calls.start(ToolCall("a", "hang", {}))
            await asyncio.sleep(1)
            calls.start(ToolCall("b", "hang", {}))
            calls.start(ToolCall("c", "hang", {}))
            outcomes = await calls.outcomes()
        assert [found.status for found in outcomes] == ["timeout"] * 3
        assert "busy with other calls" in outcomes[2].output

    run(main())


def test_a_thousand_parallel_reads_lose_nothing() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.round() as calls:
            for index in range(1000):
                calls.start(call("look", str(index), index % 7))
            outcomes = await calls.outcomes()
        assert [found.value for found in outcomes] == [str(index) for index in range(1000)]
        bench.check_events()

    run(main())


def test_hundreds_of_sync_tools_at_once_lose_nothing() -> None:
    @tool(effect="read")
    def double(x: int) -> int:
        """Double."""
        return 2 * x

    async def main() -> None:
        async with Executor([double]).round(Context()) as calls:
            for index in range(300):
                calls.start(ToolCall(str(index), "double", {"x": index}))
            outcomes = await calls.outcomes()
        assert [found.value for found in outcomes] == [2 * index for index in range(300)]

    run(main())


# --- interruption ---------------------------------------------------------------------------------------------------


async def interrupted(bench: Bench, after_s: float, *calls_made: ToolCall) -> list[CallOutcome]:
    """Run a round and cancel its task after some time; what the cancelled turn can still read."""
    rounds: list[Any] = []

    async def turn() -> None:
        async with bench.round() as calls:
            rounds.append(calls)
            for made in calls_made:
                calls.start(made)
            await calls.outcomes()

    task = asyncio.create_task(turn())
    await asyncio.sleep(after_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return rounds[0].finished


def test_an_interruption_stops_reads_at_once() -> None:
    async def main() -> None:
        bench = Bench()
        finished = await interrupted(bench, 1, call("look", "a", 5))
        assert now() == pytest.approx(1)
        assert [(found.status, found.value) for found in finished] == [("cancelled", None)]
        assert bench.world.ended == [] and bench.world.running == 0
        bench.check_events()

    run(main())


def test_an_interruption_loses_no_result_that_was_there() -> None:
    async def main() -> None:
        bench = Bench()
        finished = await interrupted(
            bench, 2, call("change", "w", 1), call("look", "r", 1), call("look", "slow", 9), call("now_value", "i")
        )
        assert [found.status for found in finished] == ["ok", "ok", "cancelled", "ok"]
        assert bench.late == []

    run(main())


def test_a_write_that_has_begun_runs_on_and_its_outcome_is_delivered_once() -> None:
    async def main() -> None:
        bench = Bench()
        finished = await interrupted(bench, 1, call("change", "w1", 5), call("change", "w2", 5), call("look", "r", 5))
        assert now() == pytest.approx(1)
        assert [(found.call_id, found.status) for found in finished] == [("w2", "cancelled"), ("r", "cancelled")]
        assert "was not run" in finished[0].output
        assert bench.late == []
        await bench.executor.aclose()
        assert now() == pytest.approx(5)
        assert [(found.call_id, found.status, found.value) for found in bench.late] == [("w1", "ok", "w1")]
        assert [name for name, _ in bench.world.begun] == ["w1", "r"]
        bench.check_events()

    run(main())


def test_the_next_turn_s_writes_wait_for_the_one_that_was_left_running() -> None:
    async def main() -> None:
        bench = Bench()
        await interrupted(bench, 1, call("change", "w1", 5))
        async with bench.round() as calls:
            calls.start(call("change", "w2", 1))
            await calls.outcomes()
        assert dict(bench.world.begun) == {"w1": 0, "w2": 5}

    run(main())


def test_a_write_left_running_keeps_its_time_out() -> None:
    @tool(effect="write", timeout_s=3)
    async def hang() -> None:
        """Hang."""
        await asyncio.Event().wait()

    async def main() -> None:
        bench = Bench()
        bench.executor = Executor([hang], late=bench.late.append)
        await interrupted(bench, 1, ToolCall("w", "hang", {}))
        await bench.executor.aclose()
        assert now() == pytest.approx(3)
        assert [found.status for found in bench.late] == ["timeout"]

    run(main())


def test_closing_can_itself_be_cut_short() -> None:
    async def main() -> None:
        bench = Bench()
        await interrupted(bench, 1, call("change", "w", 50))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await bench.executor.aclose()
        assert now() == pytest.approx(3)
        assert bench.world.running == 0
        assert [found.status for found in bench.late] == ["cancelled"]

    run(main())


def test_a_failing_turn_keeps_its_own_error_and_stops_the_calls() -> None:
    async def main() -> None:
        bench = Bench()
        with pytest.raises(ModelError, match="broken"):
            async with bench.round() as calls:
                calls.start(call("look", "a", 5))
                raise ModelError("broken")
        assert [found.status for found in calls.finished] == ["cancelled"]
        assert now() == pytest.approx(0)

    run(main())


def test_leaving_the_scope_without_asking_waits() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.round() as calls:
            calls.start(call("look", "a", 5))
        assert [found.value for found in calls.finished] == ["a"]
        with pytest.raises(RuntimeError, match="over"):
            calls.start(call("look", "b", 5))

    run(main())


def test_a_refused_call_has_an_outcome_and_does_not_run() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.round() as calls:
            calls.refuse(call("change", "w", 1), "No more calls in this turn.")
            (found,) = await calls.outcomes()
        assert (found.status, found.output) == ("cancelled", "No more calls in this turn.")
        assert bench.world.begun == []
        bench.check_events()

    run(main())


def test_an_emitter_that_breaks_is_not_swallowed() -> None:
    def broken(event: object) -> None:
        if isinstance(event, CallFinished):
            raise RuntimeError("emit")

    async def main() -> None:
        bench = Bench()
        async with bench.executor.round(bench.ctx, broken) as calls:
            calls.start(call("look", "a", 1))
            await calls.outcomes()

    with pytest.raises(RuntimeError, match="emit"):
        run(main())


# --- property: no schedule of turns, interruptions and time-outs breaks the rules -----------------------------------


@dataclass
class Ledger:
    """Counts what each write did."""

    begun: dict[str, int] = field(default_factory=dict)
    withdrawn_turns: set[str] = field(default_factory=set)
    writing: int = 0


@tool(effect="write", timeout_s=3)
async def book(label: str, turn: str, seconds: float, ctx: Context) -> str:
    """Book."""
    ledger: Ledger = ctx.state["ledger"]
    assert turn not in ledger.withdrawn_turns, "a write began in a withdrawn turn"
    ledger.begun[label] = ledger.begun.get(label, 0) + 1
    ledger.writing += 1
    assert ledger.writing == 1, "two writes at once"
    try:
        await asyncio.sleep(seconds)
    finally:
        ledger.writing -= 1
    return label


@tool(effect="read", timeout_s=3)
async def read(label: str, turn: str, seconds: float) -> str:
    """Read."""
    await asyncio.sleep(seconds)
    return label


turns = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(["book", "read"]), st.integers(0, 5)), min_size=1, max_size=5),
        st.none() | st.integers(0, 6),  # seconds until the user interrupts
        st.integers(0, 3),  # seconds until the next turn
    ),
    min_size=1,
    max_size=5,
)


@given(turns)
def test_no_schedule_repeats_loses_or_overlaps_a_write(plan: list[Any]) -> None:
    async def main() -> None:
        ledger, late, told = Ledger(), [], []
        executor = Executor([book, read], late=late.append, notify=told.append)
        ctx = Context(state={"ledger": ledger})
        made: dict[str, str] = {}

        async def turn(number: int, calls_made: list[tuple[str, int]], keep: Callable[[Any], None]) -> None:
            async with executor.round(ctx, told.append) as calls:
                keep(calls)
                for index, (name, seconds) in enumerate(calls_made):
                    label = f"{number}.{index}"
                    made[label] = name
                    arguments = {"label": label, "turn": str(number), "seconds": seconds}
                    calls.start(ToolCall(label, name, arguments))
                await calls.outcomes()

        answered: dict[str, CallOutcome] = {}
        for number, (calls_made, interrupt_s, pause_s) in enumerate(plan):
            rounds: list[Any] = []
            task = asyncio.create_task(turn(number, calls_made, rounds.append))
            if interrupt_s is not None:
                await asyncio.sleep(interrupt_s)
                if not task.done():
                    task.cancel()
                    ledger.withdrawn_turns.add(str(number))
            await asyncio.wait([task])
            if rounds:
                answered |= {found.call_id: found for found in rounds[0].finished}
            await asyncio.sleep(pause_s)
        await executor.aclose()

        late_ids = [found.call_id for found in late]
        assert len(set(late_ids)) == len(late_ids) and not set(late_ids) & set(answered)
        assert set(answered) | set(late_ids) == set(made)
        assert all(made[label] == "book" for label in late_ids)
        assert all(count == 1 for count in ledger.begun.values())
        outcomes = answered | {found.call_id: found for found in late}
        for label, found in outcomes.items():
            assert found.status in ("ok", "timeout", "cancelled"), found.output
            if made[label] == "book" and found.status != "cancelled":
                assert ledger.begun[label] == 1
            if made[label] == "book" and found.status == "cancelled":
                assert label not in ledger.begun
        finished = [event.call_id for event in told if isinstance(event, CallFinished)]
        assert sorted(finished) == sorted(made)
        assert ledger.writing == 0

    run(main())
