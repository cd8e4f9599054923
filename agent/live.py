"""`Live`: a conversation in live audio: who speaks, when a turn begins, when it counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sayso.events import Interrupted, SpeechEnded, SpeechStarted
from sayso.intake import listen
from sayso.items import Audio
from sayso.outbox import Push
from sayso.overhear import Overhearer
from sayso.streams import sole_exception
from sayso.turn_options import TurnOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sayso.conductor import Conductor
    from sayso.speech.endpointing import SpeechEvent, TurnEnds, Utterance
    from sayso.turns import Work

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TurnTaking:
    """Who speaks when.

    Attributes:
        ends: What counts as a turn; None: `sayso.speech.endpointing.TurnEnds` as it is.
        barge_in: Whether speech interrupts a reply. Without it, what is said during a turn is not heard.
        answers: Whether what was said is answered by itself; where not, it is added to the conversation.
        new_id: Makes the id of each thing said (`sayso.items.UserInput.id`).
        options: What is different in a turn that answers; asked as it begins.
        has_finished: Asked in a pause, with what was said so far: a turn that is over need not wait for its silence.
    """

    ends: TurnEnds | None = None
    barge_in: bool = True
    answers: bool = True
    new_id: Callable[[], str] = lambda: ""
    options: Callable[[], TurnOptions | None] = lambda: None
    has_finished: Callable[[Audio], Awaitable[bool]] | None = None


class Live:
    """One stream of frames talked through; see `sayso.session.Session.live`."""

    def __init__(
        self,
        conductor: Conductor,
        push: Push,
        sample_rate_hz: int,
        played_ms: Callable[[], int | None],
        taking: TurnTaking,
    ) -> None:
        self._conductor = conductor
        self._push = push
        self._rate_hz = sample_rate_hz
        self._played_ms = played_ms
        self.taking = taking
        self._skipped_ms = 0  # of the stream, before the endpointer was last reset
        self._speaking = False
        self._attempt: asyncio.Event | None = None  # a turn that began in a pause: set once it counts
        self._judging: asyncio.Task[bool] | None = None  # whether the pause is the turn's end
        self._overhearer = Overhearer(conductor.model)

    async def __aenter__(self) -> Live:
        """The stream begins."""
        from sayso.speech.endpointing import Endpointer

        self._endpointer = Endpointer(self._rate_hz, self.taking.ends)
        self._following = self._conductor.followed_by(self._push, self.tell_news)
        self._turns = asyncio.TaskGroup()
        await self._turns.__aenter__()
        self._following.__enter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        """The stream ends, or broke off."""
        try:
            if error is None:
                await self.commit()
            await self._turns.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            raise sole_exception(group) from None
        finally:
            await self._overhearer.aclose()
            self._following.__exit__(None, None, None)

    @property
    def position_ms(self) -> int:
        """How much of the stream was looked at."""
        return self._skipped_ms + self._endpointer.position_ms

    @property
    def speaking(self) -> bool:
        """Whether the user speaks."""
        return self._speaking

    async def hear(self, frame: NDArray[np.float32]) -> None:
        """The next frame: mono float32, of any length."""
        found = self._endpointer.feed(frame)
        if not self.taking.barge_in and self._conductor.is_busy and self._attempt is None:
            self.clear()  # what was being said is not heard to its end
            return
        for event in found:
            await self._take(event)
        await self._heed_judge()
        if (seconds := self._endpointer.turn_seconds) and self._attempt is None:
            self._overhearer.hear(seconds, lambda: self._conductor.with_unheard(self._endpointer.so_far()))

    async def commit(self) -> bool:
        """What was said so far is a turn, whether the user has finished or not; whether there was anything."""
        position_ms = self._endpointer.position_ms
        found = self._endpointer.flush()
        for event in found:
            await self._take(event)
        self._skipped_ms += position_ms
        return bool(found)

    def clear(self) -> None:
        """Forget what was said since the last turn."""
        self._skipped_ms += self._endpointer.position_ms
        self._speaking, self._judging = False, None
        self._overhearer.drop()
        self._endpointer.reset()

    async def use(self, taking: TurnTaking, sample_rate_hz: int) -> None:
        """Go on with other rules or at another rate; what was being said is forgotten, turns that run go on.

        Raises:
            AudioError: No such rate.
        """
        from sayso.speech.endpointing import Endpointer

        endpointer = Endpointer(sample_rate_hz, taking.ends)
        await self._withdraw()
        self.clear()
        self.taking, self._rate_hz, self._endpointer = taking, sample_rate_hz, endpointer

    def tell_news(self) -> None:
        """Tell results that came late, unless somebody speaks; `Live` looks after each turn of its own."""
        if self._conductor.has_news and not self._speaking and not self._conductor.is_busy:
            self._turns.create_task(self._turn(self._conductor.tell_news, None))

    async def _take(self, found: SpeechEvent) -> None:
        from sayso.speech.endpointing import SpeechBegan, SpeechPaused, SpeechResumed, Utterance

        match found:
            case SpeechBegan():
                self._speaking = True
                await self._yield_floor()
                self._conductor.events.tell(SpeechStarted(at_ms=self._skipped_ms + found.at_ms))
            case SpeechPaused():
                if self.taking.has_finished is not None:
                    self._judging = self._turns.create_task(self._judge(self.taking.has_finished, found.audio))
                if self.taking.answers and self._conductor.may_anticipate:
                    self._attempt = asyncio.Event()
                    await self._answer(found.audio, self._attempt)
            case SpeechResumed():
                self._judging = None
                await self._withdraw()
            case Utterance():
                await self._end(found)

    async def _heed_judge(self) -> None:
        """End the turn where it was told meanwhile that it is over."""
        if self._judging is not None and self._judging.done():
            is_over, self._judging = self._judging.result(), None
            for event in self._endpointer.end_turn() if is_over else ():
                await self._take(event)

    async def _judge(self, has_finished: Callable[[Audio], Awaitable[bool]], audio: Audio) -> bool:
        try:
            return await has_finished(audio)
        except Exception:
            _log.exception("whether the user has finished could not be told")
            return False  # the silence tells

    async def _end(self, utterance: Utterance) -> None:
        self._judging = None
        if utterance.forced:  # it may hold more than the pause did
            await self._withdraw()
        self._conductor.events.tell(SpeechEnded(at_ms=self._skipped_ms + utterance.end_ms))
        attempt, self._attempt = self._attempt, None
        if attempt is not None and self._conductor.is_busy:
            self._speaking = False
            self._conductor.turns.confirm(attempt)
            return
        await self._yield_floor()  # none began, or it was cut off
        self._speaking = False  # not before: no late result may take this turn's place
        if self.taking.answers:
            await self._answer(utterance.audio, None)
        else:
            await self._keep(utterance.audio)

    async def _answer(self, audio: Audio, confirmed: asyncio.Event | None) -> None:
        self._overhearer.drop()
        audio = self._conductor.with_unheard(audio)
        work = self._conductor.answer(audio, options=self.taking.options(), id=self.taking.new_id())
        self._turns.create_task(self._turn(work, confirmed))
        await asyncio.sleep(0)  # let it begin, so that it counts as running

    async def _keep(self, audio: Audio) -> None:
        self._overhearer.drop()
        user = await listen(audio, id=self.taking.new_id())
        if user is not None:
            self._conductor.conversation.add([user], turn_runs=self._conductor.is_busy)

    async def _withdraw(self) -> None:
        if self._attempt is not None:
            self._attempt = None
            await self._conductor.turns.withdraw()

    async def _yield_floor(self) -> None:
        """Stop talking because the user does. A running turn tells that itself."""
        running, played_ms = self._conductor.is_busy, self._played_ms()
        if await self._conductor.turns.interrupt(played_ms) and not running:
            self._conductor.events.tell(Interrupted(played_ms=played_ms or 0))

    async def _turn(self, work: Work, confirmed: asyncio.Event | None) -> None:
        try:
            await self._conductor.run_turn(work, self._push, confirmed)
        except AssertionError:
            raise  # a test's
        except Exception:
            _log.debug("a turn failed", exc_info=True)  # `TurnFailed` told
        self.tell_news()
