"""``POST /v1/realtime/client_secrets``: keys for a few minutes, for browsers that must not see the app's own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from sayso.items import JsonObject
from sayso.server.auth import CalledBy, token_of
from sayso.server.errors import Forbidden
from sayso.server.host import host_of
from sayso.server.realtime import protocol
from sayso.server.realtime.items import new_id

router = APIRouter()

USUAL_S, LONGEST_S, SHORTEST_S = 600, 7200, 10


class ExpiresAfter(BaseModel):
    """How long a secret counts."""

    model_config = ConfigDict(strict=True)

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Field(ge=SHORTEST_S, le=LONGEST_S)] = USUAL_S


class SecretCreate(BaseModel):
    """What is wanted.

    Attributes:
        session: What sessions that are opened with it are set to: the fields of ``session.update``, and ``model``.
    """

    model_config = ConfigDict(strict=True)

    expires_after: ExpiresAfter | None = None
    session: dict[str, Any] | None = None


class SecretInfo(BaseModel):
    """A new secret.

    Attributes:
        value: The secret itself. It cannot be had again.
        expires_at: Unix time.
        session: As it was asked for.
    """

    value: str
    expires_at: int
    session: dict[str, Any]


@router.post("/client_secrets")
async def create_secret(body: SecretCreate, request: Request, caller: CalledBy) -> SecretInfo:
    """Make a key for a few minutes. It opens sessions until it expires; those go on."""
    host = host_of(request)
    if host.secrets.find(token_of(request)) is not None:
        raise Forbidden("A client secret makes no others.", "Ask with the key that it was made with.")
    session: JsonObject = {"type": "realtime", **(body.session or {})}
    update: JsonObject = {name: value for name, value in session.items() if name != "model"}
    protocol.parse({"type": "session.update", "session": update})  # what is wrong with it is told at once
    model = session.get("model")
    session["model"] = host.agent_name(model, caller) if not isinstance(model, str) else model
    host.agent_name(session["model"], caller)
    token, secret = host.secrets.make(caller, (body.expires_after or ExpiresAfter()).seconds, session)
    shown = {"object": "realtime.session", "id": new_id("sess"), **session}
    return SecretInfo(value=token, expires_at=int(secret.expires_s), session=shown)
