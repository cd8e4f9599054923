"""One turn: what was said to the agent, the rounds of the model, the tools it calls, one reply.

A turn is a loop over rounds. In each the model streams; a call starts the moment its arguments are complete, while the
model may still be writing the next one; when the stream has ended the results are awaited, in call order, and the model
is asked again, until it answers without calling or the rounds are used up.

    THINKING --call--> CALLING --results--> THINKING | SAYING | done
    THINKING --end of stream, no call--> done, or THINKING once more where a call was promised and not made
    SAYING --a fixed line is spoken: a tool's own words, a question that a person has to answer--> done

There is one reply a turn: words that came with a write that worked are the reply, and none is made after it.

What the turn adds to history is in `Turn.items` at every moment, so a turn that is cut off anywhere leaves all that
happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from sayso.bridge import Bridge, Waits
from sayso.events import (
    CallArguments,
    CallOpened,
    CallReady,
    Event,
    Heard,
    RoundDone,
    Thought,
)
from sayso.items import Audio, Item, ToolCall, UserInput
from sayso.models.base import (
    CallClose,
    CallDelta,
    CallOpen,
    Done,
    ModelEvent,
    ModelRequest,
    Speech,
    Text,
    Thinking,
    Transcript,
    VoiceModel,
)
from sayso.reaction import Interpret, Reaction, Resume, Say, is_bundled, needs_no_answer, spoken_line
from sayso.reply import Reply
from sayso.session_context import check_voice
from sayso.speech.lines import Filler
from sayso.tools.context import Context
from sayso.tools.executor import Executor
from sayso.tools.job import Job
from sayso.tools.outcome import CallOutcome
from sayso.tools.promises import announces_action
from sayso.tools.round import NOW, Moment, Round
from sayso.turn_options import TurnOptions
from sayso.turn_policy import USUAL, Stage, TurnPolicy

__all__ = ["Reaction", "Resume", "Say", "Stage", "Turn", "TurnPolicy", "spoken_line"]

ROUNDS_USED_UP = "No more calls are possible in this turn. Answer with what you know."
NOT_NOW = "{name} cannot be called in this turn. Answer with what you know, or call another tool."


class Turn:
    """The state machine of one turn. Make one, `run` it once, read `items` and `stages`.

    Args:
        model: What to ask.
        executor: Runs the calls.
        context: The session's side of every tool's `Context`.
        request: The session's constant part of every round; its items are the history before this turn.
        emit: Takes every event, unstamped.
        voice: The voice to speak in, asked before each sentence or round.
        filler: Gives the filler of a tool that is ready to be played, or None.
        waits: How long the agent's tools made users wait.
        interpret: What the user's words decide without the model.
        moment: The turn's number, generation and confirmation; call ids are made from the number.
        policy: See `TurnPolicy`.

    Attributes:
        items: What the turn has added to the conversation so far.
        voiced: The audio so far, fillers included.
        stages: When each `Stage` was first reached, in seconds from the start.
        asked: The call that waits for the user's answer, with its question.
        read_back: The question was said as it is.
        read_untrusted: The model was shown text from outside, in this turn or in one that it goes on with.
    """

    def __init__(
        self,
        *,
        model: VoiceModel,
        executor: Executor,
        context: Context,
        request: ModelRequest,
        emit: Callable[[Event], None],
        voice: Callable[[], str | None] = lambda: None,
        filler: Callable[[str], Filler | None] = lambda _: None,
        waits: Waits | None = None,
        interpret: Interpret = lambda words, language: None,
        moment: Moment = NOW,
        policy: TurnPolicy = USUAL,
    ) -> None:
        self._model = model
        self._executor = executor
        self._context = context
        self._request = request
        self._emit_event = emit
        self._voice = voice
        self._find_filler = filler
        self._interpret = interpret
        self._moment = moment
        self._policy = policy
        self._now = asyncio.get_running_loop().time
        self._started_s = self._now()
        self._bridge = Bridge(waits or Waits(), self._play_filler, self._now)
        self._reaction: Reaction | None = None
        self._must_call = False  # some tool comes first
        self._forced = False  # a promised call was asked for once
        self._calls: list[ToolCall] = []  # of this round; arguments are filled in when the call closes
        self._done = Done()
        self._open: set[int] = set()  # which of them are still being written
        self._call_count = 0
        self.items: list[Item] = []
        self._reply = Reply(self.items, emit)
        self.voiced = self._reply.voiced
        self.stages: dict[str, float] = {}
        self.asked: tuple[Job, str] | None = None
        self.read_back = False
        self.read_untrusted = moment.after_untrusted != "allow"

    async def run(self, user: UserInput) -> None:
        """Answer ``user``.

        Raises:
            SaysoError: The model failed. `items` hold what was reached.
        """
        self.items.append(user)
        if user.text:
            self._heard(user.text, user.language)
        outcomes: Sequence[CallOutcome] = ()
        async with self._ending():
            if self._reaction is None:
                outcomes = await self._round(calls=self._policy.max_rounds > 0)
            reaction, self._reaction = self._reaction, None  # it cuts off this round, not those that follow
            match reaction:
                case None:
                    await self._go_on(outcomes)
                case Say(line):
                    await self._say(line)
                case Resume(job):
                    await self._go_on(await self._run_approved(job))

    def use(self, options: TurnOptions) -> None:
        """Run this turn with other settings; before it is run.

        Raises:
            UsageError: There is no such tool or voice.
        """
        self._request, self._policy, self._must_call = options.applied(self._request, self._policy)
        if options.voice is not None:
            voice = check_voice(options.voice, self._model.profile.voices)
            self._voice = lambda: voice

    async def respond(self) -> None:
        """Answer the conversation as it stands: it ends with a tool's output, say, or the agent speaks first.

        Raises:
            SaysoError: As `run`.
        """
        async with self._ending():
            await self._go_on(await self._round(calls=self._policy.max_rounds > 0))

    async def follow(self, outcomes: Sequence[CallOutcome]) -> None:
        """Tell about results that came after their turns; they end the request's items already."""
        async with self._ending():
            if (line := spoken_line(outcomes)) and self._can_say_lines:
                await self._say(line)
            else:
                await self._round(calls=False)

    async def resume(self, job: Job) -> None:
        """Run a call that an app agreed to, and answer."""
        async with self._ending():
            await self._go_on(await self._run_approved(job))

    @property
    def understood(self) -> bool:
        """Whether there were words to answer, or the model answered without telling them."""
        return any(not isinstance(item, UserInput) or item.text for item in self.items)

    @asynccontextmanager
    async def _ending(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._reply.end_words()
            await self._bridge.aclose()
        self._reach(Stage.done)

    async def _go_on(self, outcomes: Sequence[CallOutcome]) -> None:
        """Ask the model again until the turn has its reply."""
        for left in range(self._policy.max_rounds - 1, -1, -1):
            if await self._is_answered(outcomes):
                return
            outcomes = await self._round(calls=left > 0)

    async def _is_answered(self, outcomes: Sequence[CallOutcome]) -> bool:
        """Whether the reply is complete after a round with these outcomes; what a fixed line can say is said here."""
        if not outcomes:
            return not self._has_promised()
        if self.asked is not None and self._can_say_lines:
            await self._say(self.asked[1])
            self.read_back = True
            return True
        changes = self._executor.changes_something
        if needs_no_answer(outcomes) or is_bundled(self._reply.text, outcomes, changes, self._language):
            return True
        if self._can_say_lines and (line := spoken_line(outcomes)):
            await self._say(line)
            return True
        return False

    def _has_promised(self) -> bool:
        """Whether the model said that it would do something and did not: then it is made to call, once."""
        if self._forced or self._call_count or not self._model.profile.forces_calls or not self._request.tools:
            return False
        self._forced = announces_action(self._reply.text, self._language)
        return self._forced

    @property
    def _can_say_lines(self) -> bool:
        return self._model.profile.says_lines or not self._request.speak

    @property
    def _language(self) -> str | None:
        user = next((item for item in self.items if isinstance(item, UserInput)), None)
        return None if user is None else user.language

    async def _run_approved(self, job: Job) -> Sequence[CallOutcome]:
        """Run a call that a person agreed to, exactly as they were asked."""
        job = job.as_call(self._new_call_id())
        tools = self._new_round()
        try:
            async with tools:
                self._make_call(job.call)
                self._bridge_wait(job.call.name)
                tools.resume(job)
                return await tools.outcomes()
        finally:
            self._take_outcomes(tools)

    async def _round(self, *, calls: bool) -> Sequence[CallOutcome]:
        """Let the model stream once and run what it calls."""
        request = replace(
            self._request,
            items=(*self._request.items, *self.items),
            voice=self._voice(),
            allow_calls=calls,
            force_call=(self._forced or self._must_call) and not self._call_count,
        )
        self._calls.clear()
        self._open.clear()
        self._done, start = Done(), len(self.items)
        tools = self._new_round()
        try:
            async with tools, aclosing(self._model.respond(request)) as stream:
                async for event in stream:
                    self._take(event, tools, allow_calls=calls)
                    if self._reaction is not None:
                        return ()
                self._reply.end_round(start, self._done.token_ids)
                self._emit_event(self._round_done())
                for index in sorted(self._open):  # the stream broke off inside them
                    self._close(CallClose(index, None, ""), tools, allow_calls=True)
                outcomes = await tools.outcomes()
        finally:
            self._take_outcomes(tools)
        if outcomes:
            self._reach(Stage.tools_done)
        return outcomes

    def _round_done(self) -> RoundDone:
        calls = tuple(call.call_id for call in self._calls)
        return RoundDone(
            calls=calls,
            prompt_tokens=self._done.prompt_tokens,
            completion_tokens=self._done.completion_tokens,
            truncated=self._done.truncated,
        )

    def _new_round(self) -> Round:
        return self._executor.round(self._context, self._emit_event, self._moment)

    def _take_outcomes(self, tools: Round) -> None:
        self.items += [outcome.item for outcome in tools.finished]
        if any(outcome.untrusted for outcome in tools.finished):
            self.read_untrusted = True
            self._moment = replace(self._moment, after_untrusted=self._policy.after_untrusted)
        if tools.waiting:
            self.asked = tools.waiting[0]
            self._moment = replace(self._moment, asked=True)

    def _take(self, event: ModelEvent, tools: Round, *, allow_calls: bool) -> None:
        match event:
            case Transcript(text, language):
                self._transcribe(text, language)
            case Text(text) if not self._open:
                self._write(text)
            case Speech(audio, text) if not self._open or self._reply.owes(text):
                self._play(audio, text)
            case Thinking(text):
                self._emit_event(Thought(text=text))
            case CallOpen(index, name):
                self._open_call(index, name)
            case CallDelta(index, delta):
                self._emit_event(CallArguments(call_id=self._calls[index].call_id, delta=delta))
            case CallClose():
                self._close(event, tools, allow_calls=allow_calls)
            case Done():
                self._done = event
            case Text() | Speech():  # nothing inside a call is ever spoken, whatever a model streams
                pass

    def _write(self, text: str) -> None:
        self._reach(Stage.first_text)
        self._reply.write(text)

    def _open_call(self, index: int, name: str) -> None:
        self._open.add(index)
        self._reply.end_words()
        call = ToolCall(self._new_call_id(), name, {})
        self._calls.append(call)
        self._reach(Stage.call_opened)
        self._emit_event(CallOpened(call_id=call.call_id, name=name))
        self._bridge_wait(name)

    def _new_call_id(self) -> str:
        self._call_count += 1
        return f"call_{self._moment.turn}_{self._call_count}"

    def _close(self, event: CallClose, tools: Round, *, allow_calls: bool) -> None:
        self._open.discard(event.index)
        self._reach(Stage.call_ready)
        call = replace(self._calls[event.index], arguments=event.arguments or {})
        self._make_call(call)
        if not allow_calls:
            tools.refuse(call, ROUNDS_USED_UP)
        elif all(call.name != spec.name for spec in self._request.tools) and call.name in self._executor.registry:
            tools.refuse(call, NOT_NOW.format(name=call.name))
        elif event.arguments is None:
            tools.reject(call, event.raw)
        else:
            tools.start(call)

    def _make_call(self, call: ToolCall) -> None:
        self.items.append(call)
        self._emit_event(CallReady(call_id=call.call_id, name=call.name, arguments=call.arguments))

    async def _say(self, line: str) -> None:
        """Speak what the tools themselves said about their results."""
        self._write(line)
        if self._request.speak:
            async with aclosing(self._model.say(line, self._voice())) as pieces:
                async for piece in pieces:
                    self._play(piece.audio, piece.text)

    def _transcribe(self, text: str, language: str | None) -> None:
        user = self.items[0] if self.items else None
        if not isinstance(user, UserInput):  # nobody spoke in this turn
            return
        self.items[0] = replace(user, text=text, language=language)
        self._heard(text, language)

    def _heard(self, text: str, language: str | None) -> None:
        self._reach(Stage.heard)
        self._emit_event(Heard(text=text, language=language))
        self._reaction = self._interpret(text, language)

    def _play(self, audio: Audio, text: str) -> None:
        self._bridge.answer()
        self._reach(Stage.first_sound)
        self._reach(Stage.first_audio)
        self._reply.play(audio, text)

    def _reach(self, stage: Stage) -> None:
        self.stages.setdefault(stage.value, self._now() - self._started_s)

    def _bridge_wait(self, name: str) -> None:
        """Bridge the wait for the turn's first call, unless something was audible before."""
        if self._request.speak and not self.voiced:
            at_s = self._started_s + self._policy.filler_after_s
            self._bridge.wait_for(name, lambda: self._find_filler(name), at_s=at_s)

    def _play_filler(self, audio: Audio, text: str) -> None:
        self._reach(Stage.first_sound)
        self._reply.fill(audio, text)
