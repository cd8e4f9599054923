"""`Gate`: what every request passes: host and origin are checked, sizes limited, answers logged, faults kept inside."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from sayso.server.errors import Forbidden, ServerError, TooLarge, error_response, log_broken, refuse
from sayso.server.logs import log_event
from sayso.server.settings import LOOPBACK, ServerSettings

if TYPE_CHECKING:
    from sayso.server.host import Host

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing: what they answer, a page of another origin cannot read."""
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked by machines every few seconds: logged below the usual level."""

STATES = {
    "websocket.accept": WebSocketState.CONNECTED,
    "websocket.close": WebSocketState.DISCONNECTED,
    "websocket.http.response.start": WebSocketState.RESPONSE,
}

_log = logging.getLogger(__name__)


class Gate:
    """An ASGI middleware.

    Args:
        app: What is behind it.
        host: Whose settings count.
    """

    def __init__(self, app: ASGIApp, host: Host) -> None:
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_s, request_id, status = time.perf_counter(), uuid4().hex, 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            check_reach(HTTPConnection(scope), self._host.settings)
            limited = limit_body(scope, receive, self._host.settings.max_body_bytes)
            await self._app(scope, limited, answer)
        except ClientDisconnect:
            pass
        except Exception as error:
            self._host.metrics.refused(error)
            if not isinstance(error, ServerError):
                log_broken(error.__cause__ or error)
            if not status:
                await error_response(error)(scope, receive, answer)
        finally:
            self._host.metrics.answered(status)
            log_event(
                _log,
                "request",
                _level(scope["path"], status),
                method=scope["method"],
                path=scope["path"],
                status=status or "left",
                ms=round((time.perf_counter() - began_s) * 1000),
                caller=_caller(scope),
                id=request_id,
            )

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)

        async def answer(message: Message) -> None:
            if (state := STATES.get(message["type"])) is not None:  # how far it came, for `refuse`
                websocket.application_state = state
            await send(message)

        try:
            check_reach(websocket, self._host.settings)
            await self._app(scope, receive, answer)
        except WebSocketDisconnect:
            pass
        except Exception as error:
            self._host.metrics.refused(error)
            if not isinstance(error, ServerError):
                log_broken(error.__cause__ or error)
            await refuse(websocket, error)
        finally:
            log_event(_log, "websocket closed", path=scope["path"], caller=_caller(scope))


def check_reach(connection: HTTPConnection, settings: ServerSettings) -> None:
    """Refuse a web page that may not use the server.

    That is one that reaches this machine under a name of its own (DNS rebinding), and one of another origin.

    Raises:
        Forbidden: It is that.
    """
    host = connection.headers.get("host", "")
    if (settings.is_local or settings.allowed_hosts) and _name(host) not in (*LOOPBACK, *settings.allowed_hosts):
        raise Forbidden(
            f"This server is not reached as {host[:100]!r}.",
            "Start it with --allow-host for each further name.",
            code="host_not_allowed",
        )
    origin = connection.headers.get("origin")
    if origin is None or connection.scope.get("method") in READING:
        return
    same = origin.partition("://")[2] == host
    if not same and origin not in settings.cors and "*" not in settings.cors:
        raise Forbidden(
            f"Pages of {origin[:100]!r} may not use this server.",
            "Start it with --cors for each origin that may.",
            code="origin_not_allowed",
        )


def limit_body(scope: Scope, receive: Receive, most: int) -> Receive:
    """``receive``, which refuses a body of more than ``most`` bytes.

    Raises:
        TooLarge: The body says that it is.
    """
    error = TooLarge(f"The body is over {most} bytes.", "Send less at once.")
    told = HTTPConnection(scope).headers.get("content-length", "")
    if told.isdecimal() and int(told) > most:
        raise error
    got = 0

    async def limited() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > most:
            raise error
        return message

    return limited


def _level(path: str, status: int) -> int:
    return logging.DEBUG if path in QUIET and status in (200, 503) else logging.INFO


def _name(host: str) -> str:
    """A ``Host`` header without its port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return name.removeprefix("[").removesuffix("]").lower()


def _caller(scope: Scope) -> str | None:
    caller = scope.get("state", {}).get("caller")
    return None if caller is None else caller.name
