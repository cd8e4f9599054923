"""`OpenSessions`: the sessions that routes hold, and how the server ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sayso.events import Event
from sayso.outbox import Push
from sayso.server.auth import Caller
from sayso.server.errors import ServerError, SessionEnded, log_broken
from sayso.server.settings import ServerSettings
from sayso.session import Session

LOOK_EVERY_S = 1.0
LINGER_S = 1.0
"""What the last events of a turn have to reach the client before the server ends the session."""
GOODBYE_S = 2.0
"""What routes have to close, once their sessions were ended."""


@dataclass(eq=False, slots=True)
class OpenSession:
    """A session that a route holds.

    Attributes:
        session: The conversation.
        agent: The agent's name.
        caller: Who opened it.
        task: What holds it; cancelled to end the session.
        on_drain: Called when the server begins to stop.
        brief: It is for one answer, and ends by itself.
        opened_s: On the loop's clock.
        active_s: When the client sent something, or the session emitted something.
        event_s: When the session emitted something, or was opened.
        ended_by: Why the server ended it.
    """

    session: Session
    agent: str
    caller: Caller
    task: asyncio.Task[object]
    on_drain: Callable[[], None]
    brief: bool
    opened_s: float
    active_s: float
    event_s: float
    ended_by: ServerError | None = None

    @property
    def is_at_rest(self) -> bool:
        """Whether it may be ended: no turn runs, and the last one's events had time to be sent."""
        return not self.brief and not self.session.is_busy and _now() > self.event_s + LINGER_S

    def end(self, error: ServerError) -> None:
        """Make the scope that holds the session raise ``error``."""
        if self.ended_by is None:
            self.ended_by = error
            self.task.cancel()


class OpenSessions:
    """All of them, by id.

    Args:
        settings: How long sessions may last.
        over: Why a session may not go on, for reasons that are not known here.
    """

    def __init__(self, settings: ServerSettings, over: Callable[[OpenSession], ServerError | None]) -> None:
        self._settings = settings
        self._over = over
        self._open: dict[str, OpenSession] = {}
        self._hurried = False

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[OpenSession]:
        return iter(list(self._open.values()))  # ending one takes it out

    def get(self, id: str) -> OpenSession | None:
        """The one of this id, or None where it is not open."""
        return self._open.get(id)

    @asynccontextmanager
    async def hold(
        self,
        session: Session,
        agent: str,
        caller: Caller,
        on_drain: Callable[[], None],
        brief: bool,
        watchers: Callable[[OpenSession], list[Push]],
    ) -> AsyncGenerator[OpenSession]:
        """Inside, the session is open and watched.

        Raises:
            ServerError: What `OpenSession.end` was given.
        """
        task = asyncio.current_task()
        assert task is not None
        cancelling, now_s = task.cancelling(), _now()
        opened = OpenSession(session, agent, caller, task, on_drain, brief, now_s, now_s, now_s)
        self._open[session.id] = opened
        session.conductor.events.watch(_watch(opened, watchers(opened)))
        try:
            yield opened
            if opened.ended_by is not None:  # it was ended as it left: its task must not be cancelled later
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            if opened.ended_by is not None and task.uncancel() <= cancelling:
                raise opened.ended_by from None
            raise
        finally:
            del self._open[session.id]

    def end_all(self, error: ServerError) -> None:
        """End every session."""
        for opened in self:
            opened.end(error)

    async def look_after(self) -> None:
        """End what is idle, too old, or whose caller may not be here any more; goes on until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for opened in self:
                if (error := self._too_long(opened)) is not None:
                    opened.end(error)

    async def drain(self, is_over: Callable[[], bool]) -> None:
        """Tell those who hold a session, wait for their turns, and end them; see `ServerSettings.drain_s`.

        Args:
            is_over: Whether nothing is left to wait for.
        """
        begun_s = _now()
        for opened in self:
            opened.on_drain()
        while True:
            for opened in self:
                if opened.is_at_rest:
                    opened.end(stopping())
            if is_over() or self._hurried or _now() > begun_s + self._settings.drain_s:
                break
            await asyncio.sleep(0.02)
        self.end_all(stopping())
        await self._until_closed()

    def hurry(self) -> None:
        """Wait for nothing any more."""
        self._hurried = True

    async def _until_closed(self) -> None:
        until_s = _now() + GOODBYE_S
        while True:
            if not self._open or self._hurried or _now() > until_s:
                return
            await asyncio.sleep(0.02)

    def _too_long(self, opened: OpenSession) -> ServerError | None:
        now_s, settings = _now(), self._settings
        if now_s - opened.opened_s > settings.max_session_s:
            return SessionEnded(f"A session lasts {settings.max_session_s:g} seconds at most.")
        if not opened.session.is_busy and now_s - opened.active_s > settings.idle_s:
            return SessionEnded(f"Nothing happened for {settings.idle_s:g} seconds.", code="session_idle")
        return self._over(opened)


def stopping() -> SessionEnded:
    """What is told when the server stops."""
    return SessionEnded("The server is stopping.", "Connect again.", code="server_stopping", retry_after_s=5)


def _watch(opened: OpenSession, watchers: list[Push]) -> Push:
    def watch(event: Event) -> None:
        opened.active_s = opened.event_s = event.time_s  # the loop's clock too
        for watcher in watchers:
            try:
                watcher(event)
            except Exception as error:  # what is measured must not break what is said
                log_broken(error)

    return watch


def _now() -> float:
    return asyncio.get_running_loop().time()
