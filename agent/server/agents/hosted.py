"""`Hosted`: a session that outlives the requests that use it: who follows it, and what it told lately."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

import orjson

from sayso.errors import SaysoError
from sayso.events import AudioDelta, Event, TurnDone, TurnFailed
from sayso.session import Session
from sayso.turns import Work
from sayso.wire import event_to_json

MAX_KEPT_BYTES = 4_000_000
"""Of what was told lately: about a minute of speech."""
MAX_KEPT_WORDS = 200
"""Events without sound, in a session that is idle."""
SOUND_KEPT_S = 60.0
"""After a turn: whoever lost the connection comes back within that, or never."""
MAX_BEHIND_BYTES = 16_000_000
"""How far a follower may fall behind before it is let go."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """An event and its JSON, made once for all followers."""

    event: Event
    json: bytes = field(repr=False)


class TooSlow(SaysoError):
    """A follower did not take the events as fast as they came."""


class Follower:
    """One reader of a session's events. It has a queue of bounded size."""

    def __init__(self) -> None:
        self._queue: deque[Told] = deque()
        self._bytes = 0
        self._woken = asyncio.Event()
        self._closed = False
        self.lost = False

    def put(self, told: Told) -> None:
        """The next event; never waits."""
        if self._bytes + len(told.json) > MAX_BEHIND_BYTES:
            self.lost = True
            self.close()
            return
        self._queue.append(told)
        self._bytes += len(told.json)
        self._woken.set()

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        self._woken.set()

    def __aiter__(self) -> Follower:
        """The events in order, until the session is closed."""
        return self

    async def __anext__(self) -> Told:
        """The next event.

        Raises:
            TooSlow: Some were lost.
        """
        while True:
            if self.lost:
                raise TooSlow("This connection took the events too slowly.", "Ask for those after the last it got.")
            if self._queue:
                told = self._queue.popleft()
                self._bytes -= len(told.json)
                return told
            if self._closed:
                raise StopAsyncIteration
            self._woken.clear()
            await self._woken.wait()


class Hosted:
    """Runs the turns of a session for anybody who asks, and tells everybody who follows.

    A turn goes on when whoever asked for it is gone: it can be followed again from any event that is still kept.

    Args:
        session: Entered already, and left by whoever entered it.

    Attributes:
        session: What it hosts.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._followers: set[Follower] = set()
        self._kept: deque[Told] = deque()
        self._kept_bytes = 0
        self._turns: set[asyncio.Task[None]] = set()
        self._closed = False
        self._forgetting: asyncio.TimerHandle | None = None
        self._following = ExitStack()
        self._following.enter_context(session.conductor.followed_by(self.push, self._tell_news))

    @property
    def last_seq(self) -> int:
        """The number of the last event; 0 before the first."""
        return self._kept[-1].event.seq if self._kept else 0

    @property
    def is_followed(self) -> bool:
        """Whether anybody reads its events."""
        return bool(self._followers)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, waits or is followed: what is known of it is on disk."""
        return not (self.is_followed or self._turns or self.session.running or self.session.approval)

    def push(self, event: Event) -> None:
        """Tell all followers."""
        told = Told(event, orjson.dumps(event_to_json(event)))
        self._kept.append(told)
        self._kept_bytes += len(told.json)
        while self._kept_bytes > MAX_KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popleft().json)
        for follower in self._followers:
            follower.put(told)
        if isinstance(event, TurnDone | TurnFailed):
            self._forget_later()

    def kept(self, after: int) -> list[Told]:
        """The events behind the event number ``after``, as far as they are kept.

        A number that no event has had is one of before the server was started anew: all that is kept came later.
        """
        return [told for told in self._kept if told.event.seq > after or after > self.last_seq]

    @asynccontextmanager
    async def follow(self, after: int | None = None) -> AsyncGenerator[Follower]:
        """Inside, the events from now on; or those behind the event number ``after``, as far as they are kept."""
        follower = Follower()
        for told in self.kept(after) if after is not None else ():
            follower.put(told)
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    def start(self, work: Work) -> asyncio.Task[None]:
        """Begin a turn. The task ends with it, and fails as it does.

        Raises:
            UsageError: A turn is still running.
        """
        self.session.conductor.turns.check_idle()
        task = asyncio.create_task(self.session.conductor.run_turn(work, self.push))
        self._turns.add(task)
        task.add_done_callback(self._ended)
        return task

    async def run(self, work: Work) -> AsyncGenerator[Told, None]:
        """Begin a turn and follow it to its end. What made it fail is its last event.

        Raises:
            UsageError: A turn is still running.
        """
        async with self.follow() as follower:
            task = self.start(work)
            task.add_done_callback(lambda _: follower.close())
            async for told in follower:
                yield told
                if isinstance(told.event, TurnDone | TurnFailed):
                    return

    async def aclose(self) -> None:
        """End what runs and let all followers go. Idempotent."""
        self._closed = True
        if self._forgetting is not None:
            self._forgetting.cancel()
        for follower in self._followers:
            follower.close()
        turns = list(self._turns)
        for turn in turns:
            turn.cancel()
        if turns:
            await asyncio.wait(turns)
        self._following.close()

    def _forget_later(self) -> None:
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = asyncio.get_running_loop().call_later(SOUND_KEPT_S, self._forget_sound)

    def _forget_sound(self) -> None:
        """An idle session is small: what is kept are its last words."""
        if not self.session.is_busy:
            words = [told for told in self._kept if not isinstance(told.event, AudioDelta)]
            self._kept = deque(words[-MAX_KEPT_WORDS:])
            self._kept_bytes = sum(len(told.json) for told in self._kept)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._turns.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.debug("a turn failed", exc_info=error)  # `TurnFailed` told
        self._tell_news()

    def _tell_news(self) -> None:
        if self.session.has_news and self.is_followed and not (self.session.is_busy or self._closed):
            self.start(self.session.conductor.tell_news)
