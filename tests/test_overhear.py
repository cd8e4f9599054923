"""The model begins to hear while the user speaks: when it is called, with what, and when it is stopped."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sayso import Agent
from sayso.events import Event
from sayso.items import Audio
from sayso.live import Live, TurnTaking
from sayso.models.base import Overhearing
from sayso.speech.audio import load, resample
from sayso.speech.endpointing import TurnEnds
from sayso.testing import ScriptedModel, hear, run, say

QUESTION = Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav"
RATE_HZ = 16_000
FRAME = 320
SPEECH = np.concatenate([resample(load(QUESTION), RATE_HZ).samples] * 4)
SILENCE = np.zeros(4 * RATE_HZ, np.float32)


class Eager(ScriptedModel):
    """Overhears each second; each call takes ``seconds``, or fails where that is negative."""

    def __init__(self, *steps: object, seconds: float = 0.1) -> None:
        super().__init__(*steps)  # type: ignore[arg-type]
        self.profile = replace(self.profile, overhears_s=1.0)
        self.seconds = seconds
        self.overheard: list[Audio] = []
        self.at_once = self.most_at_once = self.cancelled = 0

    async def overhear(self, audio: Audio) -> float:
        self.overheard.append(audio)
        if self.seconds < 0:
            raise RuntimeError("it broke")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1
        return int(audio.seconds) + 1.0


def talk(model: ScriptedModel, sound: np.ndarray, *, pause_ms: int = 2500) -> list[Event]:
    events: list[Event] = []
    taking = TurnTaking(ends=TurnEnds(pause_ms=pause_ms, end_silence_ms=2500))

    async def main() -> None:
        async with Agent(model=model).session() as session:
            async with Live(session.conductor, events.append, RATE_HZ, lambda: None, taking) as live:
                for start in range(0, len(sound), FRAME):
                    await live.hear(sound[start : start + FRAME])
                    await asyncio.sleep(FRAME / RATE_HZ)

    run(main())
    return events


def test_the_model_overhears_the_beginning_of_what_it_will_hear() -> None:
    model = Eager((None, [*hear("what time is it"), *say("Nine.")]))
    assert isinstance(model, Overhearing)
    talk(model, np.concatenate([SILENCE, SPEECH, SILENCE]))
    heard = model.requests[-1].items[-1].audio
    assert heard is not None
    seconds = [audio.seconds for audio in model.overheard]
    assert {int(one) for one in seconds} >= {*range(1, 10)} and seconds == sorted(seconds)
    assert len(seconds) < 2 * (len(SPEECH) + len(SILENCE)) / RATE_HZ
    for audio in model.overheard:
        assert np.array_equal(audio.samples, heard.samples[: len(audio.samples)])


def test_one_call_at_a_time_which_ends_when_the_turn_begins() -> None:
    model = Eager((None, [*hear("what time is it"), *say("Nine.")]), seconds=60)
    events = talk(model, np.concatenate([SPEECH, SILENCE]))
    assert len(model.overheard) == model.most_at_once == model.cancelled == 1
    assert events[-1].type == "turn_done"


def test_a_turn_begun_in_a_pause_ends_it_and_it_goes_on_where_the_user_does() -> None:
    gap = np.zeros(RATE_HZ, np.float32)
    model = Eager((None, [*hear("all of it"), *say("Nine.")]), (None, [*hear("all of it"), *say("Nine.")]), seconds=60)
    talk(model, np.concatenate([SPEECH, gap, SPEECH, SILENCE]), pause_ms=900)
    assert model.cancelled == len(model.overheard) == 2
    assert model.overheard[1].seconds > len(SPEECH) / RATE_HZ


def test_a_model_that_breaks_while_it_overhears_is_asked_in_the_turn() -> None:
    model = Eager((None, [*hear("what time is it"), *say("Nine.")]), seconds=-1)
    events = talk(model, np.concatenate([SPEECH, SILENCE]))
    assert len(model.overheard) == 1 and events[-1].type == "turn_done"


@pytest.mark.parametrize("when", ["cleared", "left"])
def test_what_is_dropped_is_overheard_no_longer(when: str) -> None:
    model = Eager(seconds=60)

    async def main() -> None:
        async with Agent(model=model).session() as session:
            with suppress(ZeroDivisionError):
                async with Live(session.conductor, lambda event: None, RATE_HZ, lambda: None, TurnTaking()) as live:
                    for start in range(0, len(SPEECH), FRAME):
                        await live.hear(SPEECH[start : start + FRAME])
                        await asyncio.sleep(FRAME / RATE_HZ)
                        if model.at_once and when == "cleared":
                            live.clear()
                            await asyncio.sleep(0)
                            break
                        if model.at_once:
                            raise ZeroDivisionError
            assert (model.at_once, model.cancelled) == (0, 1)

    run(main())


def test_a_model_that_cannot_overhear_is_left_alone() -> None:
    model = ScriptedModel((None, [*hear("what time is it"), *say("Nine.")]))
    assert not isinstance(model, Overhearing)
    assert talk(model, np.concatenate([SPEECH, SILENCE]))[-1].type == "turn_done"
