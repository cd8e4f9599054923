"""`RemoteSession`: a conversation at a server, used as one in this process."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from sayso.client.client import Client, ClientError, SessionInfo
from sayso.client.talk import RemoteTalk
from sayso.events import Event, TurnFailed
from sayso.items import Audio, Item
from sayso.result import TurnResult, summarise
from sayso.tools.journal import Entry
from sayso.turn_options import TurnOptions
from sayso.wire import audio_to_json, event_from_json, item_from_json

Said: TypeAlias = str | Path | bytes | Audio
"""Words, a sound file (its path or its bytes), or samples."""


class RemoteSession:
    """A conversation at a server. Made by `Client.session`; it lives on at the server until it is deleted.

    Args:
        client: Open.
        agent: The agent's name.
        id: The conversation's.
    """

    def __init__(self, client: Client, agent: str, id: str) -> None:
        self.id = id
        self.agent = agent
        self._client = client
        self._path = f"/v1/agents/{quote(agent, safe='')}/sessions/{quote(id, safe='')}"

    async def info(self) -> SessionInfo:
        """How it stands."""
        return SessionInfo(**await self._client.json("GET", self._path))

    async def ask(self, what: Said, *, options: TurnOptions | None = None) -> TurnResult:
        """Run one turn to its end and return all of it; as `sayso.session.Session.ask`.

        Raises:
            ClientError: The input cannot be used, a turn is running, or the model failed.
        """
        return await _whole(self.stream(what, options=options))

    def stream(self, what: Said, *, options: TurnOptions | None = None) -> AsyncGenerator[Event, None]:
        """Run one turn and yield its events as they happen.

        The turn goes on at the server when this is closed early: `interrupt` ends it, `events` shows the rest.
        """
        body: dict[str, Any] = _said(what)
        if options is not None:
            body["options"] = {name: value for name, value in asdict(options).items() if value is not None}
        return self._events("POST", f"{self._path}/turns", body)

    async def approve(self, call_id: str) -> TurnResult:
        """Agree to the call that waits: it runs and is answered."""
        return await _whole(self.stream_approved(call_id))

    def stream_approved(self, call_id: str) -> AsyncGenerator[Event, None]:
        """As `approve`, with the events as they happen."""
        return self._events("POST", f"{self._call(call_id)}/approve", None)

    async def refuse(self, call_id: str) -> None:
        """Say no to the call that waits."""
        await self._client.json("POST", f"{self._call(call_id)}/refuse")

    async def cancel_call(self, call_id: str) -> bool:
        """Stop a call that runs; whether it ran."""
        return (await self._client.json("POST", f"{self._call(call_id)}/cancel"))["cancelled"]

    async def interrupt(self, played_ms: int | None = None) -> bool:
        """Cut the reply off, and history at what was heard; whether there was anything to cut."""
        body = {} if played_ms is None else {"played_ms": played_ms}
        return (await self._client.json("POST", f"{self._path}/interrupt", body))["interrupted"]

    def events(self, *, after: int | None = None) -> AsyncGenerator[Event, None]:
        """All that happens from now on, until the session is closed.

        Args:
            after: Begin behind the event of this number (`sayso.events.Stamp.seq`), as far as they are kept.
        """
        return self._events("GET", f"{self._path}/events{'' if after is None else f'?after={after}'}", None)

    async def history(self) -> tuple[Item, ...]:
        """What was said and done, without sound."""
        found = await self._client.json("GET", f"{self._path}/history")
        return tuple(item_from_json(item) for item in found["items"])

    async def calls(self) -> tuple[Entry, ...]:
        """The journal of its calls, oldest first."""
        found = await self._client.json("GET", f"{self._path}/calls")
        return tuple(Entry(session=self.id, **call) for call in found["calls"])

    async def recordings(self) -> tuple[str, ...]:
        """The names of the files of sound that were kept."""
        found = await self._client.json("GET", f"{self._path}/recordings")
        return tuple(one["name"] for one in found["recordings"])

    async def recording(self, name: str) -> bytes:
        """One of them: a WAV file."""
        return await self._client.bytes(f"{self._path}/recordings/{quote(name, safe='')}")

    async def delete(self) -> None:
        """End the conversation and let the server forget what was said and recorded."""
        await self._client.json("DELETE", self._path)

    def live(self, *, sample_rate_hz: int = 16_000, after: int | None = None) -> RemoteTalk:
        """Talk in live audio: ``async with session.live() as talk``; see `RemoteTalk`."""
        return RemoteTalk(self._client, self._path, sample_rate_hz, after)

    def _call(self, call_id: str) -> str:
        return f"{self._path}/calls/{quote(call_id, safe='')}"

    async def _events(self, method: str, path: str, body: Any) -> AsyncGenerator[Event, None]:
        async with self._client.lines(method, path, body) as lines, aclosing(_data(lines)) as found:
            async for data in found:
                yield event_from_json(data)


async def _whole(stream: AsyncGenerator[Event, None]) -> TurnResult:
    events: list[Event] = []
    async with aclosing(stream):
        async for event in stream:
            events.append(event)
    if not events:
        raise ClientError("The turn broke off.", status=0, code="turn_failed")
    if isinstance(failed := events[-1], TurnFailed):
        raise ClientError(failed.message, status=0, code="turn_failed")
    return summarise(events)


async def _data(lines: AsyncIterator[str]) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON of Server-Sent Events: each is a few lines and an empty one; ``data`` may have several."""
    data: list[str] = []
    async for line in lines:
        field, _, value = line.partition(":")
        if field == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            yield json.loads("\n".join(data))
            data = []


def _said(what: Said) -> dict[str, Any]:
    if isinstance(what, str):
        return {"text": what}
    if isinstance(what, Audio):
        return {"audio": audio_to_json(what)}
    data = what.read_bytes() if isinstance(what, Path) else what
    return {"file": base64.b64encode(data).decode()}
