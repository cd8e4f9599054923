"""One conversation: its history, its clock, and one turn at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sayso.approval import Approval, Approvals
from sayso.conversation import Conversation, in_doubt_items
from sayso.errors import ToolError, UsageError
from sayso.events import Event
from sayso.intake import Frames, Input, listen
from sayso.items import Audio, Item, ToolOutput
from sayso.live import Live
from sayso.models.base import ModelRequest
from sayso.outbox import Outbox, Push
from sayso.prompts import fixed_line
from sayso.read_ahead import ReadAhead
from sayso.result import TurnResult, summarise
from sayso.session_context import check_voice, new_context
from sayso.speech.lines import Lines
from sayso.streams import pushed
from sayso.tools.executor import CallOutcome, Executor
from sayso.tools.guard import AfterUntrusted
from sayso.tools.journal import Entry
from sayso.tools.round import Moment
from sayso.tools.running import RunningCall
from sayso.tools.stopping import asks_to_stop
from sayso.turn import Reaction, Resume, Say, Turn
from sayso.turns import Turns, Work

if TYPE_CHECKING:
    from sayso.agent import Agent

USER_AUDIO = "user_audio"
"""The key in `Session.state` of what the user said last, for tools that listen to the voice."""


class Session:
    """A conversation with an agent. Made by `Agent.session`; use it as an async context manager.

    A session runs one turn at a time. Its history is always valid: every call has an output, and a reply that was cut
    off holds the words that were heard. Its clock is the event loop's.

    Args:
        agent: The definition.
        id: Names the conversation in the journal. One that was used before is gone on with: what an earlier process
            was doing when it died is in `in_doubt` and in history. None: a new name.
        user: Whom it serves, for tools that remember something for a person.
        clock: The wall clock that tools are shown: Unix time in seconds. None: the loop's where it has one (that of
            `sayso.testing` does), else the machine's.
        speak: Whether replies are spoken beside being written; None: where the model can.

    Attributes:
        id: The conversation's name.
        in_doubt: Calls that an earlier process began in this conversation and was not seen to end.
        events: On their way to whoever follows.

    Raises:
        JournalError: The journal cannot be opened.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        id: str | None = None,
        user: str = "local",
        clock: Callable[[], float] | None = None,
        speak: bool | None = None,
    ) -> None:
        self.agent = agent
        self.id = id or uuid4().hex
        self._model = agent.voice_model
        self._voice = check_voice(agent.voice, self._model.profile.voices)
        journal = agent.call_journal if agent.registry else None
        self.events = Outbox(_loop_time, turn=journal.last_turn(self.id) if journal and id else 0)
        self._executor = Executor(
            agent.tools, session=self.id, journal=journal, late=self._keep_late, notify=self.events.tell
        )
        self._context = new_context(agent.timezone, clock, user, self._speak_as, self._executor.running)
        self._speak = self._model.profile.speaks if speak is None else speak
        self._lines = Lines(self._model, self._voice)
        self._conversation = Conversation(keeps_audio=self._model.profile.keeps_audio)
        self._approvals = Approvals(_loop_time, self.events.tell, self._settle)
        self._prepares_lines = False
        self._reading = ReadAhead(self._read_ahead)
        self._turns = Turns(
            self.events, self._conversation, self._approvals, self._reading, self._new_turn, agent.policy.approval_s
        )
        self._news: list[CallOutcome] = []  # results that came late and were not told
        self._shown_news = 0  # of them, in the history that the running turn's model sees
        self._on_news: Callable[[], None] | None = None
        self.in_doubt: tuple[Entry, ...] = tuple(journal.take_over(self.id)) if journal and id else ()
        for entry in self.in_doubt:
            self._conversation.add(in_doubt_items(entry), turn_runs=False)

    async def __aenter__(self) -> Session:
        """Nothing is loaded yet; see `warm`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what still runs."""
        await self.interrupt()
        self._approvals.close()
        await self._reading.stop()
        await self._executor.aclose()

    @property
    def history(self) -> tuple[Item, ...]:
        """The conversation so far: complete turns, and what was heard of interrupted ones."""
        return tuple(self._conversation.items)

    @property
    def state(self) -> dict[str, Any]:
        """What tools keep between calls (`Context.state`)."""
        return self._context.state

    @property
    def approval(self) -> Approval | None:
        """The call that waits for a person, or None."""
        return self._approvals.waiting

    @property
    def running(self) -> tuple[RunningCall, ...]:
        """The calls at work, those in the background too."""
        return self._executor.running.calls()

    @property
    def has_news(self) -> bool:
        """Whether results came after their turns and were not told yet; `follow_up` tells them."""
        return bool(self._news)

    async def warm(self) -> None:
        """Load the model, prefill instructions and tools, make the fillers ready. Asking loads and prefills too."""
        self._prepares_lines = self._speak
        await self._read_ahead()

    async def _read_ahead(self) -> None:
        await self._model.warm(self._request())
        if self._prepares_lines:  # in a new voice they are rendered anew
            await self._lines.prepare(line for tool in self.agent.registry.specs for line in tool.fillers)

    async def ask(self, what: Input, *, sample_rate_hz: int | None = None) -> TurnResult:
        """Run one turn to its end and return all of it.

        Args:
            what: Words (str), a sound file (`pathlib.Path` or its bytes), an `Audio`, samples, or a stream of frames.
            sample_rate_hz: Needed for samples and frames.

        Raises:
            SaysoError: The input cannot be used, or the model failed.
        """
        return await _whole(self.stream(what, sample_rate_hz=sample_rate_hz))

    def stream(self, what: Input, *, sample_rate_hz: int | None = None) -> AsyncGenerator[Event, None]:
        """Run one turn and yield its events as they happen. Closing the generator ends the turn.

        To leave before the end, read it in ``async with contextlib.aclosing(...)``: a bare ``break`` closes nothing.

        Raises:
            UsageError: A turn is still running.
            SaysoError: As `ask`; `TurnFailed` is the event before it.
        """
        return pushed(lambda push: self.run_turn(self.answer(what, sample_rate_hz), push))

    async def approve(self, call_id: str) -> TurnResult:
        """Agree to the call that waits: it runs with the arguments that were read back, and is answered.

        Raises:
            UsageError: No such call waits (any more), or a turn is running.
            SaysoError: The model failed.
        """
        return await _whole(self.stream_approved(call_id))

    def stream_approved(self, call_id: str) -> AsyncGenerator[Event, None]:
        """As `approve`, with the events as they happen."""

        async def produce(push: Push) -> None:
            self._turns.check_idle()
            job = self._approvals.approve(call_id)
            await self.run_turn(lambda turn: turn.resume(job), push)

        return pushed(produce)

    def refuse(self, call_id: str) -> None:
        """Say no to the call that waits; nothing is said. Raises `UsageError` where it does not wait (any more)."""
        self._approvals.refuse(call_id)

    def cancel_call(self, call_id: str) -> bool:
        """Stop a call that runs, in the background or not; whether it ran. A write may have taken effect by then."""
        return self._executor.running.cancel(call_id)

    async def follow_up(self) -> TurnResult | None:
        """Tell the user about results that came after their turns (`has_news`); None where there are none.

        Raises:
            UsageError: A turn is still running.
            SaysoError: The model failed.
        """
        return await _whole(pushed(lambda push: self.run_turn(self.tell_news, push))) if self._news else None

    def converse(
        self,
        frames: Frames,
        *,
        sample_rate_hz: int,
        played_ms: Callable[[], int | None] = lambda: None,
        barge_in: bool = True,
    ) -> AsyncGenerator[Event, None]:
        """Talk: find turns in live audio and answer each, until the frames end.

        A turn begins in a pause of the speech, before it is certain that the user has finished: nothing is heard or
        changed until it is, and where the user goes on it never happened. A turn that fails is reported by
        `TurnFailed` and the conversation goes on. Results that come late are told once nobody speaks.

        Args:
            frames: Mono float32 pieces of any length.
            sample_rate_hz: Of the frames.
            played_ms: How much of the running turn's audio the user has heard; None where that is not known.
            barge_in: Whether speech interrupts a reply. Without it, what is said during a turn is not heard.
        """
        return pushed(lambda push: Live(self, push, played_ms, barge_in=barge_in).run(frames, sample_rate_hz))

    async def interrupt(self, played_ms: int | None = None) -> bool:
        """Cut the reply off, and history at what was heard. A question for approval that it held expires.

        A turn that still runs is ended. A turn that has ended may still be playing: its reply is cut too.

        Args:
            played_ms: How much of the turn's audio was played, fillers included; None takes all that was emitted.

        Returns:
            Whether there was anything to cut.
        """
        return await self._turns.interrupt(played_ms)

    @property
    def may_anticipate(self) -> bool:
        """Whether a turn may begin before it is certain that the user has finished.

        Not where the words themselves decide something: half an answer ("yes") must not count.
        """
        return not (self.is_busy or self._news or self._words_decide)

    @property
    def _words_decide(self) -> bool:
        return self.approval is not None or any(call.background for call in self.running)

    def confirm(self, confirmed: asyncio.Event) -> None:
        """The user has finished: the turn that began before counts, and what it did so far is told."""
        self._turns.confirm(confirmed)

    async def withdraw(self) -> None:
        """End the running turn as if it had never been: the user went on."""
        await self._turns.withdraw()

    def with_unheard(self, audio: Audio) -> Audio:
        """``audio`` behind what was said before a pause, where that turn was cut off before it was understood."""
        return self._conversation.with_unheard(audio)

    @contextmanager
    def followed_by(self, push: Push, on_news: Callable[[], None]) -> Generator[None]:
        """Inside, ``push`` takes what happens between turns, and ``on_news`` is called when a result comes late."""
        self._on_news = on_news
        try:
            with self.events.to(push):
                yield
        finally:
            self._on_news = None

    @property
    def is_busy(self) -> bool:
        """Whether a turn runs."""
        return self._turns.is_busy

    async def run_turn(self, work: Work, push: Push, confirmed: asyncio.Event | None = None) -> None:
        """Run one turn to its end, and tell about it.

        Args:
            work: What it does.
            push: Takes the events.
            confirmed: Set once it is certain that the user has finished; None: it is.

        Raises:
            UsageError: A turn is still running.
            SaysoError: It failed; `TurnFailed` was the last event.
        """
        await self._turns.run(work, push, confirmed)

    def answer(self, what: Input, sample_rate_hz: int | None = None) -> Work:
        """What a turn does that answers ``what``."""

        async def work(turn: Turn) -> None:
            async with self._reading.beside(what):
                user = await listen(what, sample_rate_hz, hears=self._model.profile.hears)
                if user is not None:
                    if user.audio is not None:
                        self.state[USER_AUDIO] = user.audio
                    await turn.run(user)

        return work

    async def tell_news(self, turn: Turn) -> None:
        """What a turn does that tells about results that came late."""
        news, self._news = self._news, []
        await turn.follow(news)

    def _new_turn(self, confirmed: asyncio.Event | None) -> Turn:
        number, self._shown_news = self.events.turn, len(self._news)

        def emit(event: Event) -> None:
            if self.is_busy and self.events.turn == number:  # after its end a turn has nothing to say
                self.events.emit(event)

        return Turn(
            model=self._model,
            executor=self._executor,
            context=self._context,
            request=self._request(),
            emit=emit,
            voice=lambda: self._voice,
            filler=lambda name: self._lines.filler(self._executor.spec(name)),
            waits=self.agent.waits,
            interpret=self._interpret,
            moment=Moment(number, self.events.generation, confirmed, self._after_untrusted()),
            policy=self.agent.policy,
        )

    def _after_untrusted(self) -> AfterUntrusted:
        """What becomes of a write before the turn has read anything: there may be text from outside nobody answered."""
        goes_on = self._turns.left_untrusted or any(outcome.untrusted for outcome in self._news)
        return self.agent.policy.after_untrusted if goes_on else "allow"

    def _interpret(self, words: str, language: str | None) -> Reaction | None:
        """What the user's words decide without the model: an answer to a question for approval, "stop that"."""
        verdict, job = self._approvals.hear(words, language)
        if job is not None:
            return Resume(job)
        if verdict == "no":
            return Say(fixed_line("refused", words, language))
        background = [call for call in self.running if call.background]
        if background and asks_to_stop(words, language):
            for call in background:
                self.cancel_call(call.call_id)
            return Say(fixed_line("stopped", words, language))
        del self._news[: self._shown_news]
        return None

    def _settle(self, output: ToolOutput) -> None:
        """A call that waited will not run."""
        if self.is_busy:
            self._conversation.settle(output)
        else:
            self._conversation.add([output], turn_runs=False)

    def _request(self) -> ModelRequest:
        """The part of every round that is constant in a turn."""
        return ModelRequest(
            items=tuple(self._conversation.items),
            instructions=self.agent.instructions,
            tools=self.agent.registry.specs,
            voice=self._voice,
            speak=self._speak,
            transcribe=self._words_decide,
            seed=self.agent.seed,
        )

    def _speak_as(self, voice: str | None) -> None:
        """Speak in another voice from the next sentence on; None: the agent's own."""
        try:
            chosen = check_voice(voice or self.agent.voice, self._model.profile.voices)
        except UsageError as error:
            raise ToolError(str(error)) from None
        if chosen != self._voice:
            self._voice, self._lines = chosen, Lines(self._model, chosen)

    def _keep_late(self, outcome: CallOutcome) -> None:
        """Keep the outcome of a call that ended after its round: in history, and to be told."""
        self._conversation.add([outcome.item], turn_runs=self.is_busy)
        if outcome.status != "cancelled" and not outcome.silent:
            self._news.append(outcome)
            if self._on_news is not None:
                self._on_news()


async def _whole(stream: AsyncGenerator[Event, None]) -> TurnResult:
    events: list[Event] = []
    async with aclosing(stream):
        async for event in stream:
            events.append(event)
    return summarise(events)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
