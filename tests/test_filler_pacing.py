"""Fillers cost the answer nothing, and are spoken only where the wait is worth one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sayso import Agent, tool
from sayso.events import AudioDelta
from sayso.result import TurnResult
from sayso.testing import ScriptedModel, call, run, say

LONG = "Let me look that up for you, this may take a little while."


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path))


@tool(effect="read", filler="Let me look.")
async def look(seconds: float) -> str:
    """Look something up."""
    await asyncio.sleep(seconds)
    return "found"


@tool(effect="read", filler=["One moment.", "Let me see.", "Hold on."])
async def find(seconds: float) -> str:
    """Find something."""
    await asyncio.sleep(seconds)
    return "found"


@tool(effect="read", filler=LONG)
async def fetch(seconds: float) -> str:
    """Fetch something."""
    await asyncio.sleep(seconds)
    return "found"


def turns(name: str, *waits: float) -> list[TurnResult]:
    """Turns of one session in each of which a tool takes so many seconds."""

    async def main() -> list[TurnResult]:
        steps = [step for seconds in waits for step in ((None, call(name, seconds=seconds)), (None, say("Found.")))]
        async with Agent(tools=[find, fetch, look], model=ScriptedModel(*steps)).session() as session:
            await session.warm()
            return [await session.ask("Look") for _ in waits]

    return run(main())


def fillers(result: TurnResult) -> list[str]:
    return [event.text for event in result.events if isinstance(event, AudioDelta) and event.filler and event.text]


def test_several_lines_take_turns() -> None:
    spoken = [fillers(result) for result in turns("find", 3, 3, 3, 3)]
    assert spoken == [["One moment."], ["Let me see."], ["Hold on."], ["One moment."]]


def test_a_tool_whose_last_waits_were_short_is_not_bridged() -> None:
    """The median of its last nine waits decides, not the slowest one and not the present one."""
    spoken = [bool(fillers(result)) for result in turns("look", 0.6, 0.6, 3, 3, 3, 3)]
    assert spoken == [True, False, False, False, True, True]  # medians: none, 0.6, 0.6, 0.6, 1.8, 3


def test_other_sessions_of_the_agent_know_it_too() -> None:
    async def main() -> list[bool]:
        steps = [(None, call("look", seconds=0.6)), (None, say("Found."))] * 2
        agent = Agent(tools=[look], model=ScriptedModel(*steps))
        spoken: list[bool] = []
        for _ in range(2):
            async with agent.session() as session:
                await session.warm()
                spoken.append(bool(fillers(await session.ask("Look"))))
        return spoken

    assert run(main()) == [True, False]


def queued_s(result: TurnResult) -> float:
    """How much of the filler is still to be played when the answer's first sound is there."""
    filler = [event for event in result.events if isinstance(event, AudioDelta) and event.filler]
    answer = next(event for event in result.events if isinstance(event, AudioDelta) and not event.filler)
    ends_s = 0.0
    for event in filler:
        ends_s = max(ends_s, event.time_s) + event.audio.seconds
    return max(0.0, ends_s - answer.time_s)


@pytest.mark.parametrize("seconds", [0.55, 0.7, 0.95, 1.0, 1.5, 2.0, 3.33, 3.9, 4.5])
def test_an_answer_waits_for_at_most_a_fifth_of_a_second_of_it(seconds: float) -> None:
    (result,) = turns("fetch", seconds)
    assert fillers(result) == [LONG]
    assert queued_s(result) <= 0.2 + 0.03  # what is cut is faded out
    assert result.text == "Found."


def test_a_whole_filler_is_heard_without_a_gap() -> None:
    (result,) = turns("fetch", 9)
    filler = [event for event in result.events if isinstance(event, AudioDelta) and event.filler]
    assert sum(event.audio.seconds for event in filler) == pytest.approx(0.06 * len(LONG), abs=0.001)
    ends_s = filler[0].time_s
    for event in filler:
        assert event.time_s <= ends_s + 1e-6  # each piece is there before the one before it has been played
        ends_s += event.audio.seconds


def test_an_interruption_ends_it() -> None:
    async def main() -> None:
        model = ScriptedModel((None, call("fetch", seconds=9)), (None, say("Found.")))
        async with Agent(tools=[fetch], model=model).session() as session:
            await session.warm()
            turn = asyncio.create_task(session.ask("Look"))
            await asyncio.sleep(1.5)
            await session.interrupt(700)
            result = await turn
            assert result.reason == "interrupted" and result.audio is None
            spoken = [event for event in result.events if isinstance(event, AudioDelta)]
            assert spoken and spoken[-1].time_s <= 1.5

    run(main())
