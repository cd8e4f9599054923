"""What a client should not send: each gets an ``error`` that names it, and the session lives on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("openai", reason="the package openai is not installed")

sys.path.insert(0, str(Path(__file__).parent))

from hypothesis import given, settings
from hypothesis import strategies as st
from realtime_client import Client, agent_of, base64_of, connected, function, pcm

from sayso.items import UserInput
from sayso.server.errors import InvalidRequest
from sayso.server.realtime import protocol
from sayso.testing import ScriptedModel, run, say

DEEP = "[" * 100_000 + "]" * 100_000


def refused(client: Client, message: str | bytes) -> Any:
    return client.connection.receive(message)


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("", "invalid_json", None),
        ("{", "invalid_json", None),
        ("[]", "invalid_json", None),
        ("3", "invalid_json", None),
        (DEEP, "invalid_json", None),
        ('{"type":' + '{"a":' * 5000 + "1" + "}" * 5001, "invalid_json", None),
        ('{"a": NaN}', "invalid_json", None),
        ('{"type": "\\ud800"}', "invalid_json", None),
        (b"\x00\x01", "invalid_message", None),
        (b"{}", "invalid_message", None),
        ("{}", "missing_required_parameter", "type"),
        ('{"type": null}', "missing_required_parameter", "type"),
        ('{"type": 3}', "invalid_value", "type"),
        ('{"type": "session.destroy"}', "invalid_value", "type"),
        ('{"type": "transcription_session.update"}', "invalid_value", "type"),
        ('{"type": "session.update"}', "missing_required_parameter", "session"),
        ('{"type": "session.update", "session": []}', "invalid_type", "session"),
        ('{"type": "session.update", "session": {"type": "transcription"}}', "invalid_value", "session.type"),
        ('{"type": "session.update", "session": {"instructions": 3}}', "invalid_type", "session.instructions"),
        ('{"type": "session.update", "session": {"voice": 3, "audio": 3}}', "invalid_type", "session.audio"),
        (
            '{"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcm",'
            ' "rate": 8000}}}}}',
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        (
            '{"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/mp3"}}}}}',
            "invalid_value",
            "session.audio.input.format.type",
        ),
        (
            '{"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"type": "server_vad",'
            ' "threshold": 2}}}}}',
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            '{"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"type": "psychic"}}}}}',
            "invalid_value",
            "session.audio.input.turn_detection.type",
        ),
        (
            '{"type": "session.update", "session": {"audio": {"output": {"voice": "nobody"}}}}',
            "invalid_value",
            "session.audio.output.voice",
        ),
        (
            '{"type": "session.update", "session": {"tool_choice": {"type": "function", "name": "no"}}}',
            "invalid_value",
            "session.tool_choice.name",
        ),
        (
            '{"type": "session.update", "session": {"max_output_tokens": 0}}',
            "invalid_value",
            "session.max_output_tokens",
        ),
        ('{"type": "session.update", "session": {"prompt": {"id": "p"}}}', "unsupported_value", "session.prompt"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": 3}', "invalid_type", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "????"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "AAA"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "AAAA\\n"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "ÄÄÄÄ"}', "invalid_value", "audio"),
        ('{"type": "output_audio_buffer.clear"}', "invalid_event", "type"),
        ('{"type": "conversation.item.retrieve", "item_id": "no"}', "item_retrieve_invalid_item_id", "item_id"),
        ('{"type": "conversation.item.retrieve", "item_id": ""}', "invalid_value", "item_id"),
        ('{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": -1}', None, None),
        ('{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1.5}', None, None),
        ('{"type": "response.create", "response": {"metadata": {"a": 1}}}', "invalid_type", "response.metadata.a"),
        ('{"type": "response.create", "response": {"conversation": "mine"}}', "invalid_value", "response.conversation"),
        ('{"type": "response.create", "response": {"prompt": {"id": "p"}}}', "unsupported_value", "response.prompt"),
        (
            '{"type": "response.create", "response": {"audio": {"output": {"voice": "nobody"}}}}',
            "invalid_value",
            "response.audio.output.voice",
        ),
    ],
)
def test_what_is_wrong_is_named(message: str | bytes, code: str | None, param: str | None) -> None:
    async def main() -> None:
        async with connected(agent_of(ScriptedModel((None, say("Yes."))))) as client:
            await refused(client, message)
            error = await client.error()
            assert error["message"] and error["type"] == "invalid_request_error"
            if code is not None:
                assert (error["code"], error["param"]) == (code, param)
            assert client.rest() == []
            await client.say("Still there?")
            await client.send("response.create")
            assert (await client.done())["status"] == "completed"

    run(main())


def test_a_message_that_is_too_long() -> None:
    async def main() -> None:
        async with connected(agent_of(ScriptedModel()), max_message_bytes=1000) as client:
            await client.send("input_audio_buffer.append", audio="A" * 2000)
            assert (await client.error())["code"] == "request_too_large"

    run(main())


def test_errors_name_the_event() -> None:
    async def main() -> None:
        async with connected(agent_of(ScriptedModel())) as client:
            id = await client.send("conversation.item.delete", item_id="no")
            assert (await client.error())["event_id"] == id
            await client.connection.receive(json.dumps({"type": "x", "event_id": 7}))
            assert (await client.error())["event_id"] is None

    run(main())


def test_fields_that_nobody_knows_are_ignored() -> None:
    async def main() -> None:
        async with connected(agent_of(ScriptedModel())) as client:
            await client.send("session.update", session={"type": "realtime", "mood": "good"}, weather="fine")
            assert client.rest()[0]["type"] == "session.updated"

    run(main())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70_000) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
GOOD: list[dict[str, Any]] = [
    {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "instructions": "x",
            "output_modalities": ["text"],
            "tools": [function("look", where="string")],
            "tool_choice": "auto",
            "max_output_tokens": 10,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 200},
                    "transcription": {"model": "whisper-1"},
                },
                "output": {"voice": "marin", "speed": 1.0, "format": {"type": "audio/pcmu"}},
            },
        },
    },
    {"type": "input_audio_buffer.append", "audio": base64_of(pcm(0.1))},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "output_audio_buffer.clear"},
    {
        "type": "conversation.item.create",
        "previous_item_id": "root",
        "item": {"type": "message", "role": "user", "id": "a", "content": [{"type": "input_text", "text": "Hi"}]},
    },
    {
        "type": "conversation.item.create",
        "item": {"type": "function_call", "call_id": "c", "name": "look", "arguments": '{"where": "x"}'},
    },
    {
        "type": "conversation.item.create",
        "item": {"type": "function_call_output", "call_id": "c", "output": "found"},
    },
    {"type": "conversation.item.delete", "item_id": "a"},
    {"type": "conversation.item.retrieve", "item_id": "a"},
    {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 10},
    {
        "type": "response.create",
        "response": {"output_modalities": ["text"], "metadata": {"a": "b"}, "conversation": "auto", "tools": []},
    },
    {"type": "response.cancel", "response_id": "r"},
]


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    found = [path] if path else []
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        found += places(value, (*path, key))
    return found


@st.composite
def broken(draw: st.DrawFn) -> dict[str, Any]:
    """A good event in which one thing was replaced, removed or added."""
    event = json.loads(json.dumps(draw(st.sampled_from(GOOD))))
    *path, last = draw(st.sampled_from(places(event)))
    node: Any = event
    for part in path:
        node = node[part]
    match draw(st.sampled_from(["replace", "remove", "add", "keep"])):
        case "replace":
            node[last] = draw(JSON)
        case "remove":
            del node[last]
        case "add" if isinstance(node, dict):
            node[draw(st.text(max_size=5))] = draw(JSON)
        case _:
            pass
    return event


@settings(max_examples=300)
@given(st.one_of(broken(), JSON, st.fixed_dictionaries({"type": st.sampled_from(list(protocol.EVENTS))})))
def test_every_event_is_one_or_is_refused_by_name(event: Any) -> None:
    try:
        found = protocol.parse(protocol.decode(json.dumps(event), 1 << 20))
    except InvalidRequest as error:
        assert str(error) and error.code
    else:
        assert found.type in protocol.EVENTS


@settings(max_examples=60)
@given(st.lists(broken(), min_size=1, max_size=8))
def test_a_session_survives_every_sequence(events: list[dict[str, Any]]) -> None:
    async def main() -> None:
        model = ScriptedModel(*[(None, say("Yes."))] * 30)
        async with connected(agent_of(model)) as client:
            for event in events:
                await client.connection.receive(json.dumps(event))
                errors = [one["error"] for one in client.rest() if one["type"] == "error"]
                assert len(errors) <= 1 and all(error["type"] != "server_error" for error in errors)
            client.rest()
            await client.send("session.update", session={"output_modalities": ["text"], "tools": []})
            client.rest()
            while client.session.is_busy or client.connection.busy:
                await client.done()
            await client.say("Still there?")
            await client.send("response.create")
            while (done := await client.done())["status"] != "completed":
                pass
            assert done["output"][0]["type"] == "message"
            assert any(isinstance(item, UserInput) for item in client.session.history)

    run(main())
