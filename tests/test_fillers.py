"""A filler bridges a silent wait, once, and is no part of the answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from sayso import Agent, Context, tool
from sayso.events import AudioDelta
from sayso.result import TurnResult
from sayso.speech.lines import Lines
from sayso.testing import ScriptedModel, call, run, say, wait


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path))
    return tmp_path


@tool(effect="read", filler="Let me look.")
async def look(seconds: float) -> str:
    """Look something up."""
    await asyncio.sleep(seconds)
    return "found"


def asked(model: ScriptedModel, *, warm: bool = True) -> TurnResult:
    async def main() -> TurnResult:
        async with Agent(tools=[look], model=model).session() as session:
            if warm:
                await session.warm()
            return await session.ask("Look")

    return run(main())


def sounds(result: TurnResult) -> list[tuple[str, float]]:
    start = result.events[0].time_s
    return [
        (e.text, round(e.time_s - start, 2)) for e in result.events if isinstance(e, AudioDelta) and e.text and e.filler
    ]


def test_a_slow_call_is_bridged_after_half_a_second() -> None:
    result = asked(ScriptedModel((None, call("look", seconds=3)), (None, say("Found."))))
    assert sounds(result) == [("Let me look.", 0.5)]
    assert result.stages["first_sound"] == pytest.approx(0.5, abs=0.01)
    assert result.stages["first_audio"] == pytest.approx(3.0, abs=0.01)
    assert result.text == "Found."
    assert result.audio is not None and result.audio.seconds == pytest.approx(0.06 * len("Found."), abs=0.01)


def test_a_call_that_opens_late_is_bridged_at_once() -> None:
    result = asked(ScriptedModel((None, [wait(2), *call("look", seconds=3)]), (None, say("Found."))))
    assert sounds(result) == [("Let me look.", 2.0)]


def test_a_fast_call_is_not_bridged() -> None:
    assert sounds(asked(ScriptedModel((None, call("look", seconds=0.3)), (None, say("Found."))))) == []


def test_it_is_said_once_a_turn() -> None:
    steps = [(None, call("look", seconds=3)), (None, call("look", seconds=3)), (None, say("Found."))]
    assert len(sounds(asked(ScriptedModel(*steps)))) == 1


def test_nothing_is_said_over_words_of_the_model() -> None:
    model = ScriptedModel((None, [*say("One moment."), *call("look", seconds=3)]), (None, say("Found.")))
    assert sounds(asked(model)) == []


def test_a_line_that_is_not_ready_is_not_rendered_while_somebody_waits() -> None:
    model = ScriptedModel((None, call("look", seconds=3)), (None, say("Found.")))
    assert sounds(asked(model, warm=False)) == []
    assert model.said == []


def test_a_rendered_line_is_found_on_disk_by_the_next_session(cache: Path) -> None:
    asked(ScriptedModel((None, call("look", seconds=3)), (None, say("Found."))))
    model = ScriptedModel((None, call("look", seconds=3)), (None, say("Found.")))
    assert len(sounds(asked(model, warm=False))) == 1
    assert model.said == []


@pytest.mark.parametrize("kept", [0, 5, 200])
def test_a_broken_line_on_disk_is_rendered_anew(tmp_path: Path, kept: int) -> None:
    def damage() -> None:
        (stored,) = tmp_path.glob("*.npz")
        stored.write_bytes(stored.read_bytes()[:kept])

    async def main() -> None:
        model = ScriptedModel()
        await Lines(model, None, tmp_path).prepare(["Hello."])
        damage()
        await Lines(model, None, tmp_path).prepare(["Hello.", None])
        assert model.said == ["Hello.", "Hello."]
        await Lines(model, None, tmp_path).prepare(["Hello."])
        assert model.said == ["Hello.", "Hello."]

    run(main())


def test_a_cache_that_cannot_be_written_only_costs_the_next_process(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def main() -> None:
        model = ScriptedModel()
        lines = Lines(model, None, tmp_path / "file" / "lines")
        await lines.prepare(["Let me look."])
        assert lines.filler(look.spec) is not None

    run(main())


def test_in_a_new_voice_fillers_are_made_ready_while_nobody_waits() -> None:
    @tool(effect="write")
    async def change_voice(ctx: Context) -> None:
        """Speak in another voice."""
        ctx.speak_as("bell")

    model = ScriptedModel((None, call("change_voice")), (None, say("Like this?")))
    model.profile = replace(model.profile, voices=("tone", "bell"))

    async def main() -> None:
        async with Agent(tools=[look, change_voice], model=model).session() as session:
            await session.warm()
            assert model.said == ["Let me look."]
            await session.ask("Another voice, please")
            await asyncio.sleep(10)
            assert model.said == ["Let me look.", "Let me look."]

    run(main())


# --- when it is worth it, what it costs -----------------------------------------------------------------------------

LONG = "Let me look that up for you, this may take a little while."


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


def turns(tool_name: str, *waits: float) -> list[TurnResult]:
    """Turns of one session in each of which a tool takes so many seconds."""

    async def main() -> list[TurnResult]:
        steps = [
            step for seconds in waits for step in ((None, call(tool_name, seconds=seconds)), (None, say("Found.")))
        ]
        async with Agent(tools=[find, fetch, look], model=ScriptedModel(*steps)).session() as session:
            await session.warm()
            return [await session.ask("Look") for _ in waits]

    return run(main())


def lines(result: TurnResult) -> list[str]:
    return [text for text, _ in sounds(result)]


def test_several_lines_take_turns() -> None:
    spoken = [lines(result) for result in turns("find", 3, 3, 3, 3)]
    assert spoken == [["One moment."], ["Let me see."], ["Hold on."], ["One moment."]]


def test_a_tool_whose_last_waits_were_short_is_not_bridged() -> None:
    """The median of its last nine waits decides, not the slowest one and not the present one."""
    spoken = [bool(lines(result)) for result in turns("look", 0.6, 0.6, 3, 3, 3, 3)]
    assert spoken == [True, False, False, False, True, True]  # medians: none, 0.6, 0.6, 0.6, 1.8, 3


def test_other_sessions_of_the_agent_know_it_too() -> None:
    async def main() -> list[bool]:
        steps = [(None, call("look", seconds=0.6)), (None, say("Found."))] * 2
        agent = Agent(tools=[look], model=ScriptedModel(*steps))
        spoken: list[bool] = []
        for _ in range(2):
            async with agent.session() as session:
                await session.warm()
                spoken.append(bool(lines(await session.ask("Look"))))
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
    assert lines(result) == [LONG]
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
