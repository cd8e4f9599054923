"""`Host`: what the routes share: the agents, the live sessions, who may open one, what is measured."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.requests import HTTPConnection

from sayso.agent import Agent
from sayso.errors import SaysoError, UsageError
from sayso.events import Event
from sayso.server.auth import Caller
from sayso.server.errors import Forbidden, NotFound, ServerError, SessionEnded, Unavailable, log_broken
from sayso.server.limits import Places, Usage
from sayso.server.settings import ServerSettings
from sayso.session import Session

DEFAULT_AGENT = "sayso"
"""The name of an agent that is served alone."""

LOOK_EVERY_S = 1.0
_log = logging.getLogger(__name__)


class Verifier(Protocol):
    """Knows callers by what they send."""

    def verify(self, token: str) -> Caller | None:
        """Who sent it, or None where it is none of ours or does not count any more."""
        ...

    def is_valid(self, caller: Caller) -> bool:
        """Whether a caller who was let in still may be here."""
        ...


@dataclass(eq=False, slots=True)
class OpenSession:
    """A session that a route holds.

    Attributes:
        session: The conversation.
        agent: The agent's name.
        caller: Who opened it.
        task: What holds it; cancelled to end the session.
        on_drain: Called when the server begins to stop.
        opened_s: On the loop's clock.
        active_s: When something last happened in it.
        ended_by: Why the server ended it.
    """

    session: Session
    agent: str
    caller: Caller
    task: asyncio.Task[Any]
    on_drain: Callable[[], None]
    opened_s: float
    active_s: float
    ended_by: ServerError | None = field(default=None)

    def end(self, error: ServerError) -> None:
        """Make `Host.open_session` raise ``error`` in the route."""
        if self.ended_by is None:
            self.ended_by = error
            self.task.cancel()


class Host:
    """What the routes share. `host_of` finds it.

    Args:
        agents: By name; the first is the default.
        settings: What the operator decided.

    Attributes:
        agents: As given.
        settings: As given.
        sessions: That are open, by id.
        usage: What callers used.
        places: For sessions.
        verifiers: Know the callers.
        missing: What has to be ready before the server is, in words, by agent.
        is_draining: The server stops: it opens no sessions.
    """

    def __init__(self, agents: Mapping[str, Agent], settings: ServerSettings) -> None:
        if not agents:
            raise UsageError("There is no agent to serve.", "Give create_app an Agent, or agents by name.")
        self.agents = dict(agents)
        self.settings = settings
        self.sessions: dict[str, OpenSession] = {}
        self.usage = Usage()
        self.places = Places(settings.max_sessions, settings.queue_length, settings.queue_s)
        self.verifiers: list[Verifier] = []
        self.missing: dict[str, str] = {}
        self.is_draining = False
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def asks_for_keys(self) -> bool:
        """Whether callers have to show who they are."""
        return bool(self.verifiers)

    @property
    def default_agent(self) -> str:
        """Its name."""
        return next(iter(self.agents))

    def agent_name(self, wanted: str | None, caller: Caller) -> str:
        """The name of the agent that ``wanted`` (a ``model`` of OpenAI's protocols) means to ``caller``.

        Raises:
            NotFound: There is none, or not for this caller.
        """
        name = wanted or self.default_agent
        if name not in self.agents and name.startswith(self.settings.stock_models):
            name = self.default_agent
        if name not in self.agents or not caller.may_use(name):
            known = ", ".join(one for one in self.agents if caller.may_use(one))
            raise NotFound(
                f"There is no agent {name!r}.", f"There are: {known or 'none'}.", code="model_not_found", param="model"
            )
        return name

    @asynccontextmanager
    async def open_session(
        self,
        agent: str | None,
        caller: Caller,
        *,
        definition: Agent | None = None,
        id: str | None = None,
        user: str | None = None,
        speak: bool | None = None,
        on_wait: Callable[[int], None] = lambda position: None,
        on_drain: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[Session]:
        """Open a session: the one way for routes. Enter and leave it in one task, which is cancelled to end it.

        Args:
            agent: Its name, or what `agent_name` makes one of.
            caller: Who asks.
            definition: In place of the agent itself: a variant of it (`Agent.variant`).
            id: Of the conversation; None: a new one.
            user: Whom it serves; None: the caller.
            speak: As of `Agent.session`.
            on_wait: Given the position in the queue, from 1, whenever it changes.
            on_drain: Called when the server begins to stop; turns may still end.

        Raises:
            NotFound: There is no such agent.
            Forbidden: The session is another caller's.
            LimitReached: The caller has too many, or used up the day's speech; `Busy`: everybody together has.
            Unavailable: The server is stopping, or the journal or model cannot be opened.
            SessionEnded: Inside: it was idle, took too long, or the server stops.
        """
        name = self.agent_name(agent, caller)
        self._check_free(id, caller)
        with self.usage.session(caller):
            async with self.places.one(on_wait):
                self._check_free(id, caller)
                chosen = definition or self.agents[name]
                async with chosen.session(id=id, user=user or caller.name, speak=speak) as session:
                    async with self._held(session, name, caller, on_drain):
                        yield session

    def touch(self, session: Session) -> None:
        """A client sent something: the session is not idle. Its events count by themselves."""
        if (opened := self.sessions.get(session.id)) is not None:
            opened.active_s = asyncio.get_running_loop().time()

    def spend(self, caller: Caller, speech_s: float) -> None:
        """So much speech of ``caller`` went in or out, beside what the events of a session tell."""
        self.usage.spend(caller, speech_s)

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str | None = None) -> asyncio.Task[None]:
        """Run something beside the requests, as long as the server runs; what it raises is logged.

        Raises:
            Unavailable: The server does not run.
        """
        if self._tasks is None:
            work.close()
            raise Unavailable("The server is not running.", "Start its lifespan first.")
        return self._tasks.create_task(_guarded(work), name=name)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The server's life: models get warm, idle sessions end."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            own = [self.spawn(self._look_after()), self.spawn(self._warm())]
            try:
                yield
            finally:
                self._tasks = None
                for task in own:
                    task.cancel()
                for opened in list(self.sessions.values()):
                    opened.end(_stopping())

    async def drain(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Open no more sessions, tell those who have one, wait for their turns, end them.

        Args:
            hurried: Asked meanwhile; once it says so, nothing is waited for.
        """
        if self.is_draining:
            return
        self.is_draining = True
        now = asyncio.get_running_loop().time
        until_s = now() + self.settings.drain_s
        for opened in list(self.sessions.values()):
            opened.on_drain()
        while any(opened.session.is_busy for opened in self.sessions.values()) and now() < until_s and not hurried():
            await asyncio.sleep(0.05)
        for opened in list(self.sessions.values()):
            opened.end(_stopping())
        until_s = now() + 2.0  # to say goodbye
        while self.sessions and now() < until_s and not hurried():
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def _held(
        self, session: Session, agent: str, caller: Caller, on_drain: Callable[[], None]
    ) -> AsyncGenerator[None]:
        task = asyncio.current_task()
        assert task is not None
        now_s = asyncio.get_running_loop().time()
        opened = OpenSession(session, agent, caller, task, on_drain, now_s, now_s)
        self.sessions[session.id] = opened
        cancelling = task.cancelling()
        session.conductor.events.watch(self._follow(opened))
        try:
            yield
        except asyncio.CancelledError:
            if opened.ended_by is not None and task.uncancel() <= cancelling:
                raise opened.ended_by from None
            raise
        finally:
            del self.sessions[session.id]

    def _follow(self, opened: OpenSession) -> Callable[[Event], None]:
        """What sees the events of a session."""
        now = asyncio.get_running_loop().time

        def follow(event: Event) -> None:
            opened.active_s = now()

        return follow

    def _check_free(self, id: str | None, caller: Caller) -> None:
        if self.is_draining:
            raise Unavailable("The server is stopping.", "Try again soon.", code="server_stopping", retry_after_s=5)
        if id is not None and (opened := self.sessions.get(id)) is not None:
            if opened.caller.id != caller.id:
                raise Forbidden("This session is another caller's.")
            raise UsageError(f"The session {id!r} is open already.", "Close it there first.")

    async def _look_after(self) -> None:
        """End what is idle, too old, or whose caller may not be here any more."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for opened in list(self.sessions.values()):
                if (error := self._over(opened, now())) is not None:
                    opened.end(error)

    def _over(self, opened: OpenSession, now_s: float) -> ServerError | None:
        if now_s - opened.opened_s > self.settings.max_session_s:
            return SessionEnded(f"A session lasts {self.settings.max_session_s:g} seconds at most.")
        if not opened.session.is_busy and now_s - opened.active_s > self.settings.idle_s:
            return SessionEnded(f"Nothing happened for {self.settings.idle_s:g} seconds.", code="session_idle")
        return None

    async def _warm(self) -> None:
        """Load the models, one after the other."""


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except ServerError as error:
        _log.info("ended: %s", error.code)
    except SaysoError as error:
        _log.error("%s", error)
    except Exception as error:
        log_broken(error)


def _stopping() -> SessionEnded:
    return SessionEnded("The server is stopping.", "Connect again.", code="server_stopping", retry_after_s=5)


def host_of(connection: HTTPConnection) -> Host:
    """The host of a `Request` or `WebSocket`."""
    return connection.app.state.host
