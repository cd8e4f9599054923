"""`RemoteTalk`: live audio to a session at a server, and its events back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from sayso.client.client import Client, ClientError
from sayso.errors import SaysoError
from sayso.events import Event
from sayso.http import NetworkError, tls_context
from sayso.items import Samples
from sayso.wire import event_from_json

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


class RemoteTalk:
    """A live conversation: send frames, read events, at the same time.

        async with session.live() as talk:
            await talk.hear(frame)
            async for event in talk: ...

    Leaving the scope ends the connection, not the session.

    Args:
        client: For address and key.
        path: Of the session.
        sample_rate_hz: Of the frames.
        after: Begin with the events behind this number.
    """

    def __init__(self, client: Client, path: str, sample_rate_hz: int, after: int | None) -> None:
        query = f"?sample_rate_hz={sample_rate_hz}{'' if after is None else f'&after={after}'}"
        self._address = f"ws{client.address.removeprefix('http')}{path}/live{query}"
        self._headers = client.headers
        self._socket: ClientConnection | None = None

    async def __aenter__(self) -> RemoteTalk:
        """Connect.

        Raises:
            NetworkError: The server was not reached, or refused.
        """
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake

        context = tls_context() if self._address.startswith("wss:") else None
        try:
            self._socket = await connect(
                self._address, additional_headers=dict(self._headers), ssl=context, max_size=None, proxy=None
            )
        except (OSError, InvalidHandshake) as error:
            raise NetworkError(f"No live connection: {error}.") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        if self._socket is not None:
            await self._socket.close()

    def __aiter__(self) -> RemoteTalk:
        """The session's events, until the session is closed."""
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            ClientError: The server refused a command; the conversation goes on.
            NetworkError: The connection broke.
        """
        from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

        try:
            found = json.loads(await self._open.recv())
        except ConnectionClosedOK:
            raise StopAsyncIteration from None
        except ConnectionClosedError as error:
            raise NetworkError(f"The live connection broke: {error}.", temporary=True) from error
        if found.get("type") == "error":
            told = found["error"]
            raise ClientError(told["message"], status=0, code=told.get("code"), param=told.get("param"))
        return event_from_json(found)

    async def hear(self, frame: Samples) -> None:
        """The next frame of the user's sound: mono float32 in [-1, 1], any length."""
        from sayso.items import Audio
        from sayso.speech.audio import to_pcm16

        await self._send(to_pcm16(Audio(frame, 16_000)))

    async def say(self, text: str) -> None:
        """Ask in words; a reply that runs is cut off."""
        await self._command("say", text=text)

    async def hands_free(self, on: bool) -> None:
        """Whether turns are found by themselves (they are, at first); where not, `commit` ends one."""
        await self._command("hands_free", on=on)

    async def commit(self) -> None:
        """What was said so far is a turn."""
        await self._command("commit")

    async def clear(self) -> None:
        """Forget what was said since the last turn."""
        await self._command("clear")

    async def interrupt(self, played_ms: int | None = None) -> None:
        """Cut the reply off after so much of its turn's sound was played."""
        await self._command("interrupt", played_ms=played_ms)

    async def played(self, turn: int, ms: int) -> None:
        """So much of a turn's sound was played by now."""
        await self._command("played", turn=turn, ms=ms)

    async def decide(self, call_id: str, decision: Literal["approve", "refuse", "cancel"]) -> None:
        """Agree to the call that waits, say no to it, or stop one that runs."""
        await self._command(decision, call_id=call_id)

    async def speak_as(self, voice: str) -> None:
        """Another voice from the next sentence on."""
        await self._command("voice", voice=voice)

    async def _command(self, type: str, **fields: Any) -> None:
        await self._send(json.dumps({"type": type, **fields}))

    async def _send(self, message: str | bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._open.send(message)
        except ConnectionClosed as error:
            raise NetworkError(f"The live connection broke: {error}.", temporary=True) from error

    @property
    def _open(self) -> ClientConnection:
        if self._socket is None:
            raise SaysoError("The live connection is not open.", "Use it as: async with session.live() as talk")
        return self._socket
