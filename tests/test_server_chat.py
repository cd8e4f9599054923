"""Chat completions, through OpenAI's own client, over real connections."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("openai", reason="the package openai is not installed")

import openai

from sayso import Agent, tool
from sayso.errors import ModelError
from sayso.items import AssistantReply, Instruction, ToolCall, ToolOutput, UserInput
from sayso.models.base import Done, ModelRequest, Text
from sayso.models.transcription import Segment
from sayso.server.app import create_app
from sayso.server.chat.memory import KEPT, KEPT_S, Kept
from sayso.server.settings import ServerSettings
from sayso.server.testing import serving
from sayso.speech.audio import load
from sayso.testing import ScriptedModel, call, fail, hear, run, say, wait
from sayso.tools.journal import Journal

QUESTION = Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@tool(effect="read")
def price(item: str) -> str:
    """The price of an item."""
    return f"{item} costs three euros"


def talk(main: Callable[[Any], Awaitable[None]], model: Any, *, tools: Any = (price,), **agent: Any) -> None:
    """Run ``main`` with a client of a server whose agent has ``model``; every step has to be used."""

    async def served() -> None:
        bakery = Agent(model=model, tools=tools, journal=Journal(), **agent)
        async with (
            asyncio.timeout(20),
            serving(create_app({"bakery": bakery}, ServerSettings(warm=False))) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        ):
            await main(client)

    run(served(), virtual=False)
    model.assert_finished()


async def ask(client: Any, *messages: Any, **more: Any) -> Any:
    said = [{"role": "user", "content": message} if isinstance(message, str) else message for message in messages]
    return await client.chat.completions.create(**{"model": "bakery", "messages": said, **more})


def speech(part: bytes | None = None) -> dict[str, Any]:
    data = base64.b64encode(part or QUESTION.read_bytes()).decode()
    return {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]}


class Counting(ScriptedModel):
    """Tells what its rounds took: 7 tokens in and 3 out, and that they were cut off."""

    async def respond(self, request: ModelRequest) -> Any:
        async for event in super().respond(request):
            yield Done(7, 3, truncated=True) if isinstance(event, Done) else event


def test_an_answer_in_words() -> None:
    model = ScriptedModel({"hello": [say("Good morning.")]})

    async def main(client: Any) -> None:
        answer = await ask(client, "Hello")
        choice = answer.choices[0]
        assert (choice.message.content, choice.finish_reason) == ("Good morning.", "stop")
        assert (choice.message.role, choice.message.tool_calls, choice.message.audio) == ("assistant", None, None)
        assert (answer.model, answer.object) == ("bakery", "chat.completion")
        assert answer.usage.total_tokens == 0

    talk(main, model)
    assert not model.requests[0].speak


def test_a_conversation_is_shown_to_the_model_as_it_was() -> None:
    model = ScriptedModel({"thanks": [say("You are welcome.")]})

    async def main(client: Any) -> None:
        await ask(
            client,
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            "Weather in Rome?",
            {
                "role": "assistant",
                "content": "One moment.",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
            {"role": "assistant", "content": "It is sunny."},
            {"role": "system", "content": "They are in a hurry."},
            "Thanks",
        )

    talk(main, model, instructions="You answer for a bakery.")
    request = model.requests[0]
    assert request.instructions == "You answer for a bakery.\n\nBe brief.\n\nBe kind."
    assert list(request.items) == [
        UserInput("Weather in Rome?"),
        AssistantReply("One moment."),
        ToolCall("c1", "weather", {"city": "Rome"}),
        ToolOutput("c1", "weather", "sunny"),
        AssistantReply("It is sunny."),
        Instruction("They are in a hurry."),
        UserInput("Thanks"),
    ]


def test_the_agents_own_tools_run_inside() -> None:
    model = ScriptedModel({"bread": [call("price", item="bread")]}, {"three euros": [say("Three euros.")]})

    async def main(client: Any) -> None:
        answer = await ask(client, "What is bread?")
        assert answer.choices[0].message.content == "Three euros."
        assert answer.choices[0].finish_reason == "stop"

    talk(main, model)


def test_a_call_of_the_clients_ends_the_answer_and_its_output_goes_on() -> None:
    model = ScriptedModel(
        {"weather": [say("Let me look."), call("weather", city="Rome"), call("weather", city="Oslo")]},
        {"snow": [call("weather", city="Bergen")]},
        {"rain": [say("Sunny, snow and rain.")]},
    )

    async def main(client: Any) -> None:
        messages: list[Any] = [{"role": "user", "content": "The weather everywhere?"}]
        first = (await ask(client, *messages, tools=[WEATHER])).choices[0]
        assert first.finish_reason == "tool_calls"
        assert first.message.content == "Let me look."
        calls = first.message.tool_calls
        assert [json.loads(one.function.arguments) for one in calls] == [{"city": "Rome"}, {"city": "Oslo"}]
        messages.append(first.message)
        for one, output in zip(calls, ("sunny", "snow"), strict=True):
            messages.append({"role": "tool", "tool_call_id": one.id, "content": output})
        second = (await ask(client, *messages, tools=[WEATHER])).choices[0]
        assert second.message.content is None
        assert second.message.tool_calls[0].id not in {one.id for one in calls}
        messages += [
            second.message,
            {"role": "tool", "tool_call_id": second.message.tool_calls[0].id, "content": "rain"},
        ]
        third = (await ask(client, *messages, tools=[WEATHER])).choices[0]
        assert (third.message.content, third.finish_reason) == ("Sunny, snow and rain.", "stop")

    talk(main, model)


def test_tools_on_both_sides_in_one_round() -> None:
    model = ScriptedModel(
        {"bread": [call("price", item="bread"), call("weather", city="Rome")]},
        {"sunny": [say("Three euros, and it is sunny.")]},
    )

    async def main(client: Any) -> None:
        first = (await ask(client, "Bread and weather?", tools=[WEATHER])).choices[0].message
        assert [one.function.name for one in first.tool_calls] == ["weather"]
        output = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "sunny"}
        await ask(client, "Bread and weather?", first, output, tools=[WEATHER])

    talk(main, model)
    shown = [item for item in model.requests[1].items if not isinstance(item, UserInput)]
    assert [type(item).__name__ for item in shown] == ["ToolCall", "ToolOutput", "ToolCall", "ToolOutput"]
    assert isinstance(shown[1], ToolOutput) and "three euros" in shown[1].output


def test_a_call_with_wrong_arguments_is_the_models_to_mend() -> None:
    model = ScriptedModel({"weather": [call("weather", town="Rome")]}, {"wrong": [call("weather", city="Rome")]})

    async def main(client: Any) -> None:
        message = (await ask(client, "Weather?", tools=[WEATHER])).choices[0].message
        assert [one.function.arguments for one in message.tool_calls] == ['{"city": "Rome"}']

    talk(main, model)


def test_one_call_at_a_time() -> None:
    model = ScriptedModel({"weather": [call("weather", city="Rome"), call("weather", city="Oslo")]})

    async def main(client: Any) -> None:
        answer = await ask(client, "Weather?", tools=[WEATHER], parallel_tool_calls=False)
        assert len(answer.choices[0].message.tool_calls) == 1

    talk(main, model)


@pytest.mark.parametrize(
    ("choice", "names", "force"),
    [
        ("auto", {"price", "weather"}, False),
        ("required", {"price", "weather"}, True),
        ({"type": "function", "function": {"name": "weather"}}, {"weather"}, True),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
                {"type": "function", "function": {"name": "price"}}]}},
            {"price"},
            False,
        ),
    ],
)  # fmt: skip
def test_tool_choice(choice: Any, names: set[str], force: bool) -> None:
    def fits(request: ModelRequest) -> bool:
        return {spec.name for spec in request.tools} == names and request.force_call == force and request.allow_calls

    async def main(client: Any) -> None:
        await ask(client, "Hello", tools=[WEATHER], tool_choice=choice)

    talk(main, ScriptedModel((fits, [say("Hi.")])))


def test_no_tools() -> None:
    async def main(client: Any) -> None:
        await ask(client, "Hello", tools=[WEATHER], tool_choice="none")

    talk(main, ScriptedModel((lambda request: not request.allow_calls, [say("Hi.")])))


def test_settings_reach_the_model() -> None:
    def fits(request: ModelRequest) -> bool:
        return (request.max_tokens, request.temperature, request.seed) == (9, 0.5, 3)

    async def main(client: Any) -> None:
        await ask(client, "Hello", max_completion_tokens=9, temperature=0.5, seed=3)

    talk(main, ScriptedModel((fits, [say("Hi.")])))


def test_an_answer_that_was_cut_off_says_so() -> None:
    async def main(client: Any) -> None:
        answer = await ask(client, "Bread?", max_tokens=2)
        assert answer.choices[0].finish_reason == "length"
        usage = answer.usage
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (14, 6, 20)  # of two rounds

    talk(main, Counting({"bread": [call("price", item="bread")]}, {"three": [say("Cut o")]}))


def test_an_answer_with_a_schema() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    model = ScriptedModel((lambda request: request.answer_schema == schema, [Text('{"city":"Rome"}')]),
                          (lambda request: request.answer_schema == {"type": "object"}, [Text("{}")]))  # fmt: skip
    model.profile = replace(model.profile, constrains_answers=True)

    async def main(client: Any) -> None:
        form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}}
        answer = await ask(client, "Where?", response_format=form)
        assert json.loads(answer.choices[0].message.content) == {"city": "Rome"}
        assert (await ask(client, "Where?", response_format={"type": "json_object"})).choices[0].message.content == "{}"

    talk(main, model)


def test_stop_words_cut_the_answer() -> None:
    model = ScriptedModel({"count": [say("one two three four")]}, {"count": [say("one two three four")]})

    async def main(client: Any) -> None:
        answer = await ask(client, "Count", stop=["three", "two th"])
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("one ", "stop")
        stream = await ask(client, "Count", stop="five", stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "one two three four"

    talk(main, model)


# Speech


def test_a_spoken_question_and_a_spoken_answer() -> None:
    model = ScriptedModel((None, [hear("What time is it?", "en"), say("It is nine.")]), {"again": [say("Nine.")]})

    async def main(client: Any) -> None:
        answer = await ask(client, speech(), modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"})
        message = answer.choices[0].message
        assert message.content is None
        assert message.audio.transcript == "It is nine."
        sound = load(base64.b64decode(message.audio.data))
        assert sound.sample_rate_hz == 24_000
        assert sound.seconds == pytest.approx(11 * 0.06, abs=0.01)
        assert message.audio.expires_at > answer.created
        again = {"role": "assistant", "audio": {"id": message.audio.id}}
        await ask(client, "What time is it?", again, "Say it again")
        with pytest.raises(openai.BadRequestError, match="no spoken answer 'audio_x'"):
            await ask(client, "Hello", {"role": "assistant", "audio": {"id": "audio_x"}}, "Again")

    talk(main, model)
    assert model.requests[0].speak and model.requests[0].items[-1].audio.seconds > 0.5  # type: ignore[union-attr]
    assert model.requests[1].items[1] == AssistantReply("It is nine.")


@pytest.mark.parametrize("form", ["mp3", "flac", "opus", "aac", "pcm16"])
def test_spoken_answers_in_every_format(form: str) -> None:
    async def main(client: Any) -> None:
        answer = await ask(client, "Hello", modalities=["text", "audio"], audio={"voice": "tone", "format": form})
        data = base64.b64decode(answer.choices[0].message.audio.data)
        seconds = len(data) / 48_000 if form == "pcm16" else load(data).seconds
        assert seconds == pytest.approx(1.2, abs=0.1)

    talk(main, ScriptedModel({"hello": [say("Twenty letters here.")]}))


def test_earlier_speech_is_written_down_once_for_a_model_that_keeps_no_sound() -> None:
    class Writes(ScriptedModel):
        heard = 0

        async def transcribe(self, audio: Any, task: Any = None) -> Any:
            self.heard += 1
            yield Segment("What time is it?", 0, audio.seconds)

    model = Writes({"thanks": [say("Welcome.")]}, {"thanks": [say("Welcome.")]})
    model.profile = replace(model.profile, transcribes=True)

    async def main(client: Any) -> None:
        for _ in range(2):
            await ask(client, speech(), {"role": "assistant", "content": "Nine."}, "Thanks")

    talk(main, model)
    assert model.requests[0].items[0] == UserInput("What time is it?")
    assert model.heard == 1


def test_earlier_speech_that_nobody_can_write_down() -> None:
    async def main(client: Any) -> None:
        with pytest.raises(openai.BadRequestError, match="hears only the last message") as told:
            await ask(client, speech(), {"role": "assistant", "content": "Nine."}, "Thanks")
        assert told.value.param == "messages.0.content.0.input_audio"

    talk(main, ScriptedModel())


def test_words_beside_speech() -> None:
    async def main(client: Any) -> None:
        message = speech()
        message["content"].insert(0, {"type": "text", "text": "Listen:"})
        await ask(client, message)

    model = ScriptedModel((None, [hear("What time is it?"), say("Nine.")]))
    talk(main, model)
    assert [item.text for item in model.requests[0].items] == ["Listen:", ""]  # type: ignore[union-attr]


# Streams


def test_a_stream_of_words() -> None:
    model = Counting({"hello": [say("Good morning to you.")]})

    async def main(client: Any) -> None:
        stream = await ask(client, "Hello", stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        assert chunks[0].choices[0].delta.role == "assistant"
        assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == "Good morning to you."
        assert [c.choices[0].finish_reason for c in chunks[:-1]][-1] == "length"
        assert chunks[-1].choices == [] and chunks[-1].usage.prompt_tokens == 7
        assert len({c.id for c in chunks}) == 1
        assert len(chunks) > 4

    talk(main, model)


def test_a_stream_of_sound() -> None:
    model = ScriptedModel({"hello": [say("Good morning.")]}, {"what": [say("Good morning.")]})

    async def main(client: Any) -> None:
        audio = {"voice": "alloy", "format": "pcm16"}
        stream = await ask(client, "Hello", stream=True, modalities=["text", "audio"], audio=audio)
        deltas = [chunk.choices[0].delta.audio async for chunk in stream if chunk.choices[0].delta.audio]
        assert "".join(delta.transcript or "" for delta in deltas) == "Good morning."
        sound = b"".join(base64.b64decode(delta.data) for delta in deltas if delta.data)
        assert len(sound) / 48_000 == pytest.approx(13 * 0.06, abs=0.01)
        assert deltas[-1].expires_at
        await ask(client, "Hello", {"role": "assistant", "audio": {"id": deltas[0].id}}, "What?")

    talk(main, model)
    assert model.requests[1].items[1] == AssistantReply("Good morning.")


def test_a_stream_of_calls() -> None:
    model = ScriptedModel({"weather": [call("weather", city="Rome"), call("weather", city="Oslo")]})

    async def main(client: Any) -> None:
        async with client.chat.completions.stream(
            model="bakery", messages=[{"role": "user", "content": "Weather?"}], tools=[WEATHER]
        ) as stream:
            answer = await stream.get_final_completion()
        calls = answer.choices[0].message.tool_calls
        assert [json.loads(one.function.arguments)["city"] for one in calls] == ["Rome", "Oslo"]
        assert answer.choices[0].finish_reason == "tool_calls"

    talk(main, model)


def test_a_stream_that_breaks_tells_so() -> None:
    model = ScriptedModel({"hello": [say("Good"), fail(ModelError("The model broke."))]})

    async def main(client: Any) -> None:
        words: list[str] = []
        with pytest.raises(openai.APIError, match="The model broke"):
            async for chunk in await ask(client, "Hello", stream=True):
                words.append(chunk.choices[0].delta.content or "")
        assert "".join(words) == "Good"

    talk(main, model)


def test_what_fails_before_the_first_word_has_a_status() -> None:
    model = ScriptedModel({"hello": [fail(ModelError("The model broke."))]}, {"hello": [fail(ValueError("secret"))]})

    async def main(client: Any) -> None:
        with pytest.raises(openai.APIStatusError, match="The model broke") as told:
            await ask(client, "Hello", stream=True)
        assert told.value.status_code == 503
        with pytest.raises(openai.InternalServerError) as broken:
            await ask(client, "Hello")
        assert "secret" not in str(broken.value.body)

    talk(main, model)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_turn(stream: bool) -> None:
    class Endless(ScriptedModel):
        ended = asyncio.Event()

        async def respond(self, request: ModelRequest) -> Any:
            try:
                while True:
                    yield Text("on and on ")
                    await asyncio.sleep(0.01)
            finally:
                self.ended.set()

    model = Endless()
    model.ended = asyncio.Event()

    async def main(client: Any) -> None:
        if stream:
            answer = await ask(client, "Hello", stream=True)
            await anext(answer)
            await answer.close()
        else:
            asking = asyncio.create_task(ask(client, "Hello"))
            await asyncio.wait([asking], timeout=0.2)
            asking.cancel()
        await model.ended.wait()

    talk(main, model)


# What is refused

HELLO = [{"role": "user", "content": "Hello"}]
CALLS = [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]


REFUSED: list[tuple[dict[str, Any], str, str]] = [  # what is sent, the field, words of the message
    ({"messages": []}, "messages", "at least 1"),
    ({"messages": [{"role": "user", "content": " "}]}, "messages.0.content", "is empty"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages.0", "king"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
     "messages.0.user.content.parts.0", "image_url"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "?"}}]}]},
     "messages.0.content.0.input_audio.data", "no base64"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "bm8="}}]}]},
     "messages.0.content.0.input_audio", "holds text, not sound"),
    ({"messages": [*HELLO, {"role": "tool", "tool_call_id": "c", "content": "x"}]},
     "messages.1.tool_call_id", "No call 'c' waits"),
    ({"messages": [*HELLO, {"role": "assistant", "tool_calls": CALLS}]}, "messages.1", "'c1' has no output"),
    ({"messages": [{"role": "assistant", "tool_calls": CALLS}, *HELLO]}, "messages.1", "'c1' has no output"),
    ({"messages": [{"role": "assistant", "tool_calls": CALLS * 2}]}, "messages.0.tool_calls.1.id", "Two calls"),
    ({"functions": [{"name": "x"}]}, "functions", "not supported"),
    ({"logprobs": True}, "logprobs", "not supported"),
    ({"top_p": 0.5}, "top_p", "not supported"),
    ({"n": 2}, "n", "Input should be 1"),
    ({"temperature": 3}, "temperature", "less than or equal to 2"),
    ({"modalities": ["audio"]}, "audio", "voice and a format"),
    ({"modalities": ["audio"], "audio": {"voice": "nobody", "format": "wav"}}, "audio.voice", "no voice 'nobody'"),
    ({"modalities": ["audio"], "audio": {"voice": "alloy", "format": "wav"}, "stream": True},
     "audio.format", "Streams are pcm16"),
    ({"response_format": {"type": "json_object"}}, "response_format", "cannot have the response_format"),
    ({"tool_choice": {"type": "function", "function": {"name": "nix"}}}, "tool_choice", "no tool 'nix'"),
    ({"tools": [{"type": "function", "function": {"name": "price"}}]}, "tools.0.function.name", "agent's own"),
    ({"tools": [WEATHER, WEATHER]}, "tools.1.function.name", "declared twice"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name", "cannot call"),
    ({"tools": [{"type": "function", "function": {"name": "x", "parameters": {"type": "array"}}}]},
     "tools.0.function.parameters", "not describe an object"),
    ({"tools": [{"type": "function", "function": {
        "name": "x", "parameters": {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}}}]},
     "tools.0.function.parameters", "has no '#/\\$defs/b'"),
    ({"tools": [{"type": "function", "function": {"name": "x", "parameters": {"type": "object", "$ref": "#"}}}]},
     "tools.0.function.parameters", "itself without end"),
    ({"tools": [{"type": "function", "function": {"name": "x", "parameters": {
        "type": "object", "properties": {"a": {"$ref": "#/$defs/a"}},
        "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}}}]},
     "tools.0.function.parameters", "itself without end"),
]  # fmt: skip


def test_what_cannot_be_is_refused_by_name() -> None:
    async def main(client: Any) -> None:
        for body, param, message in REFUSED:
            with pytest.raises(openai.BadRequestError, match=message) as told:
                await client.post(
                    "/chat/completions", body={"model": "bakery", "messages": HELLO} | body, cast_to=object
                )
            assert told.value.param is not None and told.value.param.startswith(param), body
            assert told.value.type == "invalid_request_error"

    talk(main, ScriptedModel())


def test_models() -> None:
    async def main(client: Any) -> None:
        assert [model.id async for model in client.models.list()] == ["bakery"]
        assert (await client.models.retrieve("bakery")).owned_by == "sayso"
        for wrong in (client.models.retrieve("nix"), ask(client, "Hello", model="nix")):
            with pytest.raises(openai.NotFoundError, match="There are: bakery") as told:
                await wrong
            assert told.value.code == "model_not_found"
        assert (await ask(client, "Hello", model="gpt-4o-audio-preview")).model == "bakery"

    talk(main, ScriptedModel({"hello": [say("Hi.")]}))


def test_turns_at_the_same_time_do_not_meet() -> None:
    class Echo(ScriptedModel):
        async def respond(self, request: ModelRequest) -> Any:
            await asyncio.sleep(0.01)
            yield Text(request.items[-1].text)  # type: ignore[union-attr]
            yield Done()

    async def main(client: Any) -> None:
        answers = await asyncio.gather(*(ask(client, f"Number {number}") for number in range(20)))
        assert [answer.choices[0].message.content for answer in answers] == [f"Number {n}" for n in range(20)]

    talk(main, Echo())


def test_what_is_kept_is_its_callers_alone_and_not_for_ever() -> None:
    now = 1000.0
    kept = Kept[str](lambda: now)
    assert kept.put("ann", "a", "words") == 1000 + KEPT_S
    assert kept.get("ann", "a") == "words"
    assert kept.get("bob", "a") is None
    for number in range(KEPT):
        kept.put("ann", str(number), "x")
    assert kept.get("ann", "a") is None
    now += KEPT_S + 1
    assert kept.get("ann", "1999") is None


def test_a_slow_answer_does_not_end_by_itself() -> None:
    async def main(client: Any) -> None:
        assert (await ask(client, "Hello")).choices[0].message.content == "Hi."

    talk(main, ScriptedModel({"hello": [wait(0.05), say("Hi.")]}))


@pytest.mark.models
def test_the_embedded_model_fills_in_a_form(model_path: Any) -> None:
    from sayso.models.embedded import embedded_model

    for name in ("qwen2.5-coder-0.5b", "whisper-tiny.en", "kokoro-82m", "kokoro-voices"):
        model_path(name)
    model = embedded_model(size="small")
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "celsius": {"type": "integer"}},
        "required": ["city", "celsius"],
        "additionalProperties": False,
    }

    async def main() -> None:
        app = create_app(Agent(model=model), ServerSettings(warm=False))
        async with serving(app) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
            form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": schema}}
            answer = await ask(client, "In Lisbon it is 21 degrees.", model="sayso", response_format=form)
            assert json.loads(answer.choices[0].message.content) == {"city": "Lisbon", "celsius": 21}
            short = await ask(client, "Tell me a long story.", model="sayso", max_completion_tokens=4)
            assert short.choices[0].finish_reason == "length"
            assert 0 < short.usage.completion_tokens <= 4

    run(main(), virtual=False)
