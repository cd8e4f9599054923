"""When a call runs: tried again, one at a time for a resource, and made before with the same arguments."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from sayso import Agent, Context, tool
from sayso.items import ToolCall
from sayso.testing import ScriptedModel, call, run, say
from sayso.tools import Executor, Tool
from sayso.tools.executor import RETRY_AFTER_S
from sayso.tools.journal import Journal


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_failing_read_is_tried_again_with_growing_pauses() -> None:
    tried: list[float] = []

    @tool(effect="read", retries=3)
    async def fetch() -> str:
        """Fetch."""
        tried.append(now())
        if len(tried) < 4:
            raise OSError("no connection")
        return "fetched"

    result = run(Executor([fetch]).call(ToolCall("c", "fetch", {})))
    assert (result.status, result.output) == ("ok", "fetched")
    pauses = np.diff(tried)
    assert pauses == pytest.approx([RETRY_AFTER_S, 2 * RETRY_AFTER_S, 4 * RETRY_AFTER_S])


def test_tries_end_with_the_last_error_and_with_the_time() -> None:
    tried: list[float] = []

    @tool(effect="read", retries=2)
    async def fetch() -> str:
        """Fetch."""
        tried.append(now())
        raise OSError("no connection")

    @tool(effect="read", retries=50, timeout_s=1)
    async def never() -> str:
        """Fetch."""
        tried.append(now())
        raise OSError("no connection")

    result = run(Executor([fetch]).call(ToolCall("c", "fetch", {})))
    assert (result.status, len(tried)) == ("error", 3) and "no connection" in result.output
    assert run(Executor([never]).call(ToolCall("c", "never", {}))).status == "timeout"
    assert len(tried) == 3 + 3  # at 0, 0.2 and 0.6 s; 1.4 s would be too late


# --- resources and duplicates -----------------------------------------------------------------------------------------


class Doors:
    """Writes that record when they begin and end."""

    def __init__(self, **options: Any) -> None:
        self.log: list[tuple[str, str, float]] = []

        async def turn(name: str) -> str:
            self.log.append(("begin", name, now()))
            try:
                await asyncio.sleep(2)
                self.log.append(("end", name, now()))
            except asyncio.CancelledError:
                self.log.append(("stop", name, now()))
                raise
            return f"turned {name}"

        @tool(effect="write", resource="front", **options)
        async def front(name: str) -> str:
            """Turn the front door's key."""
            return await turn(name)

        @tool(effect="write", resource="back", **options)
        async def back(name: str) -> str:
            """Turn the back door's key."""
            return await turn(name)

        self.tools: list[Tool] = [front, back]


async def both(*executors: tuple[Executor, str, str]) -> None:
    await asyncio.gather(
        *(executor.call(ToolCall(name, tool_name, {"name": name})) for executor, tool_name, name in executors)
    )


def test_two_sessions_share_a_resource_and_others_run_beside_it() -> None:
    async def main() -> None:
        doors = Doors()
        one, two = Executor(doors.tools), Executor(doors.tools)
        await both((one, "front", "a"), (two, "front", "b"), (one, "back", "c"))
        assert doors.log == [
            ("begin", "a", 0),
            ("begin", "c", 0),
            ("end", "a", 2),
            ("end", "c", 2),
            ("begin", "b", 2),
            ("end", "b", 4),
        ]

    run(main())


@pytest.mark.parametrize(
    ("rule", "statuses", "log"),
    [
        ("allow", ["ok", "ok"], ["begin", "end", "begin", "end"]),
        ("reject", ["ok", "refused"], ["begin", "end"]),
        ("replace", ["cancelled", "ok"], ["begin", "stop", "begin", "end"]),
        ("confirm", ["ok", "waiting"], ["begin", "end"]),
    ],
)
def test_the_same_write_while_the_first_still_runs(rule: str, statuses: list[str], log: list[str]) -> None:
    async def main() -> None:
        doors = Doors(on_duplicate=rule)
        executor = Executor(doors.tools)
        async with executor.round(Context()) as calls:
            calls.start(ToolCall("1", "front", {"name": "a"}))
            await asyncio.sleep(1)
            calls.start(ToolCall("2", "front", {"name": "a"}))
            outcomes = await calls.outcomes()
            assert [outcome.status for outcome in outcomes] == statuses
            if rule in ("reject", "confirm"):
                assert "is being done already" in outcomes[1].output
        assert [kind for kind, _, _ in doors.log] == log
        again = await executor.call(ToolCall("3", "front", {"name": "other"}))
        assert again.status == "ok"  # other arguments are another write

    run(main())


@pytest.mark.parametrize("known_from", ["the session", "the journal"])
@pytest.mark.parametrize(("how", "told"), [("ok", "was done before"), ("timeout", "not known whether it took effect")])
def test_a_write_that_worked_or_may_have_is_not_repeated(known_from: str, how: str, told: str) -> None:
    ran: list[str] = []

    @tool(effect="write", on_duplicate="reject", timeout_s=1)
    async def pay(to: str) -> str:
        """Pay."""
        ran.append(to)
        await asyncio.sleep(0 if how == "ok" else 9)
        return "paid"

    async def main() -> None:
        journal = Journal()
        executor = Executor([pay], session="talk", journal=journal)
        assert (await executor.call(ToolCall("1", "pay", {"to": "Ann"}))).status == how
        if known_from == "the journal":
            executor = Executor([pay], session="talk", journal=journal)
        again = await executor.call(ToolCall("2", "pay", {"to": "Ann"}))
        assert again.status == "refused" and told in again.output
        other = Executor([pay], session="another", journal=journal)
        assert (await other.call(ToolCall("1", "pay", {"to": "Ann"}))).status == how
        assert ran == ["Ann", "Ann"]
        journal.close()

    run(main())


def test_a_guess_replaces_nothing_before_it_counts() -> None:
    async def main() -> None:
        doors = Doors(on_duplicate="replace")
        model = ScriptedModel((None, call("front", name="a")), (None, call("front", name="a")), (None, say("Done.")))
        async with Agent(tools=doors.tools, model=model, journal=Journal()).session() as session:
            turn = asyncio.create_task(session.ask("Turn"))
            await asyncio.sleep(0.5)
            await session.interrupt()  # the write runs on
            await turn
            guess = asyncio.create_task(
                session.conductor.run_turn(session.conductor.answer("Turn"), lambda e: None, asyncio.Event())
            )
            await asyncio.sleep(0.5)
            await session.conductor.turns.withdraw()
            await guess
            await asyncio.sleep(5)
            assert [(kind, at_s) for kind, _, at_s in doors.log] == [("begin", 0), ("end", 2)]

    run(main())
