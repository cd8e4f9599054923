"""A WebSocket client of few lines: the client must not be what is measured."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import orjson

Take = Callable[[bytes, int], None]
"""Takes a message and when it arrived: `time.monotonic_ns`."""
_MASK = b"\x00\x00\x00\x00"  # a mask of zeros changes nothing


class Socket(asyncio.Protocol):
    """One connection.

    Args:
        path: With its query.
        host: The server's name and port.
        take: Called with each message.
    """

    def __init__(self, path: str, host: str, take: Take) -> None:
        self._take = take
        self._buffer = bytearray()
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        loop = asyncio.get_running_loop()
        self.is_open: asyncio.Future[None] = loop.create_future()
        self.is_closed: asyncio.Future[None] = loop.create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        """Ask for the upgrade."""
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if not self.is_open.done():
            self.is_open.set_exception(ConnectionError("closed before it was open"))
        if not self.is_closed.done():
            self.is_closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Messages, cut anywhere."""
        now_ns = time.monotonic_ns()
        self._buffer += data
        if not self.is_open.done() and not self._shake():
            return
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1], at + 2
            if size == 126:
                if len(buffer) - at < 4:
                    break
                size, start = struct.unpack_from(">H", buffer, at + 2)[0], at + 4
            elif size == 127:
                if len(buffer) - at < 10:
                    break
                size, start = struct.unpack_from(">Q", buffer, at + 2)[0], at + 10
            if len(buffer) - start < size:
                break
            message, code, at = bytes(buffer[start : start + size]), buffer[at] & 15, start + size
            if code == 9:
                self._frame(10, message)
            elif code in (0, 1, 2):
                self._take(message, now_ns)
        del buffer[:at]

    def send(self, event: dict[str, Any]) -> None:
        """Send an event."""
        self._frame(1, orjson.dumps(event))

    def send_text(self, text: bytes) -> None:
        """Send a message as it is."""
        self._frame(1, text)

    def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        self._frame(2, data)

    async def close(self) -> None:
        """Say goodbye, and wait until the server has closed."""
        self._frame(8, struct.pack(">H", 1000))
        async with asyncio.timeout(10):
            await self.is_closed

    def _frame(self, code: int, data: bytes) -> None:
        size = len(data)
        if size < 126:
            head = struct.pack(">BB", 128 | code, 128 | size)
        elif size < 65536:
            head = struct.pack(">BBH", 128 | code, 128 | 126, size)
        else:
            head = struct.pack(">BBQ", 128 | code, 128 | 127, size)
        self.transport.write(head + _MASK + data)

    def _shake(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            self.is_open.set_exception(ConnectionError(bytes(self._buffer[: end + 400]).decode(errors="replace")))
            self.transport.close()
            return False
        del self._buffer[: end + 4]
        self.is_open.set_result(None)
        return True


async def connect(url: str, path: str, take: Take) -> Socket:
    """Open a connection to ``path`` of the server at ``url``."""
    where = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(
        lambda: Socket(path, where.netloc, take), where.hostname or "", where.port or 80
    )
    async with asyncio.timeout(20):
        await socket.is_open
    return socket
