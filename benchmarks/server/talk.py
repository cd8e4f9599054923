"""Clients of both protocols that measure what comes."""

from __future__ import annotations

import asyncio
import binascii
from typing import Any

from benchmarks.server.socket import Socket, connect

REALTIME = "/v1/realtime"
DELTA = b'{"type":"response.output_audio.delta"'
_SOUND = b'"delta":"'


class Talker:
    """One connection to ``/v1/realtime``.

    Attributes:
        arrived_ns: When each delta came.
        sent_ns: When the model made it.
        error: The last error that came.
    """

    def __init__(self) -> None:
        self.arrived_ns: list[int] = []
        self.sent_ns: list[int] = []
        self.error = ""
        self.socket: Socket
        self._created = asyncio.Event()
        self._done = asyncio.Event()
        self._first = asyncio.Event()

    async def connect(self, url: str, path: str = REALTIME) -> Talker:
        """Open it."""
        self.socket = await connect(url, path, self._take)
        async with asyncio.timeout(20):
            await self._created.wait()
        return self

    def ask(self, count: int, every_ms: int) -> None:
        """Have the model speak."""
        self._done.clear()
        self._first.clear()
        part = {"type": "input_text", "text": f"{count} {every_ms}"}
        item = {"type": "message", "role": "user", "content": [part]}
        self.socket.send({"type": "conversation.item.create", "item": item})
        self.socket.send({"type": "response.create"})

    async def done(self, within_s: float = 120) -> None:
        """Wait until the response is over."""
        async with asyncio.timeout(within_s):
            await self._done.wait()
        if self.error:
            raise RuntimeError(self.error)

    async def first(self) -> None:
        """Wait for its first sound."""
        async with asyncio.timeout(20):
            await self._first.wait()

    def _take(self, message: bytes, now_ns: int) -> None:
        if message.startswith(DELTA):
            at = message.index(_SOUND) + len(_SOUND)
            self.arrived_ns.append(now_ns)
            self.sent_ns.append(int.from_bytes(binascii.a2b_base64(message[at : at + 12])[:8], "little"))
            self._first.set()
        elif message.startswith(b'{"type":"session.created"'):
            self._created.set()
        elif message.startswith(b'{"type":"response.done"'):
            self._done.set()
        elif message.startswith(b'{"type":"error"'):
            self.error = message.decode()
            self._done.set()


def quantile(values: list[float], part: float) -> float:
    """The value below which ``part`` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def turn_detection(on: bool) -> dict[str, Any]:
    """Find turns in the sound, or leave that to the client."""
    detection = {"type": "server_vad"} if on else None
    audio = {"input": {"turn_detection": detection}}
    return {"type": "session.update", "session": {"type": "realtime", "audio": audio}}
