"""`Client`: a server's agents and sessions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote

from sayso.errors import SaysoError, UsageError
from sayso.http import Answer, Connection, connected

if TYPE_CHECKING:
    from sayso.client.session import RemoteSession


class ClientError(SaysoError):
    """The server refused a request, or could not do it.

    Attributes:
        status: Of its answer; 0 where a WebSocket told it.
        code: What exactly, for programs.
        param: The field that was wrong, or None.
        retry_after_s: When it is worth trying again, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class RemoteTool:
    """A tool of an agent.

    Attributes:
        effect: What a call does.
        parameters: JSON Schema of its arguments.
    """

    name: str
    description: str
    effect: Literal["pure", "read", "write", "irreversible"]
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """An agent of a server.

    Attributes:
        hears: It takes audio.
        speaks: It answers in audio.
        voices: That it can speak with; the first is its default.
        sample_rate_hz: Of what it speaks; 0 where it does not.
    """

    name: str
    model: str
    hears: bool
    speaks: bool
    voices: tuple[str, ...]
    languages: tuple[str, ...]
    sample_rate_hz: int
    tools: tuple[RemoteTool, ...]


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """How a conversation stands.

    Attributes:
        live: It is in the server's memory; else it is read from disk when it is used again.
        busy: A turn runs.
        turn: The number of the last turn.
        last_seq: The number of its last event.
        approval: The call that waits for a person: ``call_id``, ``name``, ``arguments``, ``question``.
    """

    id: str
    agent: str
    live: bool
    busy: bool
    turn: int
    last_seq: int
    voice: str | None
    created_s: float
    updated_s: float
    approval: dict[str, str] | None


class Client:
    """Talks to one server; use it as an async context manager.

    Args:
        address: Of the server, such as ``http://127.0.0.1:8000``.
        key: An API key of it.
        timeout_s: For connecting and for answers that are not streamed.

    Raises:
        UsageError: The address is none.
    """

    def __init__(self, address: str, *, key: str | None = None, timeout_s: float = 120.0) -> None:
        if not address.startswith(("http://", "https://")):
            raise UsageError(f"{address!r} is no address of a server.", "Give one such as http://127.0.0.1:8000")
        self.address = address.rstrip("/")
        self.headers: Mapping[str, str] = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._timeout_s = timeout_s
        self._scope = AsyncExitStack()
        self._connection: Connection | None = None

    async def __aenter__(self) -> Client:
        """Connections are made when they are needed."""
        opened = connected(self.address, headers=self.headers, timeout_s=self._timeout_s)
        self._connection = await self._scope.enter_async_context(opened)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections; sessions live on at the server."""
        self._connection = None
        await self._scope.aclose()

    async def agents(self) -> tuple[AgentInfo, ...]:
        """The agents that this key may talk to."""
        return tuple(_agent(one) for one in (await self.json("GET", "/v1/agents"))["agents"])

    async def session(
        self,
        agent: str,
        *,
        id: str | None = None,
        voice: str | None = None,
        instructions: str | None = None,
        speak: bool | None = None,
        record: bool = False,
    ) -> RemoteSession:
        """Open a conversation, or go on with the one that is named ``id``.

        Args:
            agent: Its name.
            id: 8 to 64 letters, digits, ``_`` and ``-``; None: a new one.
            voice: One of the agent's voices.
            instructions: In place of the agent's.
            speak: Whether replies are spoken; None: where the agent can.
            record: Keep the sound of both sides at the server.

        Raises:
            ClientError: There is no such agent, or no place for a session.
        """
        from sayso.client.session import RemoteSession

        wanted = {"id": id, "voice": voice, "instructions": instructions, "speak": speak, "record": record}
        body = {name: value for name, value in wanted.items() if value is not None}
        found = await self.json("POST", f"/v1/agents/{quote(agent, safe='')}/sessions", body)
        return RemoteSession(self, agent, found["id"])

    async def sessions(self, agent: str, *, limit: int = 100) -> tuple[SessionInfo, ...]:
        """This caller's conversations with an agent, the newest first."""
        found = await self.json("GET", f"/v1/agents/{quote(agent, safe='')}/sessions?limit={limit}")
        return tuple(SessionInfo(**one) for one in found["sessions"])

    async def json(self, method: str, path: str, body: Any = None) -> Any:
        """One request, and the JSON of its answer; None where it has none.

        Raises:
            ClientError: The server refused it.
            NetworkError: The server was not reached.
        """
        answer = await self._open.request(method, path, body=body)
        if answer.status >= 400:
            raise _error(answer)
        return answer.json() if answer.body else None

    async def bytes(self, path: str) -> bytes:
        """A file. Raises as `json`."""
        answer = await self._open.request("GET", path)
        if answer.status >= 400:
            raise _error(answer)
        return answer.body

    @asynccontextmanager
    async def lines(self, method: str, path: str, body: Any = None) -> AsyncGenerator[AsyncIterator[str]]:
        """The lines of an event stream. Raises as `json`."""
        headers = {"Accept": "text/event-stream"}
        async with self._open.stream(method, path, body=body, headers=headers) as (answer, lines):
            if answer.status >= 400:
                raise _error(answer)
            yield lines

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise UsageError("The client is not open.", "Use it as: async with Client(...) as client")
        return self._connection


def _agent(found: dict[str, Any]) -> AgentInfo:
    lists: dict[str, Any] = {name: tuple(found[name]) for name in ("voices", "languages")}
    lists["tools"] = tuple(RemoteTool(**one) for one in found["tools"])
    return AgentInfo(**(found | lists))


def _error(answer: Answer) -> ClientError:
    try:
        told = cast("dict[str, Any]", answer.json()["error"])
    except (SaysoError, KeyError, TypeError):  # a proxy in between, say
        told = {"message": f"The server answered with HTTP status {answer.status}."}
    after = answer.headers.get("retry-after", "")
    return ClientError(
        str(told.get("message")),
        status=answer.status,
        code=told.get("code"),
        param=told.get("param"),
        retry_after_s=float(after) if after.isdecimal() else None,
    )
