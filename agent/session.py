"""One conversation: its history, its clock, and one turn at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sayso.approval import Approval
from sayso.conductor import Conductor
from sayso.conversations import Conversations
from sayso.errors import UsageError
from sayso.events import Event
from sayso.intake import Frames, Input
from sayso.items import Item, ToolCall, ToolOutput, unanswered_calls
from sayso.live import Live, TurnTaking
from sayso.outbox import Push
from sayso.result import TurnResult, summarise
from sayso.streams import pushed
from sayso.tools.running import RunningCall
from sayso.tools.tool import Tool
from sayso.turn_options import TurnOptions

if TYPE_CHECKING:
    from sayso.agent import Agent


class Session:
    """A conversation with an agent. Made by `Agent.session`; use it as an async context manager.

    A session runs one turn at a time. Its history is always valid: every call has an output, and a reply that was cut
    off holds the words that were heard. Its clock is the event loop's.

    Args:
        agent: The definition.
        id: Names the conversation in the journal. One that was used before is gone on with: what an earlier process
            was doing when it died is in `in_doubt` and in history. None: a new name.
        conversations: Where the items are kept, so that the conversation can be gone on with in another process;
            None: nowhere, and only the journal knows of it.
        user: Whom it serves, for tools that remember something for a person.
        clock: The wall clock that tools are shown: Unix time in seconds. None: the loop's where it has one (that of
            `sayso.testing` does), else the machine's.
        speak: Whether replies are spoken beside being written; None: where the model can.

    Attributes:
        id: The conversation's name.
        in_doubt: Calls that an earlier process began in this conversation and was not seen to end.
        conductor: What runs the turns; for code that drives them itself.

    Raises:
        JournalError: The journal cannot be opened.
        StoreError: The conversation cannot be read.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        id: str | None = None,
        conversations: Conversations | None = None,
        user: str = "local",
        clock: Callable[[], float] | None = None,
        speak: bool | None = None,
    ) -> None:
        self.id = id or uuid4().hex
        self.conductor = Conductor(
            agent, self.id, goes_on=bool(id), conversations=conversations, user=user, clock=clock, speak=speak
        )
        self.in_doubt = self.conductor.in_doubt

    async def __aenter__(self) -> Session:
        """Nothing is loaded yet; see `warm`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what still runs."""
        await self.conductor.aclose()

    @property
    def agent(self) -> Agent:
        """The definition, with what `update` changed."""
        return self.conductor.agent

    @property
    def history(self) -> tuple[Item, ...]:
        """The conversation so far: complete turns, and what was heard of interrupted ones."""
        return tuple(self.conductor.conversation.items)

    @property
    def state(self) -> dict[str, Any]:
        """What tools keep between calls (`Context.state`)."""
        return self.conductor.context.state

    @property
    def approval(self) -> Approval | None:
        """The call that waits for a person, or None."""
        return self.conductor.approval

    @property
    def running(self) -> tuple[RunningCall, ...]:
        """The calls at work, those in the background too."""
        return self.conductor.running

    @property
    def is_busy(self) -> bool:
        """Whether a turn runs."""
        return self.conductor.is_busy

    @property
    def has_news(self) -> bool:
        """Whether results came after their turns and were not told yet; `follow_up` tells them."""
        return self.conductor.has_news

    async def warm(self) -> None:
        """Load the model, prefill instructions and tools, make the fillers ready. Asking loads and prefills too."""
        await self.conductor.warm()

    async def ask(
        self, what: Input, *, sample_rate_hz: int | None = None, options: TurnOptions | None = None
    ) -> TurnResult:
        """Run one turn to its end and return all of it.

        Args:
            what: Words (str), a sound file (`pathlib.Path` or its bytes), an `Audio`, samples, or a stream of frames.
            sample_rate_hz: Needed for samples and frames.
            options: What is different in this turn.

        Raises:
            SaysoError: The input cannot be used, or the model failed.
        """
        return await _whole(self.stream(what, sample_rate_hz=sample_rate_hz, options=options))

    def stream(
        self, what: Input, *, sample_rate_hz: int | None = None, options: TurnOptions | None = None
    ) -> AsyncGenerator[Event, None]:
        """Run one turn and yield its events as they happen. Closing the generator ends the turn.

        To leave before the end, read it in ``async with contextlib.aclosing(...)``: a bare ``break`` closes nothing.

        Raises:
            UsageError: A turn is still running.
            SaysoError: As `ask`; `TurnFailed` is the event before it.
        """
        conductor = self.conductor
        return pushed(lambda push: conductor.run_turn(conductor.answer(what, sample_rate_hz, options), push))

    def respond(self, *, options: TurnOptions | None = None) -> AsyncGenerator[Event, None]:
        """Run a turn that answers the conversation as it stands, after `add`; else as `stream`.

        In an empty conversation the agent speaks first.
        """

        async def produce(push: Push) -> None:
            self.conductor.turns.check_idle()
            await self.conductor.run_turn(self.conductor.respond(options), push)

        return pushed(produce)

    def add(self, *items: Item) -> None:
        """Put items behind the conversation without answering them; while a turn runs, behind that turn.

        Raises:
            UsageError: A `ToolOutput` has no call before it, a call no output, or a turn's own items would be torn.
        """
        if dangling := unanswered_calls(items):
            raise UsageError(
                f"The call {next(iter(dangling))} has no output.", "Add each ToolCall together with its ToolOutput."
            )
        known = {item.call_id for item in (*self.history, *items) if isinstance(item, ToolCall)}
        for item in items:
            if isinstance(item, ToolOutput) and item.call_id not in known:
                raise UsageError(f"There is no call {item.call_id!r}.", "Add the ToolCall before its ToolOutput.")
        self.conductor.conversation.add(items, turn_runs=self.is_busy)

    def remove(self, id: str) -> bool:
        """Forget the item of this id (or call id, with its outputs); whether there was one.

        Raises:
            UsageError: A turn is running.
        """
        self.conductor.turns.check_idle()
        return self.conductor.conversation.remove(id)

    def update(
        self,
        *,
        instructions: str | None = None,
        tools: Iterable[Tool[..., Any]] | None = None,
        voice: str | None = None,
    ) -> None:
        """Change what the agent is told, what it may call or how it sounds, from the next turn on; None: leave it.

        Raises:
            UsageError: The model has no such voice.
            ToolDefinitionError: Two tools have one name.
        """
        self.conductor.use(self.agent.variant(instructions=instructions, tools=tools, voice=voice))

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
            self.conductor.turns.check_idle()
            await self.conductor.run_turn(self.conductor.approved(call_id), push)

        return pushed(produce)

    def refuse(self, call_id: str) -> None:
        """Say no to the call that waits; nothing is said. Raises `UsageError` where it does not wait (any more)."""
        self.conductor.approvals.refuse(call_id)

    def cancel_call(self, call_id: str) -> bool:
        """Stop a call that runs, in the background or not; whether it ran. A write may have taken effect by then."""
        return self.conductor.executor.running.cancel(call_id)

    async def follow_up(self) -> TurnResult | None:
        """Tell the user about results that came after their turns (`has_news`); None where there are none.

        Raises:
            UsageError: A turn is still running.
            SaysoError: The model failed.
        """
        return await _whole(self.stream_news()) if self.has_news else None

    def stream_news(self) -> AsyncGenerator[Event, None]:
        """As `follow_up`, with the events as they happen."""
        return pushed(lambda push: self.conductor.run_turn(self.conductor.tell_news, push))

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
        taking = TurnTaking(barge_in=barge_in)

        async def produce(push: Push) -> None:
            async with self.live(push, sample_rate_hz=sample_rate_hz, played_ms=played_ms, taking=taking) as live:
                async for frame in frames:
                    await live.hear(frame)

        return pushed(produce)

    def live(
        self,
        push: Push,
        *,
        sample_rate_hz: int,
        played_ms: Callable[[], int | None] = lambda: None,
        taking: TurnTaking | None = None,
    ) -> Live:
        """`converse` for code that is given its frames: ``async with session.live(push, ...) as live: live.hear(...)``.

        Leaving the scope ends the stream: what was being said is answered, and the turns that run end.

        Args:
            push: Takes the events; never fails, never waits.
            sample_rate_hz: Of the frames.
            played_ms: As in `converse`.
            taking: Who speaks when.
        """
        return Live(self.conductor, push, sample_rate_hz, played_ms, taking or TurnTaking())

    async def interrupt(self, played_ms: int | None = None) -> bool:
        """Cut the reply off, and history at what was heard. A question for approval that it held expires.

        A turn that still runs is ended. A turn that has ended may still be playing: its reply is cut too.

        Args:
            played_ms: How much of the turn's audio was played, fillers included; None takes all that was emitted.

        Returns:
            Whether there was anything to cut.
        """
        return await self.conductor.turns.interrupt(played_ms)


async def _whole(stream: AsyncGenerator[Event, None]) -> TurnResult:
    events: list[Event] = []
    async with aclosing(stream):
        async for event in stream:
            events.append(event)
    return summarise(events)
