"""``/v1/realtime/calls``: calls over WebRTC, as OpenAI's clients begin them."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import uuid4

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.datastructures import FormData

from sayso.items import JsonObject
from sayso.server.auth import CalledBy, Caller, token_of
from sayso.server.errors import InvalidRequest, NotFound, ServerError, SessionEnded, Unavailable
from sayso.server.host import Host, host_of
from sayso.server.realtime import protocol
from sayso.server.rtc import client_secrets

if TYPE_CHECKING:
    from sayso.server.rtc.call import Call

router = APIRouter(prefix="/v1/realtime", tags=["realtime"])

router.include_router(client_secrets.router)
MAX_SDP_BYTES = 200_000
Model = Annotated[str | None, Query(max_length=256, description="The agent's name.")]
CallId = Annotated[str, Path(pattern=r"^rtc_[0-9a-f]{32}$", description="As in the Location of the call.")]
_FORM = {
    "type": "object",
    "required": ["sdp"],
    "properties": {"sdp": {"type": "string"}, "session": {"type": "string", "contentMediaType": "application/json"}},
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/sdp": {"schema": {"type": "string"}},
            "multipart/form-data": {"schema": _FORM},
        },
    }
}
ANSWER: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "The SDP that answers the offer.",
        "content": {"application/sdp": {"schema": {"type": "string"}}},
        "headers": {"Location": {"schema": {"type": "string"}, "description": "The call."}},
    }
}


class NotInstalled(ServerError):
    """The server lacks a package for this."""

    status = 501
    type = "server_error"
    default_code = "not_installed"


@router.post("/calls", status_code=201, response_class=Response, openapi_extra=BODY, responses=ANSWER)
async def create_call(request: Request, caller: CalledBy, model: Model = None) -> Response:
    """Begin a call: the body is an SDP offer, alone or beside the session that is wanted."""
    if importlib.util.find_spec("aiortc") is None:
        raise NotInstalled("Calls need aiortc, which this server does not have.", "pip install 'sayso[rtc]'")
    from sayso.server.rtc.call import Call

    host = host_of(request)
    sdp, session = await _offer(request)
    if (secret := host.secrets.find(token_of(request))) is not None:
        session = secret.session | session
    wanted = session.pop("model", None)
    model = model or (wanted if isinstance(wanted, str) else None)
    agent = host.agent_name(model, caller)
    update = {"type": "session.update", "session": {"type": "realtime", **session}} if session else None
    if update is not None:
        protocol.parse(update)  # what is wrong with it is told at once
    call, id = Call(host, model or agent, update), f"rtc_{uuid4().hex}"
    try:
        answer = await call.answer(sdp)
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        host.spawn(_run(host, call, agent, caller, id, begun), name=f"call {id}")
        await asyncio.shield(begun)
    except BaseException:
        await call.aclose()
        raise
    return Response(answer, 201, {"Location": f"/v1/realtime/calls/{id}"}, media_type="application/sdp")


@router.post("/calls/{call_id}/hangup")
async def hang_up(call_id: CallId, request: Request, caller: CalledBy) -> Response:
    """End a call."""
    opened = host_of(request).sessions.get(call_id)
    if opened is None or opened.caller.id != caller.id:
        raise NotFound(f"There is no call {call_id!r} (any more).", code="call_not_found")
    opened.end(SessionEnded("The call was hung up.", code="hung_up"))
    return Response(status_code=200)


async def _run(host: Host, call: Call, agent: str, caller: Caller, id: str, begun: asyncio.Future[None]) -> None:
    try:
        async with host.open_session(agent, caller, id=id, user=caller.id) as session:
            begun.set_result(None)
            await call.run(session)
    except Exception as error:
        if not begun.done():
            begun.set_exception(error)
            return
        await call.tell(error)
        raise
    finally:
        if not begun.done():
            begun.set_exception(Unavailable("The server is stopping.", code="server_stopping", retry_after_s=5))
        begun.exception()  # seen, though the client may have left
        await call.aclose()


async def _offer(request: Request) -> tuple[str, JsonObject]:
    """The SDP, and what is wanted of the session."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/sdp":
        sdp, session = (await request.body()).decode("utf-8", "replace"), "{}"
    elif kind == "multipart/form-data":
        form = await request.form(max_files=2, max_fields=10, max_part_size=1 << 20)
        sdp, session = await _field(form, "sdp"), await _field(form, "session") or "{}"
    else:
        raise InvalidRequest("The body has to be application/sdp or multipart/form-data.", param="Content-Type")
    if not sdp.strip() or len(sdp) > MAX_SDP_BYTES:
        raise InvalidRequest("There is no SDP, or it is too long.", param="sdp")
    try:
        found: object = orjson.loads(session)
    except orjson.JSONDecodeError:
        raise InvalidRequest("The session is no JSON.", param="session") from None
    if not isinstance(found, dict):
        raise InvalidRequest("The session is no JSON object.", param="session")
    return sdp, cast("JsonObject", found)


async def _field(form: FormData, name: str) -> str:
    value = form.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    return (await value.read(1 << 20)).decode("utf-8", "replace")
