"""`Hosting`: the sessions of the agent endpoint: in memory, and on disk where nobody used them lately."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import uuid4

from starlette.requests import HTTPConnection

from sayso.agent import Agent
from sayso.conversations import Conversations, Saved
from sayso.server.agents.hosted import Hosted
from sayso.server.agents.recorder import Recorder, forget_recordings
from sayso.server.auth import Caller
from sayso.server.errors import NotFound
from sayso.server.host import Host, host_of


@dataclass(slots=True)
class _Held:
    """A session in memory, held by a task of the host."""

    agent: str
    caller: str
    ready: asyncio.Future[Hosted]
    position: int = 0  # in the queue for a place, from 1; 0: it does not wait
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class Hosting:
    """Finds, opens and closes sessions.

    Args:
        host: The server's.
        conversations: Where their items are kept.
    """

    def __init__(self, host: Host, conversations: Conversations) -> None:
        self._host = host
        self.conversations = conversations
        self._held: dict[str, _Held] = {}
        host.on_full.append(self._make_room)

    async def create(
        self, agent: str, caller: Caller, *, id: str | None, definition: Agent, speak: bool | None, record: bool
    ) -> Hosted:
        """Open a session; one that was used before goes on.

        Raises:
            NotFound: The name is another caller's, or another agent's.
            ServerError: As `Host.open_session`.
        """
        if id is not None:
            saved = self.conversations.find(id)
            if saved is not None:
                self._check(saved, agent, caller)
            while (held := self._held.get(id)) is not None:
                if not held.closing.is_set():
                    self._held[id] = self._held.pop(id)  # used last
                    return await asyncio.shield(held.ready)
                await held.closed.wait()
        id = id or uuid4().hex
        held = self._held[id] = _Held(agent, caller.id, asyncio.get_running_loop().create_future())
        self._host.spawn(self._hold(id, held, caller, definition, speak, record), name=f"session {id}")
        return await asyncio.shield(held.ready)

    def _make_room(self) -> None:
        """Somebody waits for a place: the session that was idle longest goes back to disk."""
        idle = [id for id in self._held if (hosted := self.live(id)) is not None and hosted.is_idle]
        if idle and not any(held.closing.is_set() for held in self._held.values()):
            self._held[idle[0]].closing.set()

    async def use(self, agent: str, id: str, caller: Caller) -> Hosted:
        """A session of the caller's; read from disk where it is not in memory.

        Raises:
            NotFound: There is none of this name, or it is not the caller's.
            ServerError: As `Host.open_session`.
        """
        self.saved(agent, id, caller)
        kept = self.conversations.settings(id)
        definition = self._host.agents[agent].variant(instructions=kept.get("instructions"))
        hosted = await self.create(
            agent, caller, id=id, definition=definition, speak=kept.get("speak"), record=kept.get("record", False)
        )
        self._host.touch(hosted.session)
        return hosted

    def saved(self, agent: str, id: str, caller: Caller) -> Saved:
        """What is known of a session of the caller's.

        Raises:
            NotFound: There is none of this name, or it is not the caller's.
        """
        saved = self.conversations.find(id)
        if saved is None:
            raise NotFound(f"There is no session {id!r}.", "It was deleted, or never made.", code="session_not_found")
        self._check(saved, agent, caller)
        return saved

    def live(self, id: str) -> Hosted | None:
        """A session, where it is in memory and ready."""
        held = self._held.get(id)
        if held is None or not held.ready.done() or held.ready.cancelled() or held.ready.exception() is not None:
            return None
        return held.ready.result()

    def position(self, agent: str, id: str, caller: Caller) -> int:
        """Where a session that is being opened stands in the queue, from 1; 0 where it does not wait.

        Raises:
            NotFound: The caller opens none of this name.
        """
        held = self._held.get(id)
        if held is None or held.agent != agent or held.caller != caller.id:
            raise NotFound(f"No session {id!r} is open or being opened.", code="session_not_found")
        return 0 if held.ready.done() else held.position

    async def delete(self, id: str) -> None:
        """End a session, forget its conversation and its recordings. The journal keeps its calls."""
        await self.close(id)
        self.conversations.delete(id)
        await asyncio.to_thread(forget_recordings, id)

    async def close(self, id: str) -> None:
        """Take a session out of memory."""
        held = self._held.get(id)
        if held is None:
            return
        held.closing.set()
        await held.closed.wait()

    async def _hold(
        self, id: str, held: _Held, caller: Caller, definition: Agent, speak: bool | None, record: bool
    ) -> None:
        host = self._host

        def wait(position: int) -> None:
            held.position = position

        try:
            async with host.open_session(
                held.agent,
                caller,
                definition=definition.variant(name=held.agent),
                id=id,
                user=caller.id,
                speak=speak,
                conversations=self.conversations,
                on_wait=wait,
            ) as session:
                hosted = Hosted(session)
                if record:
                    session.conductor.events.watch(Recorder(session).take)
                try:
                    held.ready.set_result(hosted)
                    await held.closing.wait()
                finally:
                    await hosted.aclose()
        except BaseException as error:
            if not held.ready.done():
                held.ready.set_exception(error if isinstance(error, Exception) else NotFound("The server is stopping."))
                return
            raise
        finally:
            del self._held[id]
            held.closed.set()

    def _check(self, saved: Saved, agent: str, caller: Caller) -> None:
        if saved.agent != agent or saved.user != caller.id:  # whose it is, others are not told
            raise NotFound(f"There is no session {saved.id!r} of {agent!r}.", code="session_not_found")


def hosting_of(connection: HTTPConnection) -> Hosting:
    """The server's one, made when it is first asked for."""
    state = connection.app.state
    if not hasattr(state, "hosting"):
        host = host_of(connection)
        state.hosting = Hosting(host, host.conversations)
    return state.hosting
