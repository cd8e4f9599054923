"""Step-Audio 2 as a `VoiceModel`, with random weights at tiny size: what holds whatever it says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("xgrammar")
pytest.importorskip("onnx")

import torch

from sayso import Agent, TurnPolicy, tool
from sayso.errors import ModelMissingError, UsageError
from sayso.items import AssistantReply, Audio, ToolCall, UserInput
from sayso.models.base import CallClose, CallOpen, Done, ModelEvent, ModelRequest, Speech, Text, Transcript
from sayso.models.named import named
from sayso.models.step_audio2.loaded import Options
from sayso.models.step_audio2.model import StepAudio2Model
from sayso.models.step_audio2.transcript import Transcript as Shown
from sayso.testing import run
from sayso.tools import Journal
from sayso.turn_options import TurnOptions


@tool(effect="read")
def weather(city: Literal["Oslo", "Rome"], days: Literal[1, 2] = 1) -> str:
    """The weather."""
    return f"fine in {city}"


SOUND = Audio(np.random.default_rng(0).normal(0, 0.05, 24_000).astype(np.float32), 16_000)
REQUEST = ModelRequest(items=(UserInput("Hello there."),), instructions="Be brief.", tools=(weather.spec,), seed=1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@asynccontextmanager
async def model_of(folder: Path, **options: Any) -> AsyncIterator[StepAudio2Model]:
    settings = {"device": "cpu", "dtype": "float32", "max_tokens": 30, "max_length": 1024, "sessions": 2} | options
    model = StepAudio2Model(Options(folder, **settings))
    try:
        yield model
    finally:
        await model.aclose()


async def events_of(model: StepAudio2Model, request: ModelRequest) -> list[ModelEvent]:
    async with aclosing(model.respond(request)) as stream:
        return [event async for event in stream]


def generated(model: StepAudio2Model) -> tuple[int, ...]:
    """The ids of the round before."""
    noted = model._talks[-1][1]._generated
    assert noted is not None
    return noted.ids


def real(main: Any) -> Any:
    return run(main, virtual=False)


def test_a_round_streams_words_and_sound_and_the_exact_ids(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            first = await events_of(model, REQUEST)
            done = first[-1]
            ids = generated(model)
            assert isinstance(done, Done) and done.token_ids[1:] == ids  # behind <tts_start>
            assert len(ids) == done.completion_tokens == 30
            assert any(isinstance(event, Text) for event in first)
            again = await events_of(model, replace(REQUEST, items=(UserInput("Hello there."),)))
            assert again[-1] == replace(done, prompt_tokens=1) and generated(model) == ids  # by its seed
            await events_of(model, replace(REQUEST, seed=2))
            assert generated(model) != ids

    real(main())


def test_a_round_has_the_length_and_the_temperature_that_are_asked_for(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            ids: list[tuple[int, ...]] = []
            for seed in (1, 2):
                events = await events_of(model, replace(REQUEST, seed=seed, temperature=0.0, max_tokens=5))
                assert isinstance(events[-1], Done) and events[-1].completion_tokens == 5
                ids.append(generated(model))
            assert ids[0] == ids[1]

    real(main())


def test_a_later_round_computes_what_is_new_alone(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            await model.warm(REQUEST)
            async with Agent(model=model, instructions="Be brief. " * 50, journal=Journal()).session() as session:
                prefilled: list[int] = []
                for words in ("Hello there.", "And now?", "And then?"):
                    before = session.history
                    request = replace(
                        REQUEST, items=(*before, UserInput(words)), instructions="Be brief. " * 50, tools=()
                    )
                    await session.ask(words)
                    done = (await events_of(model, request))[-1]
                    assert isinstance(done, Done)
                    prefilled.append(done.prompt_tokens)
        assert all(count < 60 for count in prefilled), prefilled  # the instructions alone are 150

    real(main())


def test_a_forced_call_fits_its_schema(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint, max_tokens=120) as model:
            for seed in range(3):
                events = await events_of(model, replace(REQUEST, force_call=True, seed=seed))
                opened = next(event for event in events if isinstance(event, CallOpen))
                closed = next(event for event in events if isinstance(event, CallClose))
                assert opened.name == "weather"
                assert closed.arguments is not None and weather.validate(closed.arguments)
                assert closed.arguments["city"] in ("Oslo", "Rome") and json.loads(closed.raw) == closed.arguments
                calls = [at for at, event in enumerate(events) if isinstance(event, CallClose)]
                assert not any(isinstance(event, Speech) for event in events[: calls[0]])

    real(main())


def test_no_call_where_none_is_allowed(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            for request in (replace(REQUEST, allow_calls=False, force_call=True), replace(REQUEST, tools=())):
                events = await events_of(model, request)
                assert not any(isinstance(event, CallOpen) for event in events)

    real(main())


def test_sound_is_heard_and_encoded_once(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            request = replace(REQUEST, items=(UserInput(audio=SOUND),))
            plain = await events_of(model, request)
            heard = generated(model)
            assert not any(isinstance(event, Transcript) for event in plain)
            asked = await events_of(model, replace(request, transcribe=True))
            assert isinstance(asked[0], Transcript)
            loaded = await model._loaded.get()
            assert len(loaded.sounds._pieces) == 1
            copied = Audio(SOUND.samples.copy(), SOUND.sample_rate_hz)  # known by content: an address may be used again
            await events_of(model, replace(request, items=(UserInput(audio=copied),)))
            assert generated(model) == heard and len(loaded.sounds._pieces) == 1
            silent = Audio(np.zeros_like(SOUND.samples), 16_000)
            await events_of(model, replace(request, items=(UserInput(audio=silent),)))
            assert generated(model) != heard

    real(main())


def test_a_given_line_is_spoken(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint, max_tokens=200) as model:
            pieces = [piece async for piece in model.say("One moment.", "default_male")]
            assert "".join(piece.text for piece in pieces) == "One moment."
            assert all(piece.audio.sample_rate_hz == 24_000 for piece in pieces)
            assert sum(piece.audio.seconds for piece in pieces) >= 0.16 * 2

    real(main())


def test_a_written_reply_is_not_spoken(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            events = await events_of(model, replace(REQUEST, speak=False))
            text = "".join(event.text for event in events if isinstance(event, Text))
            assert text and "<tts" not in text

    real(main())


def test_a_round_that_is_left_early_leaves_the_model_usable(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint, max_tokens=500) as model:
            async with aclosing(model.respond(REQUEST)) as stream:
                await anext(stream)
            model.options = replace(model.options, max_tokens=10)
            events = await events_of(model, REQUEST)
            assert isinstance(events[-1], Done)

    real(main())


def test_models_by_name(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(str(tiny_checkpoint)).profile.name == "step-audio-2-mini"
    monkeypatch.setenv("SAYSO_MODEL_STEP_AUDIO_2_MINI", str(tiny_checkpoint))
    assert Agent(model="step-audio-2-mini").voice_model.profile.keeps_audio
    monkeypatch.delenv("SAYSO_MODEL_STEP_AUDIO_2_MINI")
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path))
    with pytest.raises(ModelMissingError, match="SAYSO_MODEL_STEP_AUDIO_2_MINI"):
        named("step-audio-2-mini")
    with pytest.raises(UsageError, match="no model 'step'"):
        named("step")


def test_a_broken_checkpoint_is_told_when_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")

    async def main() -> None:
        async with Agent(model=str(tmp_path), journal=Journal()).session() as session:
            await session.ask("Hello")

    with pytest.raises((UsageError, ModelMissingError), match=str(tmp_path)):
        real(main())


def test_a_precision_that_is_none(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint, dtype="float8") as model:
            with pytest.raises(UsageError, match=r"dtype='float8'.*bfloat16, float16, float32"):
                await model.warm(REQUEST)

    real(main())


def test_a_conversation_from_another_process_is_shown_by_its_ids(tiny_checkpoint: Path) -> None:
    """What a session kept of its rounds gives the very prompt that the process which made them would go on from."""

    @tool(effect="read")
    def echo(text: str) -> str:
        """Say it again."""
        return "again"

    async def main() -> None:
        async with model_of(tiny_checkpoint, max_tokens=60) as model:
            agent = Agent(model=model, tools=[echo], seed=3, journal=Journal(), policy=TurnPolicy(max_rounds=1))
            async with agent.session(speak=False) as session:
                await session.ask("Hello", options=TurnOptions(tool_choice="required"))
                await session.ask("And now?")
                items = session.history
            (_, here), loaded = model._talks[-1], await model._loaded.get()
            there = Shown(loaded.chat, agent.instructions, agent.registry.specs)
            more = [*items, UserInput("Go on.")]
            assert any(isinstance(item, ToolCall) for item in items)
            assert any(isinstance(item, AssistantReply) and item.token_ids for item in items)
            assert [*there.prompt(more)] == [*here.prompt(more)]

    real(main())
