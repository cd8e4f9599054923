"""The language model itself: the real 0.5B model through llama.cpp."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Literal

import jsonschema
import pytest
from pydantic import BaseModel, ConfigDict, Field

from sayso.errors import ModelError, ModelMissingError
from sayso.items import ToolExample, ToolSpec, UserInput
from sayso.models.base import CallClose, CallOpen, Done, ModelEvent, ModelRequest, Text
from sayso.models.llm import LlamaModel, LlamaRunner, LlmOptions, Truncated
from sayso.models.llm.states import KEPT, StateCache

MODEL = "qwen2.5-coder-0.5b"


class Room(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(max_length=20)]
    floor: Annotated[int, Field(ge=-1, le=5)] = 0


class SetLight(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rooms: Annotated[list[Room], Field(min_length=1, max_length=2)]
    on: bool
    colour: Literal["white", "warm"] | None = None
    level: Annotated[float, Field(gt=0, le=1)] = 1
    code: Annotated[str, Field(pattern="^[A-Z]{2}[0-9]$")] = "AB1"


class Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: str
    day: Literal["today", "tomorrow"] = "today"


TOOLS = (
    ToolSpec("set_light", "Switch lights.", SetLight.model_json_schema()),
    ToolSpec("list_timers", "The timers that run.", Nothing.model_json_schema()),
    ToolSpec(
        "get_weather",
        "The weather forecast for a city.",
        City.model_json_schema(),
        (ToolExample("do I need a coat in Oslo", {"city": "Oslo"}),),
    ),
)
REQUEST = ModelRequest((UserInput("what is the weather in Paris tomorrow"),), "You help.", TOOLS)


@pytest.fixture(scope="module")
def model(model_path: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaModel]:
    states = tmp_path_factory.mktemp("states")
    made = LlamaModel(LlmOptions(model_path(MODEL), context_tokens=2048, states=states))
    yield made
    asyncio.run(made.aclose())


async def answer(model: LlamaModel, request: ModelRequest) -> list[ModelEvent]:
    return [event async for event in model.respond(request)]


@pytest.mark.models
def test_it_calls_the_tool_that_was_asked_for(model: LlamaModel) -> None:
    events = asyncio.run(answer(model, REQUEST))
    assert [event.name for event in events if isinstance(event, CallOpen)] == ["get_weather"]
    (close,) = [event for event in events if isinstance(event, CallClose)]
    assert close.arguments is not None
    assert close.arguments["city"] == "Paris"
    assert isinstance(events[-1], Done)
    assert events[-1].completion_tokens > 0


@pytest.mark.models
def test_the_shared_prompt_is_evaluated_once(model: LlamaModel) -> None:
    asyncio.run(model.warm(REQUEST))
    events = asyncio.run(answer(model, REQUEST))
    done = events[-1]
    assert isinstance(done, Done)
    assert done.prompt_tokens < 60


@pytest.mark.models
def test_no_call_where_none_is_allowed_and_no_words_where_one_is_forced(model: LlamaModel) -> None:
    spoken = asyncio.run(answer(model, ModelRequest(REQUEST.items, "You help.", TOOLS, allow_calls=False)))
    assert "".join(event.text for event in spoken if isinstance(event, Text)).strip()
    assert not any(isinstance(event, CallOpen) for event in spoken)
    hello = (UserInput("hello"),)
    forced = asyncio.run(answer(model, ModelRequest(hello, "You help.", TOOLS, force_call=True)))
    assert any(isinstance(event, CallClose) for event in forced)


@pytest.mark.models
def test_calls_are_valid_however_wild_the_model_is(model: LlamaModel) -> None:
    wild = LlamaModel(LlmOptions(model.options.path, temperature=2.5))
    wild._runner = model._runner  # one model in memory is enough
    specs = {tool.name: tool for tool in TOOLS}

    async def run() -> list[list[ModelEvent]]:
        return [
            await answer(wild, ModelRequest((UserInput("lights"),), "You help.", TOOLS, force_call=True, seed=seed))
            for seed in range(6)
        ]

    for events in asyncio.run(run()):
        (opened,) = [event for event in events if isinstance(event, CallOpen)]
        (closed,) = [event for event in events if isinstance(event, CallClose)]
        jsonschema.Draft202012Validator(specs[opened.name].parameters).validate(closed.arguments)
        json.loads(closed.raw)


@pytest.mark.models
def test_an_evaluated_prompt_comes_back_from_disk_and_a_broken_file_does_not_matter(model: LlamaModel) -> None:
    async def run() -> None:
        runner = await model.runner()
        states = StateCache(runner)
        assert not await states.restore("never seen")
        await runner.prefill("Once upon a time")
        await states.save("Once upon a time")
        await runner.prefill("x")
        assert await states.restore("Once upon a time")
        assert runner.states is not None
        newest = max(runner.states.glob("*.state"), key=lambda file: file.stat().st_mtime_ns)
        newest.write_bytes(newest.read_bytes()[:-100])
        assert not await states.restore("Once upon a time")
        assert not newest.exists()
        for number in range(KEPT + 3):
            await states.save(f"prompt {number}")
        assert len(list(runner.states.glob("*.state"))) == KEPT
        assert not list(runner.states.glob("*.tmp"))

    asyncio.run(run())


@pytest.mark.models
def test_closing_the_stream_ends_the_decoding(model: LlamaModel) -> None:
    async def run() -> None:
        runner = await model.runner()
        async with aclosing(runner.stream("Once upon a time", max_tokens=1000)) as stream:
            async for _ in stream:
                break
        await runner.complete("Once upon a time", max_tokens=1)
        assert runner.usage.completion_tokens == 1
        with pytest.raises(Truncated):
            async for _ in runner.stream("Once upon a time", max_tokens=3):
                pass
        with pytest.raises(ModelError, match="context"):
            await runner.complete("word " * 3000)

    asyncio.run(run())


def test_a_missing_model_and_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="sayso models pull"):
        LlamaRunner.load(tmp_path / "none.gguf")
    (tmp_path / "broken.gguf").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="no GGUF"):
        LlamaRunner.load(tmp_path / "broken.gguf")
