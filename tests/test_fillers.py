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
