"""Answers that are sent while they are made, and end when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, Generic, TypeVar

from sse_starlette import EventSourceResponse
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")
EVENTS: dict[str, Any] = {
    "itemSchema": {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]},
}
"""How an OpenAPI document describes Server-Sent Events."""

PING_S = 15.0
"""Between two signs of life, for what is between client and server and ends silent connections."""


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled where the client leaves. The body must have been read.

    Raises:
        ClientDisconnect: It left.
        Exception: What ``work`` raises.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(request.receive))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.wait([working, leaving])


class Primed(Generic[T]):
    """A stream whose first item is there, so that what fails before it can still be answered with a status."""

    def __init__(self, stream: AsyncGenerator[T, None]) -> None:
        self._stream = stream
        self._first: list[T] = []

    async def start(self) -> Primed[T]:
        """Wait for the first item.

        Raises:
            Exception: What the stream raises before it.
        """
        try:
            self._first = [await anext(self._stream)]
        except StopAsyncIteration:
            pass
        except BaseException:
            await self._stream.aclose()
            raise
        return self

    def __aiter__(self) -> AsyncIterator[T]:
        """The items, once."""
        return self

    async def __anext__(self) -> T:
        """The next one."""
        return self._first.pop() if self._first else await anext(self._stream)

    async def aclose(self) -> None:
        """End the stream."""
        await self._stream.aclose()


class Events(EventSourceResponse):
    """Server-Sent Events; the stream is closed with the connection, whoever ends it."""

    def __init__(self, stream: Primed[Any]) -> None:
        super().__init__(stream, ping=PING_S, sep="\n")
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._stream.aclose()


class Bytes(Response):
    """A file that is sent while it is made. Where it fails half way the connection breaks, so that clients notice."""

    def __init__(self, stream: Primed[bytes], media_type: str) -> None:
        self._stream = stream
        self.status_code, self.media_type, self.background = 200, media_type, None
        self.init_headers()
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.wait([sending, leaving])
            await self._stream.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for data in self._stream:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
