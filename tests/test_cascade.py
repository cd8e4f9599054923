"""How the three parts of a cascade play together, with parts that are simple and exact."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import pytest

from sayso import Agent, tool
from sayso.errors import ModelError, ModelMissingError
from sayso.events import AudioDelta
from sayso.items import Audio
from sayso.models.base import CallClose, CallDelta, CallOpen, Done, ModelEvent, ModelRequest, Profile, Text
from sayso.models.cascade import CascadeModel
from sayso.models.parts import Part
from sayso.models.whisper import Recognition
from sayso.result import TurnResult
from sayso.testing import tone
from sayso.voices import Voice

RATE_HZ = 16_000
QUESTION = Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav"


class Ears:
    def __init__(self, *heard: str) -> None:
        self.heard = list(heard)

    def transcribe(self, audio: Audio, language: str | None = None) -> Recognition:
        return Recognition(self.heard.pop(0), language)


class Brain:
    """A language model that writes what it was told to, a character at a time."""

    def __init__(self, *rounds: list[ModelEvent]) -> None:
        self.rounds = list(rounds)
        self.requests: list[ModelRequest] = []

    async def warm(self, request: ModelRequest) -> None:
        await asyncio.sleep(0)

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.requests.append(request)
        for event in self.rounds.pop(0):
            for piece in [Text(c) for c in event.text] if isinstance(event, Text) else [event]:
                yield piece
                await asyncio.sleep(0)
        yield Done(completion_tokens=1)

    async def aclose(self) -> None:
        pass


class Mouth:
    sample_rate_hz = RATE_HZ
    voices = (Voice("tone", "en"),)

    def __init__(self) -> None:
        self.said: list[str] = []

    def load(self) -> None:
        pass

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> Audio:
        self.said.append(text)
        return tone(text)


@tool(effect="read")
async def look(where: str) -> str:
    """Look."""
    return f"{where}: found"


def cascade(brain: Brain, mouth: Mouth, *heard: str) -> CascadeModel:
    profile = Profile("cascade", hears=True, speaks=True, says_lines=True, sample_rate_hz=RATE_HZ, voices=("tone",))
    return CascadeModel(profile, Part("ears", lambda: Ears(*heard)), brain, Part("mouth", lambda: mouth))


def asked(brain: Brain, mouth: Mouth, what: object = "Hello", *heard: str, speak: bool | None = None) -> TurnResult:
    async def main() -> TurnResult:
        agent = Agent(tools=[look], model=cascade(brain, mouth, *heard))
        result = await agent.ask(what, speak=speak)
        await agent.aclose()
        return result

    return asyncio.run(main())


def a_call(where: str) -> list[ModelEvent]:
    raw = f'{{"where":"{where}"}}'
    return [CallOpen(0, "look"), CallDelta(0, raw), CallClose(0, {"where": where}, raw)]


def voiced(result: TurnResult) -> list[str]:
    return [event.text for event in result.events if isinstance(event, AudioDelta)]


def test_each_sentence_is_spoken_with_a_pause_between() -> None:
    mouth = Mouth()
    result = asked(Brain([Text("One is one. Two is two.")]), mouth)
    assert [text.strip() for text in voiced(result)] == ["One is one.", "Two is two."]
    assert result.text == "One is one. Two is two."
    spoken_s = sum(tone(text).seconds for text in mouth.said)
    assert result.audio is not None and result.audio.seconds == pytest.approx(spoken_s + 0.25, abs=0.01)


def test_words_before_a_call_are_spoken_though_the_call_has_begun() -> None:
    result = asked(Brain([Text("Let me look."), *a_call("here")], [Text("Found.")]), Mouth())
    assert [text.strip() for text in voiced(result)] == ["Let me look.", "Found."]
    assert [call.output for call in result.calls] == ["here: found"]


def test_what_was_heard_is_what_the_language_model_reads() -> None:
    brain = Brain([Text("Yes.")])
    result = asked(brain, Mouth(), QUESTION, "is it open")
    assert result.heard == "is it open"
    assert brain.requests[0].items[-1].text == "is it open"  # type: ignore[union-attr]


def test_nothing_understood_is_no_speech_and_the_language_model_is_not_asked() -> None:
    brain = Brain()
    result = asked(brain, Mouth(), QUESTION, "")
    assert (result.reason, brain.requests) == ("no_speech", [])


def test_without_speech_nothing_is_synthesised() -> None:
    mouth = Mouth()
    result = asked(Brain([Text("Quiet.")]), mouth, "Hello", speak=False)
    assert (result.text, result.audio, mouth.said) == ("Quiet.", None, [])


def test_a_sentence_without_sound_is_left_out() -> None:
    mouth = Mouth()
    mouth.synthesize = lambda text, voice=None, speed=1.0: Audio(np.zeros(0, np.float32), RATE_HZ)  # type: ignore[method-assign]
    assert asked(Brain([Text("Hm.")]), mouth).audio is None


def test_a_synthesiser_that_breaks_fails_the_turn() -> None:
    mouth = Mouth()

    def broken(text: str, voice: str | None = None, speed: float = 1.0) -> Audio:
        raise ModelError("The voice broke.")

    mouth.synthesize = broken  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="The voice broke"):
        asked(Brain([Text("One. Two. Three.")]), mouth)


def test_a_missing_part_is_told_as_it_is() -> None:
    def missing() -> Ears:
        raise ModelMissingError("Whisper is not here.", "Fetch it.")

    profile = Profile("cascade", hears=True, speaks=True, voices=("tone",))

    async def main() -> None:
        model = CascadeModel(profile, Part("ears", missing), Brain(), Part("mouth", Mouth))
        with pytest.raises(ModelMissingError, match="Fetch it"):
            await model.warm(ModelRequest([]))
        with pytest.raises(ModelMissingError, match="Fetch it"):
            await Agent(model=model).ask(QUESTION)
        await model.aclose()

    asyncio.run(main())
