"""What the tests of the Realtime protocol share: a client on the machine without a socket, and OpenAI's types."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, get_args

import numpy as np
from openai.types.realtime.realtime_server_event import RealtimeServerEvent

from sayso import Agent
from sayso.items import Audio
from sayso.server.realtime.client_mcp import ClientMcp
from sayso.server.realtime.machine import Connection
from sayso.server.realtime.outgoing import Outgoing
from sayso.session import Session
from sayso.speech.audio import resample, to_pcm16
from sayso.tools.journal import Journal

Json = dict[str, Any]
TYPES: dict[str, Any] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(RealtimeServerEvent)[0])
}


def checked(text: str) -> Json:
    """A message of the server, which is one of OpenAI's events with all that it requires and nothing else."""
    event = json.loads(text)
    found = TYPES[event["type"]].model_validate(event, strict=True)
    assert not found.model_extra, f"{event['type']} has {found.model_extra}"
    return event


class Client:
    """Sends events and keeps what comes."""

    def __init__(self, connection: Connection, out: Outgoing, session: Session) -> None:
        self.connection = connection
        self.out = out
        self.session = session
        self.seen: list[Json] = []
        self._count = 0

    async def send(self, type: str, **fields: Any) -> str:
        """Send an event; its id."""
        self._count += 1
        id = f"client_{self._count}"
        await self.connection.receive(json.dumps({"type": type, "event_id": id, **fields}))
        return id

    async def say(self, text: str, **fields: Any) -> None:
        """Put a user's words in."""
        part = {"type": "input_text", "text": text}
        item = {"type": "message", "role": "user", "content": [part]}
        await self.send("conversation.item.create", item=item, **fields)

    async def until(self, type: str, count: int = 1) -> list[Json]:
        """The events up to the next of this type (or the ``count``-th)."""
        found: list[Json] = []
        while count:
            event = checked(await self.out.next())
            self.seen.append(event)
            found.append(event)
            count -= event["type"] == type
        return found

    async def done(self) -> Json:
        """The next finished response."""
        return (await self.until("response.done"))[-1]["response"]

    async def error(self) -> Json:
        """The next error."""
        return (await self.until("error"))[-1]["error"]

    def rest(self) -> list[Json]:
        """What waits."""
        found = [checked(text) for text in self.out.take_all()]
        self.seen += found
        return found


@asynccontextmanager
async def connected(agent: Agent, *, mcp: ClientMcp | None = None, **options: Any) -> AsyncIterator[Client]:
    """A client that has been told that its session is there."""
    out = options.pop("out", None) or Outgoing()
    async with agent.session() as session:
        options = {"shows_calls": True, **options}
        async with Connection(session, out, model="sayso", mcp=mcp, **options) as connection:
            client = Client(connection, out, session)
            assert (await client.until("session.created"))[0]["session"]["model"] == "sayso"
            yield client


def agent_of(model: Any, tools: Sequence[Any] = (), **settings: Any) -> Agent:
    return Agent(model=model, tools=tools, journal=Journal(), **settings)


def pcm(*parts: Audio | float, rate_hz: int = 24_000) -> bytes:
    """Pieces of sound and seconds of silence as 16-bit PCM."""
    pieces = [
        np.zeros(round(part * rate_hz), np.float32) if isinstance(part, float) else resample(part, rate_hz).samples
        for part in parts
    ]
    return to_pcm16(Audio(np.concatenate(pieces), rate_hz))


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def speak(client: Client, data: bytes, *, frame_ms: int = 20, bytes_a_second: int = 48_000) -> None:
    """Send sound as fast as a microphone does."""
    size = bytes_a_second * frame_ms // 1000
    for start in range(0, len(data), size):
        await client.send("input_audio_buffer.append", audio=base64_of(data[start : start + size]))
        await asyncio.sleep(frame_ms / 1000)


def kinds(events: Sequence[Json], *without: str) -> list[str]:
    """Their types."""
    return [event["type"] for event in events if event["type"] not in without]


def function(name: str, **properties: str) -> Json:
    """A tool of the client's."""
    schema = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
    }
    return {"type": "function", "name": name, "description": f"Does {name}.", "parameters": schema}
