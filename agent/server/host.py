"""`Host`: what the routes share: the agents, the open sessions, who may open one, what is measured."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

from starlette.requests import HTTPConnection

from sayso.agent import Agent
from sayso.conversations import Conversations, default_path
from sayso.errors import SaysoError, UsageError
from sayso.outbox import Push
from sayso.server.auth import Caller, Verifier, verifiers_of
from sayso.server.errors import (
    Forbidden,
    LimitReached,
    NotFound,
    ServerError,
    SessionEnded,
    Unavailable,
    log_broken,
)
from sayso.server.limits import Places, Usage, meter
from sayso.server.logs import log_session
from sayso.server.metrics import Metrics
from sayso.server.secrets import Secrets
from sayso.server.sessions import GOODBYE_S, OpenSession, OpenSessions, stopping
from sayso.server.settings import ServerSettings, check_names
from sayso.server.tracing import Tracing
from sayso.session import Session

DEFAULT_AGENT = "sayso"
"""The name of an agent that is served alone."""

_log = logging.getLogger(__name__)


class Host:
    """What the routes share. `host_of` finds it.

    Args:
        agents: By name; the first is the default.
        settings: What the operator decided.

    Attributes:
        agents: As given.
        settings: As given.
        sessions: That are open.
        usage: What callers used.
        places: For sessions, and the queue for them.
        verifiers: Know the callers.
        secrets: Keys for a few minutes; where no keys are asked for they count for their settings alone.
        metrics: What is measured.
        missing: What has to be ready before the server is, in words, by agent.
        failed: Agents whose model could not be loaded.
        on_full: Called while somebody waits for a place: what keeps one without need gives it up.
        is_draining: The server stops: it opens no sessions.
        on_ready: Called once, when it was tried to make all agents ready.

    Raises:
        UsageError: The settings cannot be used together, or their files not at all.
    """

    def __init__(self, agents: Mapping[str, Agent], settings: ServerSettings) -> None:
        if not agents:
            raise UsageError("There is no agent to serve.", "Give create_app an Agent, or agents by name.")
        self.agents = dict(agents)
        self.settings = settings
        check_names(settings)
        self.verifiers: list[Verifier] = verifiers_of(settings)
        self.secrets = Secrets()
        if self.verifiers:
            self.verifiers.append(self.secrets)
        self._check_reach()
        self.sessions = OpenSessions(settings, self._over)
        self.usage = Usage()
        self.places = Places(settings.max_sessions, settings.queue_length, settings.queue_s)
        self.metrics = Metrics(self.agents, self.places)
        self.failed: set[str] = set()
        self.on_full: list[Callable[[], None]] = []
        self.missing = {name: "its model is loading" for name in self.agents} if settings.warm else {}
        self.is_draining = False
        self.on_ready: Callable[[], None] = lambda: None
        self._tracing = Tracing(content=settings.trace_content)
        self._tasks: asyncio.TaskGroup | None = None
        self._spawned: set[asyncio.Task[None]] = set()

    @cached_property
    def conversations(self) -> Conversations:
        """What was said, for sessions that outlive their connection and the server; the file is opened here.

        Raises:
            StoreError: It cannot be.
        """
        return Conversations(self.settings.conversations or default_path())

    @property
    def asks_for_keys(self) -> bool:
        """Whether callers have to show who they are."""
        return bool(self.verifiers)

    def agent_name(self, wanted: str | None, caller: Caller) -> str:
        """The name of the agent that ``wanted`` (a ``model`` of OpenAI's protocols) means to ``caller``.

        Raises:
            NotFound: There is none, or not for this caller.
        """
        mine = [name for name in self.agents if caller.may_use(name)]
        if wanted in mine:
            return wanted
        anyone = not wanted or (wanted not in self.agents and wanted.startswith(self.settings.stock_models))
        if mine and anyone:
            return mine[0]
        raise NotFound(
            f"There is no agent {wanted!r}." if wanted else "There is no agent for this key.",
            f"There are: {', '.join(mine)}." if mine else "",
            code="model_not_found",
            param="model",
        )

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
        conversations: Conversations | None = None,
        on_wait: Callable[[int], None] = lambda position: None,
        on_drain: Callable[[], None] = lambda: None,
        brief: bool = False,
    ) -> AsyncGenerator[Session]:
        """Open a session: the one way for routes. Enter and leave it in one task, which is cancelled to end it.

        Args:
            agent: Its name, or what `agent_name` makes one of.
            caller: Who asks.
            definition: In place of the agent itself: a variant of it (`Agent.variant`).
            id: Of the conversation; None: a new one.
            user: Whom it serves; None: the caller.
            speak: As of `Agent.session`.
            conversations: As of `Agent.session`: `Host.conversations`, where the session outlives its connection.
            on_wait: Given the position in the queue, from 1, whenever it changes.
            on_drain: Called when the server begins to stop. It ends the session once no turn runs.
            brief: The session is for one answer, and is left when that was sent: the server waits for it.

        Raises:
            NotFound: There is no such agent.
            Forbidden: The session is another caller's.
            LimitReached: The caller has too many, or used up the day's speech; `Busy`: all together have too many.
            Unavailable: The server is stopping.
            SaysoError: The session cannot be opened.
            SessionEnded: Inside: it was idle, took too long, or the server stops.
        """
        name = self.agent_name(agent, caller)
        self._check_free(id, caller)
        if name in self.failed:
            raise Unavailable(
                f"The model of {name!r} could not be loaded.", "The server's log says why.", code="model_not_loaded"
            )

        def waits(position: int) -> None:
            on_wait(position)
            for make_room in self.on_full:
                make_room()

        with self.usage.session(caller):
            async with self.places.one(waits):
                self._check_free(id, caller)
                chosen = definition or self.agents[name]
                if conversations is not None and chosen.name != name:
                    chosen = chosen.variant(name=name)
                async with (
                    chosen.session(
                        id=id, conversations=conversations, user=user or caller.name, speak=speak
                    ) as session,
                    self.sessions.hold(session, name, caller, on_drain, brief, self._watchers) as opened,
                ):
                    with self.metrics.session(name), log_session(opened):
                        yield session

    def touch(self, session: Session) -> None:
        """A client sent something: the session is not idle. Its events count by themselves."""
        if (opened := self.sessions.get(session.id)) is not None:
            opened.active_s = asyncio.get_running_loop().time()

    def spend(self, caller: Caller, speech_s: float) -> None:
        """So many seconds of speech went in or out for ``caller``, beside what the events of sessions tell.

        They tell of what is spoken, and of what is heard live; not of sound that is given as a whole.
        """
        self.usage.spend(caller, speech_s)

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str | None = None) -> asyncio.Task[None]:
        """Run something beside the requests, as long as the server runs; what it raises is logged.

        Raises:
            Unavailable: The server does not run.
        """
        if self._tasks is None:
            work.close()
            raise Unavailable("The server is not running.", "Start its lifespan first.")
        task = self._tasks.create_task(_guarded(work), name=name)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The server's life: models get warm, idle sessions end. Leaving it ends all sessions and what was spawned."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                own = [self.spawn(self.sessions.look_after()), self.spawn(self._warm())]
                try:
                    yield
                finally:
                    self._tasks = None
                    for task in own:
                        task.cancel()
                    self.sessions.end_all(stopping())
                    if self._spawned:
                        _, late = await asyncio.wait(self._spawned, timeout=GOODBYE_S)
                        for task in late:
                            task.cancel()
        finally:
            if (kept := self.__dict__.get("conversations")) is not None:
                kept.close()

    async def drain(self) -> None:
        """Open no more sessions, tell those who have one, wait for their turns, end them."""
        self.is_draining = True
        await self.sessions.drain(lambda: not self.places.taken)  # requests without a session have places too

    def _watchers(self, opened: OpenSession) -> list[Push]:
        """What sees the events of a session."""
        agent = self.agents[opened.agent]
        found = [self.metrics.follow(opened.agent), meter(self.usage, opened.caller)]
        if (traced := self._tracing.follow(opened.agent, opened.session.id, agent)) is not None:
            found.append(traced)
        return found

    def _check_free(self, id: str | None, caller: Caller) -> None:
        if self.is_draining:
            raise Unavailable("The server is stopping.", "Try again soon.", code="server_stopping", retry_after_s=5)
        if id is not None and (opened := self.sessions.get(id)) is not None:
            if opened.caller.id != caller.id:
                raise Forbidden("This session is another caller's.")
            raise UsageError(f"The session {id!r} is open already.", "Close it there first.")

    def _check_reach(self) -> None:
        settings = self.settings
        if self.asks_for_keys or settings.insecure:
            return
        if not settings.is_local:
            raise UsageError(
                f"A server on {settings.host} without keys could be used by everybody who reaches it.",
                "Make a key with `sayso keys add NAME`, or listen on 127.0.0.1, or say --insecure.",
            )
        if "*" in settings.cors:
            raise UsageError(
                "Every web page could use this server: it allows all origins and has no keys.",
                "Name the origins, or make a key with `sayso keys add NAME`.",
            )

    def _over(self, opened: OpenSession) -> ServerError | None:
        """Why a session may not go on, though it is neither idle nor old."""
        if self.verifiers and not any(verifier.is_valid(opened.caller) for verifier in self.verifiers):
            return SessionEnded("This API key was revoked.", code="key_revoked")
        if not opened.is_at_rest:
            return None
        try:
            self.usage.check_speech(opened.caller)
        except LimitReached as error:
            return error
        return None

    async def _warm(self) -> None:
        """Make the agents ready, one after the other."""
        for name in list(self.missing):
            try:
                async with self.agents[name].session() as session:
                    await session.warm()
            except Exception as error:
                self.missing[name] = "its model could not be loaded; the log says why"
                self.failed.add(name)
                if not isinstance(error, SaysoError):
                    log_broken(error)
                else:
                    _log.error("%s is not ready: %s", name, error)
            else:
                del self.missing[name]
        self.on_ready()


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except ServerError as error:
        _log.info("ended: %s", error.code)
    except SaysoError as error:
        _log.error("%s", error)
    except Exception as error:
        log_broken(error)


def host_of(connection: HTTPConnection) -> Host:
    """The host of a `Request` or `WebSocket`."""
    return connection.app.state.host
