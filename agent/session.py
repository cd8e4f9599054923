"""One conversation: its history, its clock, and one turn at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sayso.errors import UsageError
from sayso.events import (
    CallFinished,
    Event,
    Interrupted,
    SpeechEnded,
    SpeechStarted,
    TurnDone,
    TurnFailed,
    TurnStarted,
)
from sayso.history import as_heard, cut_off, reply_text, settled, total_ms, with_late_output
from sayso.intake import Frames, Input, listen
from sayso.items import Audio, Item, ToolOutput, UserInput
from sayso.models.base import ModelRequest
from sayso.result import TurnResult, summarise
from sayso.speech.lines import Lines
from sayso.streams import pushed
from sayso.tools.context import Context, local_timezone
from sayso.tools.executor import CallOutcome, Executor
from sayso.turn import Turn

if TYPE_CHECKING:
    from sayso.agent import Agent

Push = Callable[[Event], None]

_log = logging.getLogger(__name__)


class Session:
    """A conversation with an agent. Made by `Agent.session`; use it as an async context manager.

    A session runs one turn at a time. Its history is always valid: every call has an output, and a reply that was cut
    off holds the words that were heard. Its clock is the event loop's.

    Args:
        agent: The definition.
        clock: The wall clock that tools are shown: Unix time in seconds. None: the loop's where it has one (that of
            `sayso.testing` does), else the machine's.
        speak: Whether replies are spoken beside being written; None: where the model can.
    """

    def __init__(self, agent: Agent, *, clock: Callable[[], float] | None = None, speak: bool | None = None) -> None:
        self.agent = agent
        self._model = agent.voice_model
        _check_voice(agent.voice, self._model.profile.voices)
        self._context = Context(timezone=timezone_named(agent.timezone), clock=clock or _wall_clock())
        self._executor = Executor(agent.tools, late=self._keep_late)
        self._speak = self._model.profile.speaks if speak is None else speak
        self._lines = Lines(self._model, agent.voice)
        self._history: list[Item] = []
        self._task: asyncio.Task[Any] | None = None
        self._interrupted = False
        self._played_ms: int | None = None
        self._last: Turn | None = None  # may still be playing
        self._last_start = 0  # of its items in history
        self._reading: asyncio.Task[None] | None = None  # the model reads what the last turn added
        self._unheard: Audio | None = None  # speech whose turn was cut off before it was understood
        self._turns = 0
        self._generation = 0
        self._seq = 0

    async def __aenter__(self) -> Session:
        """Nothing is loaded yet; see `warm`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what still runs."""
        await self.interrupt()
        await self._stop_reading()
        await self._executor.aclose()

    @property
    def history(self) -> tuple[Item, ...]:
        """The conversation so far: complete turns, and what was heard of interrupted ones."""
        return tuple(self._history)

    @property
    def state(self) -> dict[str, Any]:
        """What tools keep between calls (`Context.state`)."""
        return self._context.state

    async def warm(self) -> None:
        """Load the model, prefill instructions and tools, make the fillers ready. Asking loads and prefills too."""
        await self._model.warm(self._request())
        if self._speak:
            await self._lines.prepare(tool.filler for tool in self.agent.registry.specs)

    async def ask(self, what: Input, *, sample_rate_hz: int | None = None) -> TurnResult:
        """Run one turn to its end and return all of it.

        Args:
            what: Words (str), a sound file (`pathlib.Path` or its bytes), an `Audio`, samples, or a stream of frames.
            sample_rate_hz: Needed for samples and frames.

        Raises:
            SaysoError: The input cannot be used, or the model failed.
        """
        events: list[Event] = []
        async with aclosing(self.stream(what, sample_rate_hz=sample_rate_hz)) as stream:
            async for event in stream:
                events.append(event)
        return summarise(events)

    def stream(self, what: Input, *, sample_rate_hz: int | None = None) -> AsyncGenerator[Event, None]:
        """Run one turn and yield its events as they happen. Closing the generator ends the turn.

        To leave before the end, read it in ``async with contextlib.aclosing(...)``: a bare ``break`` closes nothing.

        Raises:
            UsageError: A turn is still running.
            SaysoError: As `ask`; `TurnFailed` is the event before it.
        """

        async def produce(push: Push) -> None:
            await self._run_turn(what, sample_rate_hz, push)

        return pushed(produce)

    def converse(
        self,
        frames: Frames,
        *,
        sample_rate_hz: int,
        played_ms: Callable[[], int | None] = lambda: None,
        barge_in: bool = True,
    ) -> AsyncGenerator[Event, None]:
        """Talk: find turns in live audio and answer each, until the frames end.

        A turn that fails is reported by `TurnFailed` and the conversation goes on.

        Args:
            frames: Mono float32 pieces of any length.
            sample_rate_hz: Of the frames.
            played_ms: How much of the running turn's audio the user has heard; None where that is not known.
            barge_in: Whether speech interrupts a reply. Without it, what is said during a turn is not heard.
        """
        from sayso.speech.endpointing import Endpointer, SpeechBegan, SpeechEvent, Utterance

        async def produce(push: Push) -> None:
            endpointer = Endpointer(sample_rate_hz)
            deaf_ms = 0  # of the stream, before the endpointer was last reset

            async def take(found: SpeechEvent) -> None:
                if isinstance(found, SpeechBegan):
                    await self._yield_floor(played_ms(), push)
                    self._emit(push, SpeechStarted(at_ms=deaf_ms + found.at_ms))
                elif isinstance(found, Utterance):
                    self._emit(push, SpeechEnded(at_ms=deaf_ms + found.end_ms))
                    await self._yield_floor(played_ms(), push)
                    turns.create_task(self._try_turn(self._with_unheard(found.audio), push))
                    await asyncio.sleep(0)  # let it begin, so that it counts as running

            async with asyncio.TaskGroup() as turns:
                async for frame in frames:
                    found = endpointer.feed(frame)
                    if self._task is not None and not barge_in:
                        deaf_ms += endpointer.position_ms
                        endpointer.reset()
                        continue
                    for event in found:
                        await take(event)
                for event in endpointer.flush():
                    await take(event)

        return pushed(produce)

    async def interrupt(self, played_ms: int | None = None) -> bool:
        """Cut the reply off, and history at what was heard.

        A turn that still runs is ended. A turn that has ended may still be playing: its reply is cut too.

        Args:
            played_ms: How much of the turn's audio was played, fillers included; None takes all that was emitted.

        Returns:
            Whether there was anything to cut.
        """
        task = self._task
        if task is None or task is asyncio.current_task():
            return self._cut_last(played_ms)
        if not self._interrupted:  # a second one waits for the first: it must not break its clean-up
            self._interrupted, self._played_ms = True, played_ms
            task.cancel()
        await asyncio.wait([task])
        return True

    def _cut_last(self, played_ms: int | None) -> bool:
        if self._last is None or played_ms is None or played_ms >= total_ms(self._last.voiced):
            return False
        self._generation += 1
        start = self._last_start
        self._history[start:] = as_heard(self._history[start:], self._last.voiced, played_ms)
        self._last = None
        return True

    async def _yield_floor(self, played_ms: int | None, push: Push) -> None:
        """Stop talking because the user does. A running turn tells that itself."""
        running = self._task is not None
        if await self.interrupt(played_ms) and not running:
            self._emit(push, Interrupted(played_ms=played_ms or 0))

    def _with_unheard(self, audio: Audio) -> Audio:
        """``audio`` behind what was said before a pause, where that turn was cut off before it was understood."""
        unheard, self._unheard = self._unheard, None
        if unheard is None or unheard.sample_rate_hz != audio.sample_rate_hz:
            return audio
        from sayso.speech.audio import concatenate

        return concatenate([unheard, audio])

    async def _try_turn(self, what: Input, push: Push) -> None:
        try:
            await self._run_turn(what, None, push)
        except AssertionError:
            raise  # a test's
        except Exception:
            _log.debug("a turn failed", exc_info=True)  # `TurnFailed` told

    async def _run_turn(self, what: Input, sample_rate_hz: int | None, push: Push) -> None:
        if self._task is not None:
            raise UsageError("A turn is still running in this session.", "Await it, or call interrupt() first.")
        self._task = task = asyncio.current_task()
        assert task is not None
        self._interrupted, self._played_ms, self._unheard = False, None, None
        self._turns += 1
        turn = self._new_turn(push)
        failure: BaseException | None = None
        try:
            self._emit(push, TurnStarted())
            await self._stop_reading()
            async with self._getting_ready(what):
                user = await listen(what, sample_rate_hz, hears=self._model.profile.hears)
                if user is not None:
                    await turn.run(user)
        except BaseException as error:
            failure = error
        items = self._remember(turn, whole=failure is None)
        self._task = None
        self._reading = asyncio.create_task(self._read_ahead())
        if self._interrupted:  # whatever broke in a turn that was cut off belongs to the cut
            task.uncancel()
            self._end_interrupted(turn, items, push)
        elif failure is None:
            reason = "completed" if turn.understood else "no_speech"
            self._emit(push, TurnDone(reason=reason, text=reply_text(items), stages=dict(turn.stages)))
        else:
            if isinstance(failure, Exception):
                self._emit(push, TurnFailed(message=str(failure) or type(failure).__name__))
            raise failure

    def _new_turn(self, push: Push) -> Turn:
        number = self._turns

        def emit(event: Event) -> None:
            if self._task is not None and self._turns == number:  # after its end a turn has nothing to say
                self._emit(push, event)

        return Turn(
            model=self._model,
            executor=self._executor,
            context=self._context,
            request=self._request(),
            emit=emit,
            filler=lambda name: self._lines.filler(self._executor.spec(name)),
            policy=self.agent.policy,
            number=number,
        )

    def _remember(self, turn: Turn, *, whole: bool) -> list[Item]:
        """Put what a turn added into history: what was heard of it, and words in place of sound."""
        items = turn.items
        if not whole:
            items = cut_off(as_heard(items, turn.voiced, self._played_ms))
        if items and isinstance(user := items[0], UserInput) and not user.text and len(items) == 1:
            self._unheard = user.audio
            items = []
        elif items and isinstance(user := items[0], UserInput) and not self._model.profile.keeps_audio:
            items = [replace(user, audio=None), *items[1:]]
        items = settled(items)
        self._last, self._last_start = (turn if whole else None), len(self._history)
        self._history += items
        return items

    def _end_interrupted(self, turn: Turn, items: list[Item], push: Push) -> None:
        for item in items:
            if isinstance(item, ToolOutput) and item.status == "running":
                ended = CallFinished(
                    call_id=item.call_id, name=item.name, status="running", output=item.output, seconds=0.0
                )
                self._emit(push, ended)
        self._generation += 1
        played_ms = total_ms(turn.voiced) if self._played_ms is None else self._played_ms
        self._emit(push, Interrupted(played_ms=played_ms))
        self._emit(push, TurnDone(reason="interrupted", text=reply_text(items), stages=dict(turn.stages)))

    @asynccontextmanager
    async def _getting_ready(self, what: Input) -> AsyncGenerator[None, None]:
        """While sound is taken in, and somebody may still speak, the model loads and reads its prompt."""
        if isinstance(what, str):
            yield
            return
        warming = asyncio.create_task(self._model.warm(self._request()))
        try:
            yield
        finally:
            warming.cancel()
            await asyncio.wait([warming])
            if not warming.cancelled():
                warming.exception()  # the turn itself met what is wrong

    async def _read_ahead(self) -> None:
        """While the reply is played and the user thinks, the model reads what the turn added to the conversation."""
        try:
            await self._model.warm(self._request())
        except Exception:
            _log.debug("the model could not read ahead", exc_info=True)  # the next turn meets what is wrong

    async def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
            self._reading = None

    def _request(self) -> ModelRequest:
        """The part of every round that is constant in a turn."""
        return ModelRequest(
            items=tuple(self._history),
            instructions=self.agent.instructions,
            tools=self.agent.registry.specs,
            voice=self.agent.voice,
            speak=self._speak,
            seed=self.agent.seed,
        )

    def _emit(self, push: Push, event: Event) -> None:
        """Stamp an event and hand it on."""
        self._seq += 1
        now_s = asyncio.get_running_loop().time()
        push(replace(event, turn=self._turns, generation=self._generation, seq=self._seq, time_s=now_s))

    def _keep_late(self, outcome: CallOutcome) -> None:
        """Store the outcome of a call that went on after its turn was cut off; the model sees it in the next turn."""
        output = ToolOutput(outcome.call_id, outcome.name, outcome.output, outcome.status)
        self._history = with_late_output(self._history, output)


def timezone_named(name: str | None) -> tzinfo:
    """The zone with an IANA name; the machine's for None.

    Raises:
        UsageError: There is no such zone.
    """
    if name is None:
        return local_timezone()
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        raise UsageError(f"There is no time zone {name!r}.", "Use an IANA name such as Europe/Lisbon.") from None


def _wall_clock() -> Callable[[], float]:
    try:
        return getattr(asyncio.get_running_loop(), "wall_time", time.time)
    except RuntimeError:
        return time.time


def _check_voice(voice: str | None, known: tuple[str, ...]) -> None:
    """Refuse a voice that the model has not; ``a:0.6+b:0.4`` mixes two."""
    for name in (part.partition(":")[0].strip() for part in (voice or "").split("+")):
        if name and known and name not in known:
            raise UsageError(f"There is no voice {name!r}.", "List them with: sayso voices")
