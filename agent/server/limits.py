"""What callers used so far, and the queue before the sessions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from sayso.events import AudioDelta, Event, SpeechEnded, SpeechStarted
from sayso.outbox import Push
from sayso.server.auth import Caller
from sayso.server.errors import Busy, LimitReached

DAY_S = 86_400.0
REMEMBERED = 10_000
"""Callers; beyond them those who are idle are forgotten."""


@dataclass(slots=True)
class _Used:
    """By one caller."""

    allowance: float  # requests that are left of a burst
    counted_s: float  # when they were last counted
    day: int
    sessions: int = 0
    speech_s: float = 0.0


class Usage:
    """What each caller used.

    Args:
        now: Unix time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._used: dict[str, _Used] = {}

    def count_request(self, caller: Caller) -> None:
        """A request came.

        Raises:
            LimitReached: It is one too many.
        """
        most = caller.limits.requests_per_minute
        if most is None:
            return
        used, now_s = self._of(caller), self._now()
        used.allowance = min(float(most), used.allowance + (now_s - used.counted_s) * most / 60)
        used.counted_s = now_s
        if used.allowance < 1:
            raise LimitReached(
                f"This key may send {most} requests a minute.",
                "Wait, and send fewer.",
                retry_after_s=(1 - used.allowance) * 60 / most,
            )
        used.allowance -= 1

    @contextmanager
    def session(self, caller: Caller) -> Generator[None]:
        """Inside, the caller has one session more.

        Raises:
            LimitReached: It is one too many, or the day's speech is used up.
        """
        self.check_speech(caller)
        used, most = self._of(caller), caller.limits.sessions
        if most is not None and used.sessions >= most:
            raise LimitReached(
                f"This key may have {most} sessions at a time.",
                "End one first.",
                code="too_many_sessions",
                retry_after_s=5,
            )
        used.sessions += 1
        try:
            yield
        finally:
            used.sessions -= 1

    def spend(self, caller: Caller, seconds: float) -> None:
        """So much speech went in or out."""
        self._of(caller).speech_s += seconds

    def spent_s(self, caller: Caller) -> float:
        """The speech of this day."""
        return self._of(caller).speech_s

    def check_speech(self, caller: Caller) -> None:
        """Refuse a caller who used up the day's speech.

        Raises:
            LimitReached: That is so.
        """
        most = caller.limits.minutes_per_day
        if most is not None and self.spent_s(caller) >= most * 60:
            raise LimitReached(
                f"The {most:g} minutes of speech that this key has a day are used up.",
                "They begin anew at midnight UTC.",
                code="insufficient_quota",
                retry_after_s=DAY_S - self._now() % DAY_S,
            )

    def _of(self, caller: Caller) -> _Used:
        now_s = self._now()
        day = int(now_s // DAY_S)
        used = self._used.get(caller.id)
        if used is None:
            if len(self._used) >= REMEMBERED:
                self._forget(now_s, day)
            used = self._used[caller.id] = _Used(float(caller.limits.requests_per_minute or 0), now_s, day)
        if used.day != day:
            used.day, used.speech_s = day, 0.0
        return used

    def _forget(self, now_s: float, day: int) -> None:
        kept = {
            id: used
            for id, used in self._used.items()
            if used.sessions or now_s - used.counted_s < 60 or (used.day == day and used.speech_s)
        }
        self._used = kept


def meter(usage: Usage, caller: Caller) -> Push:
    """What counts the speech in a session's events: live speech in, and all speech out."""
    began_ms: int | None = None

    def follow(event: Event) -> None:
        nonlocal began_ms
        match event:
            case AudioDelta(audio=audio):
                usage.spend(caller, audio.seconds)
            case SpeechStarted(at_ms=at_ms):
                began_ms = at_ms
            case SpeechEnded(at_ms=at_ms) if began_ms is not None:
                usage.spend(caller, (at_ms - began_ms) / 1000)
                began_ms = None
            case _:
                pass

    return follow


@dataclass(slots=True, eq=False)
class _Waiting:
    """Somebody in the queue."""

    told: Callable[[int], None]
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Places:
    """The places for sessions, and the queue for them: first come, first served.

    Args:
        count: Of places.
        queue_length: How many may wait.
        wait_s: How long each waits.
    """

    def __init__(self, count: int, queue_length: int, wait_s: float) -> None:
        self.count = count
        self.taken = 0
        self._queue: list[_Waiting] = []
        self._queue_length = queue_length
        self._wait_s = wait_s

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    @asynccontextmanager
    async def one(self, told: Callable[[int], None]) -> AsyncGenerator[None]:
        """Inside, the caller has a place.

        Args:
            told: Given the position in the queue, from 1, whenever it changes; not called where nobody has to wait.

        Raises:
            Busy: The queue is full, or it took too long.
        """
        if self.taken < self.count and not self._queue:
            self.taken += 1
        else:
            await self._wait(told)
        try:
            yield
        finally:
            self._give_up()

    async def _wait(self, told: Callable[[int], None]) -> None:
        if len(self._queue) >= self._queue_length:
            raise self._busy(len(self._queue) + 1)
        waiting = _Waiting(told)
        self._queue.append(waiting)
        told(len(self._queue))
        try:
            async with asyncio.timeout(self._wait_s):
                await waiting.turn
        except BaseException as error:
            if waiting.turn.done() and not waiting.turn.cancelled():  # the place came as the waiter left
                self._give_up()
            position = self._leave(waiting)
            if isinstance(error, TimeoutError):
                raise self._busy(position) from None
            raise

    def _leave(self, waiting: _Waiting) -> int:
        if waiting not in self._queue:
            return 1
        at = self._queue.index(waiting)
        del self._queue[at]
        self._tell(at)
        return at + 1

    def _give_up(self) -> None:
        if self._queue:  # the place goes on to the next
            self._queue.pop(0).turn.set_result(None)
            self._tell(0)
        else:
            self.taken -= 1

    def _tell(self, start: int) -> None:
        for at, waiting in enumerate(self._queue[start:], start + 1):
            waiting.told(at)

    def _busy(self, position: int) -> Busy:
        return Busy(
            f"All {self.count} sessions are taken, and {position - 1} wait before this one.",
            "Try again later.",
            retry_after_s=max(5.0, self._wait_s),
        )
