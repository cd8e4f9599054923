"""How a server is reached, and the moment in which it is not any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sayso.tools.mcp.server import Http, InProcess, McpServerError, Server, Stdio
from sayso.tools.mcp.stderr import open_stderr

if TYPE_CHECKING:
    from mcp.client._transport import ReadStream, TransportStreams
    from mcp.shared.message import SessionMessage

CONNECT_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 300.0
"""Between two pieces of an answer: a stream of events may be silent for long."""


@asynccontextmanager
async def open_transport(server: Server, ended: asyncio.Event) -> AsyncGenerator[Any]:
    """What the SDK's `Client` takes as its server.

    Args:
        server: What to connect to.
        ended: Set when the other side goes away.
    """
    match server:
        case InProcess():
            yield server.server
        case Stdio():
            async with open_stderr(server.name) as (lines, file):
                try:
                    yield _watched(_stdio(server, file), ended)
                except Exception as error:
                    if not lines.tail:
                        raise
                    await asyncio.sleep(0)  # lets the last words in
                    raise McpServerError(f"{_first(error)}. It said: {lines.tail}") from error
        case Http():
            yield _watched(_http(server), ended)
        case _:
            raise TypeError(f"{type(server).__name__} is no Stdio, Http or InProcess")


@asynccontextmanager
async def _stdio(server: Stdio, errors: Any) -> AsyncGenerator[TransportStreams]:
    from mcp.client.stdio import StdioServerParameters, stdio_client

    parameters = StdioServerParameters(
        command=server.command, args=list(server.args), env=server.environment(), cwd=server.cwd
    )
    async with stdio_client(parameters, errlog=errors) as streams:
        errors.close()  # ours; with it open the pipe would never end
        yield streams


@asynccontextmanager
async def _http(server: Http) -> AsyncGenerator[TransportStreams]:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    timeout = httpx2.Timeout(CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
    async with (
        httpx2.AsyncClient(headers=dict(server.headers), auth=server.auth, timeout=timeout) as client,
        streamable_http_client(server.url, http_client=client) as streams,
    ):
        yield streams


@asynccontextmanager
async def _watched(transport: Any, ended: asyncio.Event) -> AsyncGenerator[TransportStreams]:
    async with transport as (reading, writing):
        yield _Watched(reading, ended), writing


class _Watched:
    """A read stream that tells when it ended; otherwise the one inside. The SDK tells only those who ask next."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception], ended: asyncio.Event) -> None:
        self._stream = stream
        self._ended = ended

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        try:
            return await self._stream.receive()
        except Exception:
            self._ended.set()
            raise

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self._stream.__anext__()
        except (Exception, StopAsyncIteration):
            self._ended.set()
            raise

    async def aclose(self) -> None:
        self._ended.set()
        await self._stream.aclose()

    async def __aenter__(self) -> _Watched:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        self._ended.set()
        return await self._stream.__aexit__(exc_type, exc_val, exc_tb)


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return str(error).rstrip(".") or type(error).__name__  # pyright: ignore[reportUnknownArgumentType]
