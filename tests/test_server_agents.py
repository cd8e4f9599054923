"""The agent endpoint, through `sayso.client`, over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")

from sayso import Agent, tool
from sayso.client import Client, ClientError, RemoteSession
from sayso.errors import UsageError
from sayso.events import (
    ApprovalRequested,
    AudioDelta,
    Event,
    Interrupted,
    TextDelta,
    TurnDone,
)
from sayso.items import AssistantReply, Audio, ToolCall, ToolOutput, UserInput
from sayso.models.base import Text
from sayso.server.app import create_app
from sayso.server.settings import ServerSettings
from sayso.server.testing import serving
from sayso.speech.audio import load
from sayso.testing import ScriptedModel, call, hear, run, wait
from sayso.tools.journal import Journal
from sayso.turn_options import TurnOptions

QUESTION = Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav"


@tool(effect="read", say="{result}")
def price(item: str) -> str:
    """The price of an item."""
    return f"{item} costs three euros"


@tool(effect="irreversible", confirm="Shall I order {item}?")
def order(item: str) -> str:
    """Order an item."""
    return f"{item} is ordered"


@tool(effect="read", background=True)
async def slow() -> str:
    """Takes long."""
    await asyncio.sleep(0.2)
    return "the bread is ready"


def served(*steps: Any, tmp_path: Path, journal: Journal | None = None, **settings: Any) -> Any:
    agent = Agent(model=ScriptedModel(*steps), tools=[price, order, slow], journal=journal or Journal())
    return create_app({"bakery": agent}, ServerSettings(conversations=tmp_path / "talks.sqlite", **settings))


def real(main: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await main

    run(limited(), virtual=False)


async def opened(client: Client, **wanted: Any) -> RemoteSession:
    return await client.session("bakery", **wanted)


def kinds(events: list[Event]) -> list[str]:
    return [event.type for event in events]


def test_agents_are_described(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(served(tmp_path=tmp_path)) as url, Client(url) as client:
            (bakery,) = await client.agents()
            assert (bakery.name, bakery.model, bakery.hears, bakery.speaks) == ("bakery", "scripted", True, True)
            assert [(one.name, one.effect) for one in bakery.tools] == [
                ("price", "read"),
                ("order", "irreversible"),
                ("slow", "read"),
            ]
            assert bakery.tools[0].parameters["required"] == ["item"]

    real(main())


def test_a_turn_with_a_tool(tmp_path: Path) -> None:
    async def main() -> None:
        app = served((None, call("price", item="bread")), tmp_path=tmp_path)
        async with serving(app) as url, Client(url) as client:
            session = await opened(client)
            result = await session.ask("What is the bread?")
            assert result.text == "bread costs three euros"
            assert [(one.name, one.arguments, one.status) for one in result.calls] == [
                ("price", {"item": "bread"}, "ok")
            ]
            assert result.audio is not None and result.audio.seconds > 0.5
            assert await session.history() == (
                UserInput("What is the bread?"),
                ToolCall("call_1_1", "price", {"item": "bread"}),
                ToolOutput("call_1_1", "price", "bread costs three euros"),
                AssistantReply("bread costs three euros"),
            )
            assert [(entry.tool, entry.status) for entry in await session.calls()] == [("price", "ok")]
            found = await client.json("GET", f"/v1/agents/bakery/sessions/{session.id}/events?after=3")
            assert [event["seq"] for event in found["events"]] == list(range(4, result.events[-1].seq + 1))
            info = await session.info()
            assert (info.turn, info.busy, info.live, info.last_seq) == (1, False, True, result.events[-1].seq)

    real(main())


def test_sound_goes_in_as_samples_and_as_a_file(tmp_path: Path) -> None:
    async def main() -> None:
        app = served(
            (None, [hear("the first"), Text("One.")]), (None, [hear("the second"), Text("Two.")]), tmp_path=tmp_path
        )
        async with serving(app) as url, Client(url) as client:
            session = await opened(client, record=True)
            assert (await session.ask(load(QUESTION))).heard == "the first"
            assert (await session.ask(QUESTION)).heard == "the second"
            names = await session.recordings()
            assert names == tuple(f"turn-000{turn}-{side}.wav" for turn in (1, 2) for side in ("reply", "user"))
            recorded = load(await session.recording(names[0]))
            assert recorded.seconds == pytest.approx(4 * 0.06)
            await session.delete()
            with pytest.raises(ClientError, match="There is no session"):
                await session.history()

    real(main())


def test_options_of_one_turn(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel((None, [Text("Yes.")]))
        app = create_app({"bakery": Agent(model=model)}, ServerSettings(conversations=tmp_path / "talks"))
        async with serving(app) as url, Client(url) as client:
            session = await opened(client, instructions="Bake.")
            result = await session.ask("Well?", options=TurnOptions(speak=False, max_tokens=7))
            assert result.audio is None
        (request,) = model.requests
        assert (request.speak, request.max_tokens, request.instructions) == (False, 7, "Bake.")

    real(main())


def test_a_call_is_approved_or_refused(tmp_path: Path) -> None:
    async def main() -> None:
        app = served(
            (None, call("order", item="bread")),
            (None, [Text("It is ordered.")]),
            (None, call("order", item="cake")),
            tmp_path=tmp_path,
        )
        async with serving(app) as url, Client(url) as client:
            session = await opened(client)
            events = [event async for event in session.stream("Order bread")]
            asked = next(event for event in events if isinstance(event, ApprovalRequested))
            assert asked.question == "Shall I order bread?"
            waiting = (await session.info()).approval
            assert waiting is not None and waiting["call_id"] == asked.call_id
            with pytest.raises(ClientError, match="No call 'other' waits"):
                await session.approve("other")
            result = await session.approve(asked.call_id)
            assert [one.status for one in result.calls] == ["ok"] and result.text == "It is ordered."
            events = [event async for event in session.stream("Order cake")]
            asked = next(event for event in events if isinstance(event, ApprovalRequested))
            await session.refuse(asked.call_id)
            assert (await session.info()).approval is None
            assert [entry.status for entry in await session.calls()] == ["ok"]

    real(main())


def test_a_turn_goes_on_without_its_reader_and_is_followed_again(tmp_path: Path) -> None:
    async def main() -> None:
        app = served((None, [Text("One. "), wait(0.2), Text("Two.")]), tmp_path=tmp_path)
        async with serving(app) as url, Client(url) as client:
            session = await opened(client)
            seen: list[Event] = []
            async with aclosing(session.stream("Count")) as stream:
                async for event in stream:
                    seen.append(event)
                    if isinstance(event, TextDelta):
                        break
            async with aclosing(session.events(after=seen[-1].seq)) as rest:
                async for event in rest:
                    seen.append(event)
                    if isinstance(event, TurnDone):
                        break
            assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
            assert "".join(event.text for event in seen if isinstance(event, TextDelta)) == "One. Two."

    real(main())


def test_a_turn_is_interrupted(tmp_path: Path) -> None:
    async def main() -> None:
        app = served((None, [Text("A long story. "), wait(60), Text("The end.")]), tmp_path=tmp_path)
        async with serving(app) as url, Client(url) as client:
            session = await opened(client)
            seen: list[Event] = []
            async for event in session.stream("Tell me"):
                seen.append(event)
                if isinstance(event, AudioDelta):
                    with pytest.raises(ClientError, match="turn is still running") as refused:
                        await session.ask("And?")
                    assert refused.value.status == 400
                    assert await session.interrupt(500)
            assert isinstance(seen[-2], Interrupted) and isinstance(seen[-1], TurnDone)
            assert seen[-1].reason == "interrupted"
            assert not await session.interrupt()
            reply = (await session.history())[-1]
            assert isinstance(reply, AssistantReply) and reply.interrupted and reply.text == "A long"

    real(main())


def test_what_a_model_could_not_do_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        from sayso.errors import ModelError
        from sayso.testing import fail

        app = served((None, fail(ModelError("It is out of order."))), tmp_path=tmp_path)
        async with serving(app) as url, Client(url) as client:
            session = await opened(client)
            with pytest.raises(ClientError, match="out of order") as failed:
                await session.ask("Hello")
            assert failed.value.code in ("turn_failed", "unavailable")
            assert (await session.info()).busy is False

    real(main())


def test_late_results_are_told_to_those_who_follow(tmp_path: Path) -> None:
    async def main() -> None:
        app = served(
            (None, call("slow")),
            (None, [Text("Started.")]),
            ("bread is ready", [Text("Your bread!")]),
            tmp_path=tmp_path,
        )
        async with serving(app) as url, Client(url) as client:
            session = await opened(client)
            told: list[Event] = []

            async def follow() -> None:
                async with aclosing(session.events(after=0)) as events:
                    async for event in events:
                        told.append(event)
                        if isinstance(event, TurnDone) and event.turn == 2:
                            return

            following = asyncio.create_task(follow())
            await session.ask("Bake")
            await following
            assert [event.text for event in told if isinstance(event, TurnDone)] == ["Started.", "Your bread!"]

    real(main())


def test_sessions_survive_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        journal = Journal()
        for number, steps in enumerate([[(None, call("price", item="bread"))], [("Again", [Text("Three euros.")])]]):
            app = served(*steps, tmp_path=tmp_path, journal=journal)
            async with serving(app) as url, Client(url) as client:
                session = await opened(client, id="talk-number-1")
                assert len(await session.history()) == 4 * number
                await session.ask("Again" if number else "What is the bread?")
                assert len(await client.sessions("bakery")) == 1
                found = await client.json("GET", f"/v1/agents/bakery/sessions/{session.id}/events?after=1000")
                assert found["events"][0]["seq"] == 1  # a number of the server before: all is new
        app = served(tmp_path=tmp_path, journal=journal)
        async with serving(app) as url, Client(url) as client:
            (info,) = await client.sessions("bakery")
            assert (info.id, info.live, info.turn) == ("talk-number-1", False, 2)
            session = RemoteSession(client, "bakery", info.id)
            assert len(await session.history()) == 6 and not (await session.info()).live
            assert [entry.call_id for entry in await session.calls()] == ["call_1_1"]

    real(main())


def test_others_are_not_told_of_a_session(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(served(tmp_path=tmp_path)) as url, Client(url) as client:
            for session in (RemoteSession(client, "bakery", "not-there-1"), RemoteSession(client, "other", "x" * 8)):
                with pytest.raises(ClientError, match="There is no") as missing:
                    await session.info()
                assert missing.value.status == 404
            with pytest.raises(ClientError, match=r"no agent 'florist'.*bakery"):
                await client.session("florist")
            with pytest.raises(ClientError, match="voice"):
                await client.session("bakery", voice="tenor+bass:x")
            with pytest.raises(ClientError) as wrong:
                await client.session("bakery", id="../etc/passwd")
            assert wrong.value.status in (400, 422) and wrong.value.param == "id"

    real(main())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"text": "a", "file": "AAAA"}, None),
        ({"text": 5}, "text"),
        ({"text": " "}, "text"),
        ({"file": "!!"}, "file"),
        ({"audio": {"data": "AAA", "sample_rate_hz": 16000}}, None),
        ({"text": "a", "colour": "red"}, "colour"),
        ({"text": "a", "options": {"tools": ["none-such"]}}, None),
    ],
)
def test_bodies_that_cannot_be_used(body: dict[str, Any], param: str | None, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(served(tmp_path=tmp_path)) as url, Client(url) as client:
            session = await opened(client)
            with pytest.raises(ClientError) as wrong:
                await client.json("POST", f"/v1/agents/bakery/sessions/{session.id}/turns", body)
            assert 400 <= wrong.value.status < 500
            if param is not None:
                assert param in (wrong.value.param or "")

    real(main())


def test_a_live_conversation(tmp_path: Path) -> None:
    """A question spoken into the socket is found, answered, and its answer can be interrupted."""

    async def main() -> None:
        app = served((None, [hear("what time"), Text("It is noon.")]), (None, [Text("Bye.")]), tmp_path=tmp_path)
        async with serving(app) as url, Client(url) as client:
            session = await opened(client)
            async with session.live() as talk:
                said = load(QUESTION)
                samples = np.concatenate([said.samples, np.zeros(16_000, np.float32)])
                for start in range(0, len(samples), 800):
                    await talk.hear(samples[start : start + 800])
                told = await until(talk, TurnDone)
                assert kinds(told)[:3] == ["speech_started", "speech_ended", "turn_started"]
                await talk.say("Goodbye")
                told = await until(talk, TurnDone)
                assert [event.text for event in told if isinstance(event, TurnDone)] == ["Bye."]

    real(main())


def test_a_live_conversation_with_a_button(tmp_path: Path) -> None:
    async def main() -> None:
        app = served((None, [hear("what time"), Text("It is noon.")]), tmp_path=tmp_path)
        async with serving(app) as url, Client(url) as client:
            session = await opened(client)
            async with session.live() as talk:
                await talk.hands_free(False)
                await talk.commit()
                with pytest.raises(ClientError, match="Nothing was said"):
                    await anext(talk)
                said = load(QUESTION)
                await talk.hear(said.samples)
                await talk.commit()
                told = await until(talk, TurnDone)
                assert [event.text for event in told if isinstance(event, TextDelta)] == ["It is noon."]

    real(main())


def test_commands_that_are_none(tmp_path: Path) -> None:
    async def main() -> None:
        from websockets.asyncio.client import connect

        async with serving(served((None, [Text("Yes.")]), tmp_path=tmp_path)) as url, Client(url) as client:
            session = await opened(client)
            address = f"{url.replace('http', 'ws')}/v1/agents/bakery/sessions/{session.id}/live"
            async with connect(address) as socket:
                for message in (
                    "",
                    "{",
                    "[]",
                    "5",
                    '{"type": "fly"}',
                    '{"type": "say"}',
                    '{"type": "say", "text": ""}',
                ):
                    await socket.send(message)
                    assert '"type":"error"' in str(await socket.recv())
                await socket.send('{"type": "approve", "call_id": "none"}')
                assert '"type":"error"' in str(await socket.recv())
                await socket.send(b"\x01")  # half a sample is kept for the next
                await socket.send('{"type": "say", "text": "Still there?"}')
                assert '"turn_started"' in str(await socket.recv())

    real(main())


def test_a_client_says_what_is_wrong_with_its_use() -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match="no address"):
            Client("localhost:8000")
        with pytest.raises(UsageError, match="not open"):
            await Client("http://localhost:8000").agents()

    real(main())


async def until(talk: Any, last: type[Event]) -> list[Event]:
    told: list[Event] = []
    async for event in talk:
        told.append(event)
        if isinstance(event, last):
            return told
    raise AssertionError(f"the connection ended after {kinds(told)}")


def test_an_idle_session_keeps_words_and_no_sound() -> None:
    async def main() -> None:
        from sayso.server.agents.hosted import SOUND_KEPT_S, Hosted

        async with Agent(model=ScriptedModel((None, [Text("A long story. " * 20)]))).session() as session:
            hosted = Hosted(session)
            async for _ in hosted.run(session.conductor.answer("Tell me")):
                pass
            before = hosted.kept(0)
            await asyncio.sleep(SOUND_KEPT_S - 1)
            assert hosted.kept(0) == before and any(isinstance(told.event, AudioDelta) for told in before)
            await asyncio.sleep(2)
            after = hosted.kept(0)
            assert after == [told for told in before if not isinstance(told.event, AudioDelta)]
            assert sum(len(told.json) for told in after) < 10_000
            await hosted.aclose()

    run(main())


def test_a_follower_that_falls_behind_is_let_go() -> None:
    async def main() -> None:
        from sayso.server.agents.hosted import MAX_BEHIND_BYTES, Hosted, TooSlow

        async with Agent(model=ScriptedModel()).session() as session:
            hosted = Hosted(session)
            async with hosted.follow() as slow, hosted.follow() as quick:
                piece = AudioDelta(audio=Audio(np.zeros(240_000, np.float32), 24_000))
                for _ in range(MAX_BEHIND_BYTES // 640_000 + 1):
                    hosted.push(piece)
                    await anext(quick)
                with pytest.raises(TooSlow):
                    await anext(slow)
            await hosted.aclose()

    run(main())


def test_an_idle_session_gives_its_place_up_and_comes_back_as_it_was(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel((None, [Text("One.")]), (None, [Text("Two.")]))
        settings = ServerSettings(conversations=tmp_path / "talks", max_sessions=1, queue_s=5)
        app = create_app({"bakery": Agent(model=model, journal=Journal())}, settings)
        async with serving(app) as url, Client(url) as client:
            first = await opened(client, instructions="Bake.", speak=False)
            await first.ask("First")
            second = await opened(client)
            assert not (await first.info()).live and (await second.info()).live
            await first.ask("Again")
            assert not (await second.info()).live
        assert [(request.instructions, request.speak) for request in model.requests] == [("Bake.", False)] * 2
        assert [type(item) for item in model.requests[1].items] == [UserInput, AssistantReply, UserInput]

    real(main())


def test_a_session_in_use_keeps_its_place(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel((None, [Text("One."), wait(2), Text("Two.")]))
        settings = ServerSettings(conversations=tmp_path / "talks", max_sessions=1, queue_s=0.2)
        app = create_app({"bakery": Agent(model=model, journal=Journal())}, settings)
        async with serving(app) as url, Client(url) as client:
            first = await opened(client)
            async with aclosing(first.stream("Count")) as stream:
                await anext(stream)
                with pytest.raises(ClientError) as refused:
                    await opened(client)
                assert (refused.value.status, refused.value.code) == (429, "server_busy")
                await first.interrupt()

    real(main())


def test_an_agent_whose_model_cannot_be_loaded_says_so(tmp_path: Path) -> None:
    class Broken(ScriptedModel):
        async def warm(self, request: Any) -> None:
            raise UsageError("The checkpoint is broken.")

    async def main() -> None:
        app = create_app({"bakery": Agent(model=Broken())}, ServerSettings(conversations=tmp_path / "talks"))
        async with serving(app) as url, Client(url) as client:
            async with asyncio.timeout(5):
                while not app.state.host.failed:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            with pytest.raises(ClientError, match="could not be loaded") as refused:
                await opened(client)
            assert (refused.value.status, refused.value.code) == (503, "model_not_loaded")

    real(main())
