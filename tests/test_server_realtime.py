"""The Realtime protocol without a socket: responses, items, turns by hand. Every event is one of OpenAI's types."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("openai", reason="the package openai is not installed")

sys.path.insert(0, str(Path(__file__).parent))

from realtime_client import Client, agent_of, base64_of, connected, function, kinds, pcm

from sayso.errors import ModelError
from sayso.items import AssistantReply, Instruction, UserInput
from sayso.models.base import Done, ModelEvent, ModelRequest
from sayso.testing import ScriptedModel, fail, hear, run, say, wait


class Counting(ScriptedModel):
    """Tells how many tokens each round had."""

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        async for event in super().respond(request):
            yield Done(prompt_tokens=7, completion_tokens=3) if isinstance(event, Done) else event


def talk(model: ScriptedModel, script: Any, **options: Any) -> Client:
    """Run ``script(client)`` on a connection; every step of the model has to be used."""

    async def main() -> Client:
        async with connected(agent_of(model, options.pop("tools", ())), **options) as client:
            await script(client)
            client.rest()
        model.assert_finished()
        return client

    return run(main())


def test_a_session_shows_all_of_its_configuration() -> None:
    async def script(client: Client) -> None:
        session = client.seen[0]["session"]
        assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
        assert session["audio"]["output"] == {
            "format": {"type": "audio/pcm", "rate": 24000},
            "voice": "tone",
            "speed": 1.0,
        }
        assert session["audio"]["input"]["turn_detection"] == {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "idle_timeout_ms": None,
            "create_response": True,
            "interrupt_response": True,
        }
        change = {
            "type": "realtime",
            "instructions": "Be brief.",
            "output_modalities": ["text"],
            "tools": [function("look", where="string")],
            "tool_choice": {"type": "function", "name": "look"},
            "max_output_tokens": 200,
            "audio": {
                "input": {
                    "turn_detection": {"type": "semantic_vad", "eagerness": "low"},
                    "transcription": {"model": "whisper-1", "language": "en"},
                    "noise_reduction": {"type": "near_field"},
                    "format": {"type": "audio/pcmu"},
                },
                "output": {"voice": "marin", "format": {"type": "audio/pcma"}},
            },
            "truncation": {"type": "retention_ratio", "retention_ratio": 0.5},
            "tracing": "auto",
        }
        await client.send("session.update", session=change)
        found = client.rest()[-1]["session"]
        assert found["instructions"] == "Be brief." and found["max_output_tokens"] == 200
        assert found["audio"]["input"]["turn_detection"] == {
            "type": "semantic_vad",
            "eagerness": "low",
            "create_response": True,
            "interrupt_response": True,
        }
        assert found["audio"]["input"]["transcription"] == {"model": "whisper-1", "language": "en"}
        assert found["audio"]["output"]["voice"] == "marin" and found["tool_choice"]["name"] == "look"
        assert found["truncation"]["retention_ratio"] == 0.5 and found["tracing"] == "auto"
        await client.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        found = client.rest()[-1]["session"]
        assert found["audio"]["input"]["turn_detection"] is None
        assert found["audio"]["input"]["format"] == {"type": "audio/pcmu"} and found["instructions"] == "Be brief."
        assert [tool["name"] for tool in found["tools"]] == ["look"]

    talk(ScriptedModel(), script)


def test_a_spoken_response_has_every_event_in_order() -> None:
    async def script(client: Client) -> None:
        await client.say("What time is it?", event_id="mine")
        assert kinds(client.rest()) == ["conversation.item.added", "conversation.item.done"]
        await client.send("response.create", response={"metadata": {"client_event_id": "x1"}})
        events = await client.until("response.done")
        assert kinds(events, "response.output_audio.delta", "response.output_audio_transcript.delta") == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
        assert events[0]["response"]["metadata"] == {"client_event_id": "x1"}
        assert events[0]["response"]["status"] == "in_progress"
        done = events[-1]["response"]
        assert (done["status"], done["metadata"]) == ("completed", {"client_event_id": "x1"})
        assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "It is nine."}]
        assert done["usage"]["total_tokens"] == 10
        deltas = [event for event in events if event["type"] == "response.output_audio.delta"]
        sound = b"".join(base64.b64decode(event["delta"]) for event in deltas)
        assert abs(len(sound) / 48 - len("It is nine.") * 60) <= 30  # 60 ms a character
        assert all(len(base64.b64decode(event["delta"])) <= 200 * 48 for event in deltas)
        assert len({event["event_id"] for event in client.seen}) == len(client.seen)
        assert client.session.history == (UserInput("What time is it?"), AssistantReply("It is nine."))
        assert client.session.history[1].id == done["output"][0]["id"]

    talk(Counting((None, say("It is nine."))), script)


def test_a_written_response() -> None:
    async def script(client: Client) -> None:
        await client.say("Hello?")
        await client.send("response.create", response={"output_modalities": ["text"], "instructions": "Greet."})
        events = await client.until("response.done")
        assert "response.output_text.delta" in kinds(events) and "response.output_audio.delta" not in kinds(events)
        assert events[-1]["response"]["output"][0]["content"] == [{"type": "output_text", "text": "Hello there."}]
        assert events[-1]["response"]["output_modalities"] == ["text"]

    def greets(request: Any) -> bool:
        return request.instructions == "Greet." and not request.speak

    talk(ScriptedModel((greets, say("Hello there."))), script)


def test_only_one_response_at_a_time_and_what_is_cancelled_stops() -> None:
    async def script(client: Client) -> None:
        await client.send("response.cancel")
        assert (await client.error())["code"] == "response_cancel_not_active"
        await client.say("Count.")
        await client.send("response.create")
        id = await client.send("response.create")
        error = await client.error()
        assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", id)
        await client.until("response.output_audio.delta")
        await client.send("response.cancel")
        done = await client.done()
        assert done["status"] == "cancelled"
        assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        assert done["output"][0]["status"] == "incomplete"
        assert not client.session.is_busy
        await client.send("response.create")
        assert (await client.done())["status"] == "completed"

    talk(ScriptedModel((None, [*say("one two three"), wait(60)]), (None, say("Again."))), script)


def test_a_response_can_be_cancelled_before_it_began() -> None:
    async def script(client: Client) -> None:
        await client.say("Count.")
        await client.send("response.create")
        await client.send("response.cancel")
        assert (await client.done())["status"] == "cancelled"
        await client.send("response.create")
        assert (await client.done())["status"] == "completed"

    talk(ScriptedModel((None, say("One."))), script)


def test_a_model_that_fails_fails_the_response() -> None:
    async def script(client: Client) -> None:
        await client.say("Hello")
        await client.send("response.create")
        done = await client.done()
        assert done["status"] == "failed" and "It broke." in done["status_details"]["error"]["message"]
        await client.send("response.create")
        assert (await client.done())["status"] == "completed"

    talk(ScriptedModel((None, fail(ModelError("It broke."))), (None, say("Hi."))), script)


def test_most_tokens() -> None:
    async def script(client: Client) -> None:
        await client.say("Hello")
        await client.send("response.create", response={"max_output_tokens": 3})
        done = await client.done()
        assert done["status"] == "incomplete" and done["status_details"]["reason"] == "max_output_tokens"
        assert done["max_output_tokens"] == 3

    def asks(request: Any) -> bool:
        return request.max_tokens == 3

    talk(Counting((asks, say("One two three"))), script)


def test_items_of_every_role_in_their_places() -> None:
    def message(role: str, kind: str, text: str, id: str) -> dict[str, Any]:
        return {"type": "message", "role": role, "id": id, "content": [{"type": kind, "text": text}]}

    async def script(client: Client) -> None:
        async def create(item: dict[str, Any], **place: str) -> list[dict[str, Any]]:
            await client.send("conversation.item.create", item=item, **place)
            return client.rest()

        added, done = await create(message("user", "input_text", "Two.", "b"))
        assert added["previous_item_id"] is None and added["item"]["id"] == done["item"]["id"] == "b"
        await create(message("assistant", "output_text", "Three.", "c"))
        (added, _) = await create(message("system", "input_text", "One.", "a"), previous_item_id="root")
        assert added["previous_item_id"] is None
        (added, _) = await create(message("user", "input_text", "Two and a half.", "b2"), previous_item_id="b")
        assert added["previous_item_id"] == "b"
        assert client.session.history == (
            Instruction("One."),
            UserInput("Two."),
            UserInput("Two and a half."),
            AssistantReply("Three."),
        )
        assert (await create(message("user", "input_text", "x", "a")))[0]["error"][
            "code"
        ] == "item_create_duplicate_item_id"
        error = (await create(message("user", "input_text", "x", "d"), previous_item_id="no"))[0]["error"]
        assert (error["code"], error["param"]) == ("item_not_found", "previous_item_id")
        await client.send("conversation.item.retrieve", item_id="b2")
        assert client.rest()[0]["item"]["content"] == [{"type": "input_text", "text": "Two and a half."}]
        await client.send("conversation.item.delete", item_id="b2")
        assert client.rest()[0]["item_id"] == "b2" and len(client.session.history) == 3
        await client.send("conversation.item.delete", item_id="b2")
        assert (await client.error())["code"] == "item_delete_invalid_item_id"

    talk(ScriptedModel(), script)


def test_items_that_cannot_be() -> None:
    async def script(client: Client) -> None:
        async def refused(item: dict[str, Any]) -> str:
            await client.send("conversation.item.create", item=item)
            return (await client.error())["param"]

        user = {"type": "message", "role": "user"}
        assert await refused({**user, "content": [{"type": "input_image", "image_url": "x"}]}) == "item.content[0].type"
        assert await refused({**user, "content": [{"type": "input_text", "text": " "}]}) == "item.content[0].text"
        assert await refused({**user, "content": [{"type": "input_audio", "audio": "?"}]}) == "item.content[0].audio"
        assert await refused({**user, "content": [{"type": "input_audio"}]}) == "item.content[0].audio"
        assert await refused({**user, "content": []}) == "item.content"
        assert await refused({**user, "content": [{"type": "input_smell"}]}) == "item.content[0].type"
        assert await refused({**user, "content": [{"type": "input_text"}]}) == "item.content[0].text"
        assert await refused({"type": "message", "content": []}) == "item.role"
        assert await refused({"type": "dance"}) == "item.type"
        wrong = {"type": "function_call", "name": "look", "arguments": "[]"}
        assert await refused(wrong) == "item.arguments"
        assert await refused({"type": "function_call_output", "call_id": "c", "output": "x"}) == "item.call_id"
        answer = {"type": "mcp_approval_response", "approval_request_id": "r", "approve": True}
        assert await refused(answer) == "item.approval_request_id"
        assert client.session.history == ()

    talk(ScriptedModel(), script)


def test_calls_of_an_earlier_conversation_are_shown_to_the_model() -> None:
    async def script(client: Client) -> None:
        await client.say("How much is bread?")
        old = {"type": "function_call", "call_id": "old", "name": "price", "arguments": '{"item": "bread"}'}
        await client.send("conversation.item.create", item=old)
        assert len(client.session.history) == 1  # a call without its output is no history
        output = {"type": "function_call_output", "call_id": "old", "output": "three euros"}
        await client.send("conversation.item.create", item=output)
        await client.send("response.create")
        assert (await client.done())["status"] == "completed"

    talk(ScriptedModel({"three euros": say("Three euros.")}), script)


def test_turns_by_hand() -> None:
    async def script(client: Client) -> None:
        manual = {"audio": {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}}
        await client.send("session.update", session={"type": "realtime", **manual})
        await client.send("input_audio_buffer.commit")
        assert (await client.error())["code"] == "input_audio_buffer_commit_empty"
        await client.send("input_audio_buffer.append", audio=base64_of(pcm(0.3)))
        await client.send("input_audio_buffer.clear")
        await client.send("input_audio_buffer.commit")
        assert (await client.error())["code"] == "input_audio_buffer_commit_empty"
        data = pcm(0.5)
        await client.send("input_audio_buffer.append", audio=base64_of(data[:1001]))  # in mid-sample
        await client.send("input_audio_buffer.append", audio=base64_of(data[1001:]))
        await client.send("input_audio_buffer.commit")
        assert kinds(client.rest()) == [
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
        ]
        await client.send("response.create")
        events = await client.until("response.done")
        found = [event for event in events if "transcription" in event["type"]]
        assert kinds(found) == [
            "conversation.item.input_audio_transcription.delta",
            "conversation.item.input_audio_transcription.completed",
        ]
        assert found[1]["transcript"] == "what time is it" and found[1]["usage"] == {"type": "duration", "seconds": 0.5}
        await client.send("conversation.item.retrieve", item_id=found[1]["item_id"])
        assert client.rest()[0]["item"]["content"][0]["transcript"] == "what time is it"

    def half_a_second(request: Any) -> bool:
        return round(request.items[-1].audio.seconds, 3) == 0.5

    talk(ScriptedModel((half_a_second, [*hear("what time is it"), *say("Nine.")])), script)


def test_what_is_truncated_was_not_said() -> None:
    async def script(client: Client) -> None:
        await client.say("Count.")
        await client.send("response.create")
        item = (await client.done())["output"][0]
        id = item["id"]
        bad = {"item_id": id, "content_index": 0, "audio_end_ms": 60_000}
        await client.send("conversation.item.truncate", **bad)
        assert (await client.error())["param"] == "audio_end_ms"
        await client.send("conversation.item.truncate", **(bad | {"content_index": 1, "audio_end_ms": 1}))
        assert (await client.error())["param"] == "content_index"
        await client.send("conversation.item.truncate", item_id=id, content_index=0, audio_end_ms=500)
        event = client.rest()[0]
        assert (event["type"], event["audio_end_ms"]) == ("conversation.item.truncated", 500)
        assert client.session.history[1] == AssistantReply("one two", interrupted=True)
        await client.send("conversation.item.retrieve", item_id=id)
        assert client.rest()[0]["item"]["content"][0]["transcript"] == "one two"
        await client.send("conversation.item.truncate", item_id=id, content_index=0, audio_end_ms=0)
        assert client.session.history == (UserInput("Count."),)

    talk(ScriptedModel((None, say("one two three four"))), script)


def test_a_running_reply_can_be_truncated() -> None:
    async def script(client: Client) -> None:
        await client.say("Count.")
        await client.send("response.create")
        events = await client.until("response.output_audio.delta", count=4)
        id = events[-1]["item_id"]
        await client.send("conversation.item.truncate", item_id=id, content_index=0, audio_end_ms=500)
        events = await client.until("conversation.item.truncated")
        assert "response.done" in kinds(events)
        assert client.session.history[1] == AssistantReply("one two", interrupted=True)

    talk(ScriptedModel((None, [*say("one two three four"), wait(60)])), script)


def test_responses_beside_the_conversation() -> None:
    async def script(client: Client) -> None:
        await client.say(
            "A secret.",
        )
        part = {"type": "input_text", "text": "Is it short?"}
        item = {"type": "message", "role": "user", "content": [part]}
        reference = {"type": "item_reference", "id": client.rest()[-1]["item"]["id"]}
        asked = {"conversation": "none", "input": [reference, item], "metadata": {"topic": "length"}}
        await client.send("response.create", response={**asked, "output_modalities": ["text"]})
        events = await client.until("response.done")
        assert "conversation.item.added" not in kinds(events)
        done = events[-1]["response"]
        assert done["metadata"] == {"topic": "length"} and done["conversation_id"] is None
        assert done["output"][0]["content"][0]["text"] == "Yes."
        assert client.session.history == (UserInput("A secret."),)
        await client.send("response.create", response={**asked, "conversation": "auto"})
        assert (await client.error())["param"] == "response.input"

    def both(request: Any) -> bool:
        return [item.text for item in request.items] == ["A secret.", "Is it short?"]

    talk(ScriptedModel((both, say("Yes."))), script)


def test_responses_beside_the_conversation_are_cancelled_by_their_id() -> None:
    async def script(client: Client) -> None:
        await client.send("response.create", response={"conversation": "none", "input": []})
        id = (await client.until("response.created"))[0]["response"]["id"]
        await asyncio.sleep(1)
        await client.send("response.cancel", response_id=id)
        assert (await client.done())["status"] == "cancelled"

    talk(ScriptedModel((None, [*say("Yes."), wait(60)])), script)


def test_the_session_is_gone_on_with() -> None:
    async def main() -> None:
        one = agent_of(ScriptedModel((None, say("Yes."))))
        from sayso.server.realtime.machine import Connection
        from sayso.server.realtime.outgoing import Outgoing

        async with one.session() as session:
            session.add(UserInput("Hello"), AssistantReply("Hi."))
            out = Outgoing()
            async with Connection(session, out) as connection:
                client = Client(connection, out, session)
                await client.say("More?")
                assert client.rest()[1]["previous_item_id"] == session.history[1].id != ""

    run(main())


def test_leaving_ends_what_runs() -> None:
    async def main() -> None:
        async with connected(agent_of(ScriptedModel((None, [*say("one"), wait(999)])))) as client:
            await client.say("Count.")
            await client.send("response.create")
            await client.until("response.output_audio.delta")
        assert not client.session.is_busy and client.session.history[1].text == "one"
        assert len(asyncio.all_tasks()) == 1

    run(main())
