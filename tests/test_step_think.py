"""Step-Audio thinks before it answers: two passes, one cache, and nothing of the thought is spoken or kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the extra step-audio is not installed")
pytest.importorskip("xgrammar", reason="the extra step-audio is not installed")

import torch

from sayso import Agent, tool
from sayso.cli import main as main_of
from sayso.engine.cache import keys_of
from sayso.engine.request import Generation, Usage
from sayso.errors import UsageError
from sayso.events import Thought as Thinks
from sayso.items import AssistantReply, ToolCall, ToolOutput, UserInput
from sayso.models.base import Done, ModelEvent, ModelRequest, Speech, Text, Thinking
from sayso.models.step_audio2.interleave import build
from sayso.models.step_audio2.loaded import Options
from sayso.models.step_audio2.model import StepAudio2Model
from sayso.models.step_audio2.thought import Thought, answer_after_thought
from sayso.models.step_audio2.tokenizer import Tokenizer
from sayso.testing import ScriptedModel, run
from sayso.tools import Journal
from sayso.turn_policy import TurnPolicy

THOUGHT = "他很高兴。\n"
REQUEST = ModelRequest((UserInput("Hello there."),), "Be brief.", seed=1, thinking=12)


@tool(effect="read")
def weather(city: Literal["Oslo", "Rome"]) -> str:
    """The weather."""
    return f"fine in {city}"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@asynccontextmanager
async def model_of(folder: Path, **options: Any) -> AsyncIterator[StepAudio2Model]:
    settings = {"device": "cpu", "dtype": "float32", "max_tokens": 20, "max_length": 1024, "kind": "think"} | options
    model = StepAudio2Model(Options(folder, sessions=2, **settings))
    try:
        yield model
    finally:
        await model.aclose()


async def events_of(model: StepAudio2Model, request: ModelRequest) -> list[ModelEvent]:
    async with aclosing(model.respond(request)) as stream:
        return [event async for event in stream]


def real(main: Any) -> Any:
    return run(main, virtual=False)


# --- reading a thought ------------------------------------------------------------------------------------------


def test_the_answer_goes_behind_the_thought(step_tokenizer: Tokenizer) -> None:
    thought = step_tokenizer.encode(THOUGHT)
    for end in ([522, 26865, 29], [522, 26865, 1339], [522, 26865, 397]):
        assert answer_after_thought(step_tokenizer, [*thought, *end]) == [*thought, 522, 26865, 1339, 151693]
        written = answer_after_thought(step_tokenizer, [*thought, *end], speak=False)
        assert written == [*thought, 522, 26865, 1339]
    letters = [i for letter in "</think>" for i in step_tokenizer.encode(letter)]
    for kept in range(len(letters) + 1):  # cut off before its end, too
        answer = answer_after_thought(step_tokenizer, [*thought, *letters[:kept]])
        assert step_tokenizer.decode(answer) == f"{THOUGHT}</think>\n\n<tts_start>"
        assert answer[: len(thought)] == thought
    assert step_tokenizer.decode(answer_after_thought(step_tokenizer, [])) == "</think>\n\n<tts_start>"


def test_a_letter_that_was_cut_off_goes(step_tokenizer: Tokenizer) -> None:
    ids = step_tokenizer.encode("好𓀀")
    assert len(ids) > 2
    answer = answer_after_thought(step_tokenizer, ids[:-1], speak=False)
    assert step_tokenizer.decode(answer) == "好</think>\n\n"


@given(st.text(alphabet="</think>我 \n", max_size=30), st.booleans())
def test_the_words_of_a_thought_are_told_up_to_its_end(step_tokenizer: Tokenizer, words: str, ends: bool) -> None:
    text = words + ("</think>\n\nthe answer" if ends else "")
    thought = Thought(step_tokenizer)
    told = ""
    for token_id in step_tokenizer.encode(text):
        told += thought.feed(token_id)
        if thought.over:
            break
    assert thought.over == ("</think>" in text)
    assert told + thought.finish() == text.partition("</think>")[0]
    assert thought.over and thought.finish() == ""


def test_a_thought_ends_with_the_message(step_tokenizer: Tokenizer) -> None:
    thought = Thought(step_tokenizer)
    told = [thought.feed(token_id) for token_id in [*step_tokenizer.encode("well <"), step_tokenizer.eot]]
    assert thought.over and "".join(told) == "well <"
    assert step_tokenizer.decode(thought.answer(speak=False)) == "well </think>\n\n"


# --- the model --------------------------------------------------------------------------------------------------


def test_a_thought_that_finds_no_end_is_closed_and_the_answer_goes_on(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            first = await events_of(model, REQUEST)
            kinds = [type(event) for event in first if isinstance(event, Thinking | Text | Speech)]
            assert Thinking in kinds and Text in kinds
            assert kinds == sorted(kinds, key=lambda kind: kind is not Thinking)  # the thought comes first
            again = (await events_of(model, REQUEST))[-1]
            assert isinstance(again, Done) and again.completion_tokens == 12 + 20
            assert again.prompt_tokens <= 1 + 8  # neither pass computes the prompt, the second the thought's end alone
            assert not any(isinstance(e, Thinking) for e in await events_of(model, replace(REQUEST, thinking=0)))

    real(main())


def test_a_thought_leaves_room_for_the_answer(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint, max_length=200) as model:
            events = await events_of(model, replace(REQUEST, thinking=10_000))
            assert isinstance(events[-1], Done) and any(isinstance(event, Text) for event in events)

    real(main())


def test_the_thought_is_told_and_does_not_stay(tiny_checkpoint: Path) -> None:
    policy = TurnPolicy(thinking_tokens=9)

    async def ask(model: StepAudio2Model, thinking: bool) -> None:
        agent = Agent("Be brief.", model=model, seed=3, thinking=thinking, policy=policy, journal=Journal())
        async with agent.session() as session:
            first = await session.ask("Hello.")
            assert any(isinstance(event, Thinks) for event in first.events) is thinking
            await session.ask("And now?")
            assert [type(item) for item in session.history] == [UserInput, AssistantReply] * 2

    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            await ask(model, thinking=True)
            shown = model._talks[-1][1].prompt([UserInput("Hello.")], "write")
            assert "<think>" not in (await model._loaded.get()).tokenizer.decode(
                token_id for part in shown if isinstance(part, tuple) for token_id in part
            )
            await ask(model, thinking=False)

    real(main())


def test_what_is_left_of_a_thought_in_the_cache_changes_nothing(tiny_checkpoint: Path) -> None:
    """A later turn draws the same ids from a cache that was rolled back as from a fresh one."""
    reply = AssistantReply("Hm.")
    later = replace(REQUEST, items=(*REQUEST.items, reply, UserInput("And now?")))

    async def main() -> None:
        ids: list[object] = []
        for warm in (True, False):
            async with model_of(tiny_checkpoint) as model:
                if warm:
                    await events_of(model, REQUEST)
                await events_of(model, later)
                ids.append(model._talks[-1][1]._generated)
        assert ids[0] == ids[1]

    real(main())


def test_a_thought_can_be_interrupted(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint, max_length=2000) as model:
            policy = TurnPolicy(thinking_tokens=800)
            agent = Agent(model=model, seed=3, thinking=True, policy=policy, journal=Journal())
            async with agent.session() as session:
                async with aclosing(session.stream("Hello.")) as stream:
                    async for event in stream:
                        if isinstance(event, Thinks):
                            assert await session.interrupt()
                            break
            assert session.history == (UserInput("Hello."),)
            events = await events_of(model, replace(REQUEST, items=(*session.history, UserInput("Well?"))))
            assert isinstance(events[-1], Done)

    real(main())


class Script:
    """An engine that gives ids as they are written here, a list a request."""

    def __init__(self, *answers: Sequence[int]) -> None:
        self.answers = [*answers]
        self.requests: list[Generation] = []
        self.usage = Usage()

    def generate(self, request: Generation) -> Script:
        self.requests.append(request)
        self._ids = iter(self.answers.pop(0))
        return self

    def __aiter__(self) -> Script:
        return self

    async def __anext__(self) -> int:
        for token_id in self._ids:
            return token_id
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._ids = iter(())

    async def warm(self, prefix: object) -> None: ...

    def release(self, session: str) -> None: ...


def test_a_call_after_a_thought_runs(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            loaded = await model._loaded.get()
            tokenizer = loaded.tokenizer
            thought = [*tokenizer.encode(THOUGHT), 522, 26865, 29]
            codes = list(range(12))
            asks = [
                *build(tokenizer, tokenizer.encode("One moment."), codes),
                *tokenizer.encode_marked('<tool_call>function\nweather\n{"city": "Oslo"}</tool_call>'),
                tokenizer.eot,
            ]
            answers = [*build(tokenizer, tokenizer.encode("It is fine."), codes), tokenizer.eot]
            script = Script(thought, asks, thought, answers)
            await loaded.engine.aclose()
            loaded.engine = script  # type: ignore[assignment]
            agent = Agent("Be brief.", [weather], model=model, thinking=True, journal=Journal())
            async with agent.session() as session:
                result = await session.ask("Is it fine in Oslo?")
            assert [call.output for call in result.calls] == ["fine in Oslo"]
            assert result.text == "One moment. It is fine."
            assert [e.text for e in result.events if isinstance(e, Thinks)] == [*_pieces(tokenizer, THOUGHT)] * 2
            kinds = [UserInput, AssistantReply, ToolCall, ToolOutput, AssistantReply]
            assert [type(item) for item in session.history] == kinds
            prompts = [keys_of(request.prompt) for request in script.requests]
            assert len({request.session for request in script.requests}) == 1
            for first, second in ((0, 1), (2, 3)):
                open_end = [*thought[:-1], 1339, tokenizer.tts_start]
                assert prompts[second] == [*prompts[first], *open_end]
            text = tokenizer.decode(prompts[2])
            assert text.count("<think>") == 1 and text.endswith("<|BOT|>assistant\n\n<think>\n")
            assert tokenizer.decode(asks) in text  # as it was generated, without the thought
            assert "请激活深度思考模式" in tokenizer.decode(prompts[0])

    real(main())


def _pieces(tokenizer: Tokenizer, text: str) -> Iterator[str]:
    decoder = tokenizer.decoder()
    for token_id in tokenizer.encode(text):
        if piece := decoder.feed(token_id):
            yield piece


# --- who thinks -------------------------------------------------------------------------------------------------


def test_a_model_that_does_not_think_is_told(tiny_checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=r"scripted does not think.*step-audio-2-mini-think"):
        Agent(model=ScriptedModel(), thinking=True).session()
    with pytest.raises(UsageError, match="step-audio-2-mini does not think"):
        Agent(model=str(tiny_checkpoint), thinking=True).session()


def test_the_command_line_refuses_to_think_without(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main_of(["ask", "--text", "hi", "--think", "--model", str(tiny_checkpoint)]) == 2
    assert "step-audio-2-mini does not think" in capsys.readouterr().err


def test_a_budget_is_a_number() -> None:
    with pytest.raises(UsageError, match="thinking_tokens"):
        TurnPolicy(thinking_tokens=-1)
