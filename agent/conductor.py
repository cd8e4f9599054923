"""`Conductor`: what a session is made of, and how its turns run.

`sayso.session.Session` is the side that users see, `sayso.live.Live` drives it by sound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sayso.approval import Approval, Approvals
from sayso.conversation import Conversation, call_items
from sayso.conversations import Conversations, Keeper
from sayso.errors import ToolError, UsageError
from sayso.events import Event
from sayso.intake import Input, listen
from sayso.items import Audio, ToolCall, ToolOutput, UserInput
from sayso.models.base import ModelRequest
from sayso.outbox import Outbox, Push
from sayso.prompts import fixed_line
from sayso.read_ahead import ReadAhead
from sayso.session_context import check_thinking, check_voice, new_context
from sayso.speech.lines import Lines
from sayso.tools.executor import CallOutcome, Executor
from sayso.tools.guard import AfterUntrusted
from sayso.tools.journal import Entry
from sayso.tools.round import Moment
from sayso.tools.running import RunningCall
from sayso.tools.stopping import asks_to_stop
from sayso.tools.tool import Effect
from sayso.turn import Reaction, Resume, Say, Turn
from sayso.turn_options import TurnOptions
from sayso.turns import Turns, Work

if TYPE_CHECKING:
    from sayso.agent import Agent

USER_AUDIO = "user_audio"
"""The key in `Session.state` of what the user said last, for tools that listen to the voice."""


class Conductor:
    """Runs the turns of one conversation.

    Args:
        agent: The definition.
        id: The conversation's name.
        goes_on: It was used before: take over what is known of it.
        conversations: Where its items are kept; None: nowhere.
        user: Whom it serves.
        clock: The wall clock that tools are shown.
        speak: Whether replies are spoken; None: where the model can.

    Attributes:
        agent: The definition, with what was changed in this conversation.
        events: On their way to whoever follows.
        conversation: The items.
        executor: Runs the calls.
        context: The session's side of every tool's `Context`.
        approvals: The calls that wait for a person.
        turns: One at a time.
        in_doubt: Calls that an earlier process began and was not seen to end.

    Raises:
        JournalError: The journal cannot be opened.
    """

    def __init__(
        self,
        agent: Agent,
        id: str,
        *,
        goes_on: bool,
        conversations: Conversations | None,
        user: str,
        clock: Callable[[], float] | None,
        speak: bool | None,
    ) -> None:
        self.agent = agent
        self.model = agent.voice_model
        check_thinking(agent.thinking, self.model.profile)
        self._voice = check_voice(agent.voice, self.model.profile.voices)
        self._keeper: Keeper | None = None
        journal = agent.call_journal if agent.registry else None
        self.events = Outbox(_loop_time, turn=journal.last_turn(id) if journal and goes_on else 0)
        self.executor = Executor(
            agent.tools, session=id, journal=journal, late=self._keep_late, notify=self.events.tell
        )
        self.context = new_context(
            agent.timezone, clock, user, self._speak_as, self.executor.running, self.model.profile
        )
        self._speak = self.model.profile.speaks if speak is None else speak
        self._lines = Lines(self.model, self._voice)
        self.conversation = Conversation(keeps_audio=self.model.profile.keeps_audio, changed=self._keep)
        self.approvals = Approvals(_loop_time, self.events.tell, self._settle)
        self._prepares_lines = False
        self._reading = ReadAhead(self._read_ahead)
        self.turns = Turns(
            self.events, self.conversation, self.approvals, self._reading, self._new_turn, agent.policy.approval_s
        )
        self._news: list[CallOutcome] = []  # results that came late and were not told
        self._shown_news = 0  # of them, in the history that the running turn's model sees
        self._on_news: list[Callable[[], None]] = []  # whoever came last is called
        self.in_doubt: tuple[Entry, ...] = tuple(journal.take_over(id)) if journal and goes_on else ()
        if conversations is not None:
            self._restore(conversations, id, user)
        known = {item.call_id for item in self.conversation.items if isinstance(item, ToolCall)}
        for entry in journal.entries(id) if journal and conversations is not None else self.in_doubt:
            if entry.call_id not in known and Effect(entry.effect).changes_something:  # its turn was not seen to end
                self.conversation.add(call_items(entry), turn_runs=False)

    @property
    def approval(self) -> Approval | None:
        """The call that waits for a person, or None."""
        return self.approvals.waiting

    @property
    def running(self) -> tuple[RunningCall, ...]:
        """The calls at work."""
        return self.executor.running.calls()

    @property
    def has_news(self) -> bool:
        """Whether results came after their turns and were not told yet."""
        return bool(self._news)

    @property
    def is_busy(self) -> bool:
        """Whether a turn runs."""
        return self.turns.is_busy

    @property
    def may_anticipate(self) -> bool:
        """Whether a turn may begin before it is certain that the user has finished.

        Not where the words themselves decide something: half an answer ("yes") must not count.
        """
        return not (self.is_busy or self._news or self._words_decide)

    async def warm(self) -> None:
        """Load the model, prefill what all turns share, make the fillers ready."""
        self._prepares_lines = self._speak
        await self._read_ahead()

    async def aclose(self) -> None:
        """End what still runs."""
        await self.turns.interrupt(None)
        self.approvals.close()
        await self._reading.stop()
        await self.executor.aclose()

    def use(self, agent: Agent) -> None:
        """Go on with another definition, from the next turn on.

        Raises:
            UsageError: The model has no such voice.
        """
        voice = check_voice(agent.voice, self.model.profile.voices)
        if voice != self.agent.voice:
            self._set_voice(voice)
        self.agent = agent
        self.executor.use(agent.tools)

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
        await self.turns.run(work, push, confirmed)

    def answer(
        self,
        what: Input | UserInput,
        sample_rate_hz: int | None = None,
        options: TurnOptions | None = None,
        *,
        id: str = "",
    ) -> Work:
        """What a turn does that answers ``what``, an item or what becomes the item ``id``."""

        async def work(turn: Turn) -> None:
            if options is not None:
                turn.use(options)
            if isinstance(what, UserInput):
                user: UserInput | None = what
            else:
                async with self._reading.beside(what):
                    user = await listen(what, sample_rate_hz, hears=self.model.profile.hears, id=id)
            if user is not None:
                if user.audio is not None:
                    self.context.state[USER_AUDIO] = user.audio
                await turn.run(user)

        return work

    def respond(self, options: TurnOptions | None = None) -> Work:
        """What a turn does that answers the conversation as it stands."""

        async def work(turn: Turn) -> None:
            if options is not None:
                turn.use(options)
            await turn.respond()

        user = self.conversation.take_input()
        return work if user is None else self.answer(user, options=options)

    def approved(self, call_id: str) -> Work:
        """What a turn does that runs the call that waited.

        Raises:
            UsageError: No such call waits (any more).
        """
        job = self.approvals.approve(call_id)
        return lambda turn: turn.resume(job)

    async def tell_news(self, turn: Turn) -> None:
        """What a turn does that tells about results that came late."""
        news, self._news = self._news, []
        await turn.follow(news)

    @contextmanager
    def followed_by(self, push: Push, on_news: Callable[[], None]) -> Generator[None]:
        """Inside, ``push`` takes what happens between turns, and ``on_news`` is called when a result comes late."""
        self._on_news.append(on_news)
        try:
            with self.events.to(push):
                yield
        finally:
            self._on_news.remove(on_news)

    def with_unheard(self, audio: Audio) -> Audio:
        """``audio`` behind what was said before a pause, where that turn was cut off before it was understood."""
        return self.conversation.with_unheard(audio)

    def request(self) -> ModelRequest:
        """The part of every round that is constant in a turn."""
        return ModelRequest(
            items=tuple(self.conversation.items),
            instructions=self.agent.instructions,
            tools=self.agent.registry.specs,
            voice=self._voice,
            speak=self._speak,
            transcribe=self._words_decide,
            seed=self.agent.seed,
            thinking=self.agent.policy.thinking_tokens if self.agent.thinking else 0,
        )

    def _restore(self, conversations: Conversations, id: str, user: str) -> None:
        saved, items = conversations.open(id, agent=self.agent.name, user=user)
        self.conversation.items += items
        self.events.turn = max(self.events.turn, saved.turn)
        try:
            self._set_voice(check_voice(saved.voice or self._voice, self.model.profile.voices))
        except UsageError:  # the model is another one by now
            pass
        self._keeper = Keeper(conversations, id, items)

    def _keep(self) -> None:
        if self._keeper is not None:
            self._keeper.keep(self.conversation.items, turn=self.events.turn, voice=self._voice)

    @property
    def _words_decide(self) -> bool:
        return self.approval is not None or any(call.background for call in self.running)

    async def _read_ahead(self) -> None:
        await self.model.warm(self.request())
        if self._prepares_lines:  # in a new voice they are rendered anew
            await self._lines.prepare(line for tool in self.agent.registry.specs for line in tool.fillers)

    def _new_turn(self, confirmed: asyncio.Event | None) -> Turn:
        number, self._shown_news = self.events.turn, len(self._news)

        def emit(event: Event) -> None:
            if self.is_busy and self.events.turn == number:  # after its end a turn has nothing to say
                self.events.emit(event)

        return Turn(
            model=self.model,
            executor=self.executor,
            context=self.context,
            request=self.request(),
            emit=emit,
            voice=lambda: self._voice,
            filler=lambda name: self._lines.filler(self.executor.spec(name)),
            waits=self.agent.waits,
            interpret=self._interpret,
            moment=Moment(number, self.events.generation, confirmed, self._after_untrusted()),
            policy=self.agent.policy,
        )

    def _after_untrusted(self) -> AfterUntrusted:
        """What becomes of a write before the turn has read anything: there may be text from outside nobody answered."""
        goes_on = self.turns.left_untrusted or any(outcome.untrusted for outcome in self._news)
        return self.agent.policy.after_untrusted if goes_on else "allow"

    def _interpret(self, words: str, language: str | None) -> Reaction | None:
        """What the user's words decide without the model: an answer to a question for approval, "stop that"."""
        verdict, job = self.approvals.hear(words, language)
        if job is not None:
            return Resume(job)
        if verdict == "no":
            return Say(fixed_line("refused", words, language))
        background = [call for call in self.running if call.background]
        if background and asks_to_stop(words, language):
            for call in background:
                self.executor.running.cancel(call.call_id)
            return Say(fixed_line("stopped", words, language))
        del self._news[: self._shown_news]
        return None

    def _settle(self, output: ToolOutput) -> None:
        """A call that waited will not run."""
        if self.is_busy:
            self.conversation.settle(output)
        else:
            self.conversation.add([output], turn_runs=False)

    def _speak_as(self, voice: str | None) -> None:
        """Speak in another voice from the next sentence on; None: the agent's own."""
        try:
            chosen = check_voice(voice or self.agent.voice, self.model.profile.voices)
        except UsageError as error:
            raise ToolError(str(error)) from None
        if chosen != self._voice:
            self._set_voice(chosen)

    def _set_voice(self, voice: str | None) -> None:
        self._voice, self._lines = voice, Lines(self.model, voice)

    def _keep_late(self, outcome: CallOutcome) -> None:
        """Keep the outcome of a call that ended after its round: in history, and to be told."""
        self.conversation.add([outcome.item], turn_runs=self.is_busy)
        if outcome.status != "cancelled" and not outcome.silent:
            self._news.append(outcome)
            if self._on_news:
                self._on_news[-1]()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
