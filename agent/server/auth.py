"""Who calls: `CalledBy` for HTTP routes, `admit` for WebSockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeAlias

from fastapi import Depends, Request, WebSocket
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from sayso.errors import UsageError
from sayso.server.errors import Forbidden, NotAuthenticated
from sayso.server.settings import LOOPBACK, Limits, ServerSettings

if TYPE_CHECKING:
    from sayso.server.host import Host

REALTIME_PROTOCOL = "realtime"
KEY_PROTOCOL = "openai-insecure-api-key."
"""What browsers offer as a WebSocket subprotocol, with the key behind it: they cannot set headers."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may use the server.

    Attributes:
        id: Unique; what limits are counted by.
        name: For logs, and `sayso.session.Session.user` unless the app says whom it serves.
        kind: How they showed who they are.
        agents: Whom they may talk to; None: everybody.
        limits: What they may use.
        operator: They may read the metrics.
    """

    id: str
    name: str
    kind: Literal["key", "jwt", "anonymous"] = "key"
    agents: frozenset[str] | None = None
    limits: Limits = field(default_factory=Limits)
    operator: bool = False

    def may_use(self, agent: str) -> bool:
        """Whether they may talk to ``agent``."""
        return self.agents is None or agent in self.agents


class Verifier(Protocol):
    """Knows callers by what they send."""

    def verify(self, token: str) -> Caller | None:
        """Who sent it, or None where it is none of ours or does not count any more."""
        ...

    def is_valid(self, caller: Caller) -> bool:
        """Whether a caller who was let in by it still may be here."""
        ...


def verifiers_of(settings: ServerSettings) -> list[Verifier]:
    """What knows the callers: API keys, JSON Web Tokens, or nothing.

    Raises:
        UsageError: The file of keys has none, or a setting cannot be used.
    """
    from sayso.server.keys import KeyFile
    from sayso.server.tokens import Tokens

    found: list[Verifier] = []
    if settings.keys is not None:
        keys = KeyFile(settings.keys)
        if not any(not key.revoked for key in keys.keys()):
            raise UsageError(
                f"There are no keys in {settings.keys}.", f"Make one: sayso keys add NAME --keys {settings.keys}"
            )
        found.append(keys)
    if settings.jwt is not None:
        found.append(Tokens(settings.jwt))
    return found


_bearer = HTTPBearer(auto_error=False, description="An API key of this server, or a JSON Web Token.")


async def caller_of(request: Request, _: Annotated[object, Depends(_bearer)] = None) -> Caller:
    """Who calls; counted against their requests a minute.

    Raises:
        NotAuthenticated: A key is needed, and there is none that counts.
        LimitReached: Too many requests.
    """
    host = _host(request)
    caller = identify(host, request, token_of(request))
    host.usage.count_request(caller)
    request.state.caller = caller
    return caller


CalledBy: TypeAlias = Annotated[Caller, Depends(caller_of)]
"""For routes: ``async def route(caller: CalledBy): ...``"""


async def operator_of(caller: CalledBy) -> Caller:
    """As `caller_of`, for what is the operator's business.

    Raises:
        Forbidden: The caller's key is not an operator's.
    """
    if not caller.operator:
        raise Forbidden("This key may not read the metrics.", "Make one with: sayso keys add NAME --operator")
    return caller


async def admit(websocket: WebSocket) -> Caller:
    """Accept a WebSocket of somebody who may use the server; with the subprotocol ``realtime`` where it is offered.

    Raises:
        NotAuthenticated: A key is needed, and there is none that counts; the WebSocket was not accepted.
        LimitReached: Too many requests; the WebSocket was accepted, so that browsers can be told why.
    """
    host = _host(websocket)
    offered: list[str] = websocket.scope.get("subprotocols", [])
    caller = identify(host, websocket, token_of(websocket))
    websocket.state.caller = caller
    await websocket.accept(REALTIME_PROTOCOL if REALTIME_PROTOCOL in offered else None)
    host.usage.count_request(caller)
    return caller


def identify(host: Host, connection: HTTPConnection, token: str | None) -> Caller:
    """Who sent ``token``.

    Raises:
        NotAuthenticated: The server has keys and this is none of them, or it comes from another machine without one.
    """
    if not host.asks_for_keys:
        if host.settings.insecure or _is_local(connection):
            return Caller("local", "local", "anonymous", limits=host.settings.anonymous_limits, operator=True)
        raise NotAuthenticated("This server has no keys, so it serves its own machine alone.")
    if not token:
        raise NotAuthenticated("No API key was given.", "Send one as: Authorization: Bearer KEY")
    for verifier in host.verifiers:
        if (caller := verifier.verify(token)) is not None:
            return caller
    raise NotAuthenticated("This API key is wrong, revoked, or expired.")


def token_of(connection: HTTPConnection) -> str | None:
    """What a caller sent to show who they are: a bearer token, or a subprotocol of a WebSocket."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    offered: list[str] = connection.scope.get("subprotocols", [])
    return next((one.removeprefix(KEY_PROTOCOL) for one in offered if one.startswith(KEY_PROTOCOL)), None)


def _host(connection: HTTPConnection) -> Host:
    from sayso.server.host import host_of

    return host_of(connection)


def _is_local(connection: HTTPConnection) -> bool:
    client = connection.client
    return client is None or client.host in LOOPBACK or client.host.startswith("127.")
