"""Step-Audio's Base and which checkpoint is which: by name, by folder, by setting."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra step-audio is not installed")
pytest.importorskip("xgrammar", reason="the extra step-audio is not installed")

import torch

from sayso import Agent, tool
from sayso.errors import ModelMissingError, UsageError
from sayso.items import AssistantReply, UserInput
from sayso.models.base import Done, ModelRequest
from sayso.models.named import named
from sayso.models.step_audio2.config import Kind, kind_of
from sayso.models.step_audio2.loaded import Options
from sayso.models.step_audio2.model import StepAudio2Model
from sayso.testing import run
from sayso.tools import Journal


@tool(effect="read")
def weather(city: str) -> str:
    """The weather."""
    return f"fine in {city}"


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/models/Step-Audio-2-mini", "chat"),
        ("/models/Step-Audio-2-mini-Base", "base"),
        ("/models/step-audio-2-mini-think/", "think"),
        ("/cache/models--stepfun-ai--Step-Audio-2-mini-Think/snapshots/e36fdd5d", "think"),
        ("/models/step-audio-2-mini-base/copy", "base"),
        ("/models/step-audio-2-mini-base/step-audio-2-mini", "chat"),
        ("/models/mine", "chat"),
    ],
)
def test_a_checkpoint_is_known_by_its_folder(folder: str, kind: Kind) -> None:
    assert kind_of(Path(folder)) == Options(Path(folder)).variant == kind
    assert Options(Path(folder), kind="chat").variant == "chat"


@pytest.mark.parametrize("kind", ["think", "base"])
def test_think_and_base_have_names_of_their_own(
    kind: str, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, variable = f"step-audio-2-mini-{kind}", f"SAYSO_MODEL_STEP_AUDIO_2_MINI_{kind.upper()}"
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path))
    with pytest.raises(ModelMissingError, match=variable):
        named(name)
    monkeypatch.setenv(variable, str(tiny_checkpoint))
    profile = named(name).profile
    assert (profile.name, profile.thinks, profile.forces_calls) == (name, kind == "think", kind != "base")
    with pytest.raises(ModelMissingError):
        named("step-audio-2-mini")


def run_base(folder: Path, request: Any) -> None:
    """Run ``request(model)`` with a Base of random weights."""

    async def main() -> None:
        torch.set_num_threads(1)
        model = StepAudio2Model(
            Options(folder, kind="base", device="cpu", dtype="float32", max_tokens=12, max_length=512, sessions=2)
        )
        try:
            await request(model)
        finally:
            await model.aclose()

    run(main(), virtual=False)


def test_base_goes_on_with_what_it_is_given(tiny_checkpoint: Path) -> None:
    async def ask(model: StepAudio2Model) -> None:
        agent = Agent("Read this paragraph at a natural pace.\n", model=model, seed=1, journal=Journal())
        result = await agent.ask("Hello there.")
        assert result.reason == "completed" and result.text
        talk = model._talks[-1][1]
        prompt = talk.prompt([UserInput("Hello there.")], "speak")
        loaded = await model._loaded.get()
        ids = [token_id for part in prompt if isinstance(part, tuple) for token_id in part]
        assert loaded.tokenizer.decode(ids) == "Read this paragraph at a natural pace.\nHello there.<tts_start>"
        assert loaded.tokenizer.bot not in ids

    run_base(tiny_checkpoint, ask)


def test_base_speaks_a_given_line(tiny_checkpoint: Path) -> None:
    async def say(model: StepAudio2Model) -> None:
        pieces = [piece async for piece in model.say("One moment.")]
        assert "".join(piece.text for piece in pieces) == "One moment." and pieces[0].audio.seconds > 0

    run_base(tiny_checkpoint, say)


def test_base_has_neither_tools_nor_a_conversation(tiny_checkpoint: Path) -> None:
    request = ModelRequest((UserInput("Hello."),))

    async def ask(model: StepAudio2Model) -> None:
        async with Agent(model=model, tools=[weather], journal=Journal()).session() as session:
            with pytest.raises(UsageError, match="calls no tools"):
                await session.warm()
            with pytest.raises(UsageError, match="calls no tools"):
                await session.ask("Hello.")
        async with Agent(model=model, seed=1, journal=Journal()).session() as session:
            await session.ask("Hello.")
            with pytest.raises(UsageError, match="no roles"):
                await session.ask("And now?")
        with pytest.raises(UsageError, match="step-audio-2-mini-base does not think"):
            Agent(model=model, thinking=True).session()
        later = replace(request, items=(*request.items, AssistantReply("Hm."), UserInput("Well?")))
        with pytest.raises(UsageError, match="no roles"):
            async with aclosing(model.respond(later)) as stream:
                await anext(stream)
        async with aclosing(model.respond(request)) as stream:  # a refusal spoils nothing
            assert isinstance([event async for event in stream][-1], Done)

    run_base(tiny_checkpoint, ask)
