"""`Live`: a conversation in live audio: who speaks, when a turn begins, when it counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from sayso.events import Event, Interrupted, SpeechEnded, SpeechStarted
from sayso.intake import Frames
from sayso.items import Audio

if TYPE_CHECKING:
    from sayso.session import Session
    from sayso.speech.endpointing import SpeechEvent
    from sayso.turns import Work

_log = logging.getLogger(__name__)


class Live:
    """One stream of frames talked through; see `sayso.session.Session.converse`."""

    def __init__(
        self, session: Session, push: Callable[[Event], None], played_ms: Callable[[], int | None], *, barge_in: bool
    ) -> None:
        self._session = session
        self._push = push
        self._played_ms = played_ms
        self._barge_in = barge_in
        self._deaf_ms = 0  # of the stream, before the endpointer was last reset
        self._speaking = False
        self._attempt: asyncio.Event | None = None  # a turn that began in a pause: set once it counts

    async def run(self, frames: Frames, sample_rate_hz: int) -> None:
        """Until the frames end."""
        from sayso.speech.endpointing import Endpointer

        endpointer = Endpointer(sample_rate_hz)
        with self._session.followed_by(self._push, self._tell_news):
            async with asyncio.TaskGroup() as self._turns:
                async for frame in frames:
                    found = endpointer.feed(frame)
                    if not self._barge_in and self._session.is_busy and self._attempt is None:
                        self._deaf_ms += endpointer.position_ms
                        self._speaking = False  # what was being said is not heard to its end
                        endpointer.reset()
                        continue
                    for event in found:
                        await self._take(event)
                for event in endpointer.flush():
                    await self._take(event)

    async def _take(self, found: SpeechEvent) -> None:
        from sayso.speech.endpointing import SpeechBegan, SpeechPaused, SpeechResumed, Utterance

        match found:
            case SpeechBegan():
                self._speaking = True
                await self._yield_floor()
                self._session.events.tell(SpeechStarted(at_ms=self._deaf_ms + found.at_ms))
            case SpeechPaused():
                if self._session.may_anticipate:
                    self._attempt = asyncio.Event()
                    await self._answer(found.audio, self._attempt)
            case SpeechResumed():
                await self._withdraw()
            case Utterance():
                if found.forced:  # it may hold more than the pause did
                    await self._withdraw()
                self._session.events.tell(SpeechEnded(at_ms=self._deaf_ms + found.end_ms))
                attempt, self._attempt = self._attempt, None
                if attempt is not None and self._session.is_busy:
                    self._speaking = False
                    self._session.confirm(attempt)
                else:  # none began, or it was cut off
                    await self._yield_floor()
                    self._speaking = False  # not before: no late result may take this turn's place
                    await self._answer(found.audio, None)

    async def _answer(self, audio: Audio, confirmed: asyncio.Event | None) -> None:
        work = self._session.answer(self._session.with_unheard(audio))
        self._turns.create_task(self._turn(work, confirmed))
        await asyncio.sleep(0)  # let it begin, so that it counts as running

    async def _withdraw(self) -> None:
        if self._attempt is not None:
            self._attempt = None
            await self._session.withdraw()

    async def _yield_floor(self) -> None:
        """Stop talking because the user does. A running turn tells that itself."""
        running, played_ms = self._session.is_busy, self._played_ms()
        if await self._session.interrupt(played_ms) and not running:
            self._session.events.tell(Interrupted(played_ms=played_ms or 0))

    def _tell_news(self) -> None:
        """Results came late: tell them, unless somebody speaks; what is not told now is looked at after each turn."""
        if self._session.has_news and not self._speaking and not self._session.is_busy:
            self._turns.create_task(self._turn(self._session.tell_news, None))

    async def _turn(self, work: Work, confirmed: asyncio.Event | None) -> None:
        try:
            await self._session.run_turn(work, self._push, confirmed)
        except AssertionError:
            raise  # a test's
        except Exception:
            _log.debug("a turn failed", exc_info=True)  # `TurnFailed` told
        self._tell_news()
