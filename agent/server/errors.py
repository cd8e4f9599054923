"""What callers are told when something cannot be: bodies in OpenAI's form, WebSocket errors and close codes."""

from __future__ import annotations

import logging
import math
from typing import Any, ClassVar
from uuid import uuid4

import orjson
from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocketDisconnect, WebSocketState

from sayso.errors import SaysoError, UsageError
from sayso.server.logs import log_event, place_of
from sayso.settings import redact

_log = logging.getLogger(__name__)


class ErrorDetail(BaseModel):
    """What was wrong: in words, by kind, and where."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


class ServerError(SaysoError):
    """An error that a caller is told.

    Attributes:
        status: Of the HTTP answer.
        type: OpenAI's kind of error.
        code: What exactly, for programs.
        close_code: Of a WebSocket that ends with it.
        param: The field that was wrong, or None.
        retry_after_s: When it is worth trying again, or None.
    """

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"
    default_code: ClassVar[str | None] = None
    close_code: ClassVar[int] = 1008

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.code = code or self.default_code
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """Of the HTTP answer."""
        return {} if self.retry_after_s is None else {"Retry-After": str(max(1, math.ceil(self.retry_after_s)))}


class InvalidRequest(ServerError):
    """A request that cannot be used; ``param`` names the field."""


class NotAuthenticated(ServerError):
    """No key, or one that does not count."""

    status = 401
    default_code = "invalid_api_key"
    close_code = 3000

    @property
    def headers(self) -> dict[str, str]:
        """Says what is asked for."""
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(ServerError):
    """A caller who is known, or a page, that may not do this."""

    status = 403
    default_code = "forbidden"
    close_code = 3003


class NotFound(ServerError):
    """There is no such thing."""

    status = 404
    default_code = "not_found"


class TooLarge(ServerError):
    """A body over the limit."""

    status = 413
    default_code = "request_too_large"
    close_code = 1009


class LimitReached(ServerError):
    """A caller used up what they may."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"
    close_code = 4429


class Busy(LimitReached):
    """The server has no place for another session."""

    default_code = "server_busy"
    close_code = 1013


class Unavailable(ServerError):
    """The server cannot do it now: its model failed, or it is stopping."""

    status = 503
    type = "server_error"
    default_code = "unavailable"
    close_code = 1013


class SessionEnded(ServerError):
    """The server ended a session: it was idle, too long, or the server stops.

    ``code`` is ``session_idle``, ``session_expired``, ``server_stopping`` or ``key_revoked``.
    """

    status = 408
    default_code = "session_expired"
    close_code = 1001


class Broken(ServerError):
    """A fault of ours; the log knows more."""

    status = 500
    type = "server_error"
    default_code = "internal_error"
    close_code = 1011


def as_server_error(error: Exception) -> ServerError:
    """What a caller is told of ``error``; of an unknown one, no more than that it happened."""
    match error:
        case ServerError():
            return error
        case UsageError():
            return InvalidRequest(Exception.__str__(error), error.hint)
        case SaysoError():
            return Unavailable(Exception.__str__(error), error.hint)
        case RequestValidationError() | WebSocketRequestValidationError():
            return _invalid(error)
        case HTTPException():
            return error.__cause__ if isinstance(error.__cause__, ServerError) else _http(error)
        case _:
            return Broken("Something broke in the server.", "Its log says where.")


def error_detail(error: Exception) -> dict[str, Any]:
    """``message``, ``type``, ``param`` and ``code`` of what a caller is told."""
    told = as_server_error(error)
    return {"message": redact(str(told)), "type": told.type, "param": told.param, "code": told.code}


def error_response(error: Exception) -> Response:
    """The HTTP answer."""
    told = as_server_error(error)
    status, headers = told.status, told.headers
    if isinstance(error, HTTPException) and told is not error.__cause__:  # 405 with Allow, say
        status, headers = error.status_code, dict(error.headers or {})
    return JSONResponse({"error": error_detail(told)}, status, headers)


def error_event(error: Exception, event_id: str | None = None) -> dict[str, Any]:
    """The ``error`` event of a WebSocket.

    Args:
        error: What was wrong.
        event_id: Of the client's event that caused it.
    """
    detail = error_detail(error) | {"event_id": event_id}
    if (after := as_server_error(error).retry_after_s) is not None:
        detail["retry_after_s"] = max(1, math.ceil(after))
    return {"type": "error", "event_id": f"event_{uuid4().hex}", "error": detail}


async def refuse(websocket: WebSocket, error: Exception) -> None:
    """End a WebSocket with ``error``: an HTTP answer before it was accepted, an `error_event` and a close after."""
    told = as_server_error(error)
    try:
        if websocket.application_state is WebSocketState.CONNECTING:
            if "websocket.http.response" in websocket.scope.get("extensions", {}):
                await websocket.send_denial_response(error_response(told))
            else:
                await websocket.close(told.close_code)
        elif websocket.application_state is WebSocketState.CONNECTED:
            await websocket.send_text(orjson.dumps(error_event(told)).decode())
            await websocket.close(told.close_code, (told.code or "")[:100])
    except (WebSocketDisconnect, RuntimeError, OSError):
        _log.debug("the other side had left already")


def log_broken(error: BaseException) -> None:
    """Say in the log where an unknown error came from. Its words may be a user's: only its kind is told."""
    log_event(_log, "something broke", logging.ERROR, error=type(error).__name__, at=place_of(error))


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` in our form."""

    async def handle(connection: HTTPConnection, error: Exception) -> Response | None:
        app.state.host.metrics.refused(error)
        if isinstance(connection, WebSocket):
            await refuse(connection, error)
            return None
        assert isinstance(connection, Request)
        return error_response(error)

    for kind in (SaysoError, RequestValidationError, WebSocketRequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)  # pyright: ignore[reportArgumentType]


def _invalid(error: RequestValidationError | WebSocketRequestValidationError) -> ServerError:
    first = max(error.errors(), key=lambda one: len(one["loc"]))  # of the forms that a value may have, the nearest
    if first["loc"] == ("body",) and first["type"] in ("model_attributes_type", "dict_type", "model_type"):
        what = "The body has to be a JSON object.", "Send it with Content-Type: application/json."
        return InvalidRequest(*what, code=str(first["type"]))
    if first["type"] == "json_invalid":
        return InvalidRequest(
            f"The body is no JSON: {first['ctx']['error']} at character {first['loc'][-1]}.", code="json_invalid"
        )
    inside = [str(part) for part in first["loc"][1:]] or [str(part) for part in first["loc"]]
    param = ".".join(inside)
    message = str(first["msg"]).removeprefix("Value error, ")  # pydantic's own words before ours
    return InvalidRequest(f"{param}: {message.rstrip('.')}.", code=str(first["type"]), param=param)


def _http(error: HTTPException) -> ServerError:
    if error.status_code == 404:
        return NotFound("There is nothing at this address.")
    return InvalidRequest(f"{error.detail}.")
