"""One turn: what was said to the agent, the rounds of the model, the tools it calls, one reply.

A turn is a loop over rounds. In each the model streams; a call starts the moment its arguments are complete, while the
model may still be writing the next one; when the stream has ended the results are awaited, in call order, and the model
is asked again, until it answers without calling or the rounds are used up.

    THINKING --call--> CALLING --results--> THINKING | SAYING
    THINKING --end of stream, no call--> done;   SAYING --the tools' own words are spoken--> done

What the turn adds to history is in `Turn.items` at every moment, so a turn that is cut off anywhere leaves all that
happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import StrEnum

from sayso.events import (
    AudioDelta,
    CallArguments,
    CallOpened,
    CallReady,
    Event,
    Heard,
    TextDelta,
    Thought,
)
from sayso.history import Voiced, letters
from sayso.items import AssistantReply, Audio, Item, ToolCall, UserInput
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
from sayso.speech.lines import Filler
from sayso.tools.context import Context
from sayso.tools.executor import Executor
from sayso.tools.outcome import CallOutcome
from sayso.tools.round import Round

ROUNDS_USED_UP = "No more calls are possible in this turn. Answer with what you know."


class Stage(StrEnum):
    """The moments of a turn that are timed, in seconds from its start."""

    heard = "heard"
    first_text = "first_text"
    call_opened = "call_opened"
    call_ready = "call_ready"
    tools_done = "tools_done"
    first_sound = "first_sound"
    first_audio = "first_audio"
    done = "done"


@dataclass(frozen=True, slots=True)
class TurnPolicy:
    """How a turn is run.

    Attributes:
        max_rounds: How often the model may call tools before it has to answer.
        filler_after_s: Silence, from the turn's start, after which a call is bridged by its filler.
    """

    max_rounds: int = 4
    filler_after_s: float = 0.5


class Turn:
    """The state machine of one turn. Make one, `run` it once, read `items` and `stages`.

    Args:
        model: What to ask.
        executor: Runs the calls.
        context: The session's side of every tool's `Context`.
        request: The session's constant part of every round; its items are the history before this turn.
        emit: Takes every event, unstamped.
        filler: Gives the filler of a tool that is ready to be played, or None.
        policy: See `TurnPolicy`.
        number: The turn's number in its conversation; call ids are made from it.

    Attributes:
        items: What the turn has added to the conversation so far.
        voiced: The audio so far, fillers included.
        stages: When each `Stage` was first reached, in seconds from the start.
    """

    def __init__(
        self,
        *,
        model: VoiceModel,
        executor: Executor,
        context: Context,
        request: ModelRequest,
        emit: Callable[[Event], None],
        filler: Callable[[str], Filler | None] = lambda _: None,
        policy: TurnPolicy = TurnPolicy(),
        number: int = 1,
    ) -> None:
        self._model = model
        self._executor = executor
        self._context = context
        self._request = request
        self._emit_event = emit
        self._find_filler = filler
        self._policy = policy
        self._number = number
        self._now = asyncio.get_running_loop().time
        self._started_s = self._now()
        self._words = ""  # of the reply, since the last item
        self._calls: list[ToolCall] = []  # of this round; arguments are filled in when the call closes
        self._open: set[int] = set()  # which of them are still being written
        self._written = self._spoken = 0  # letters of the reply
        self._call_count = 0
        self._filler: asyncio.Task[None] | None = None
        self.items: list[Item] = []
        self.voiced: list[Voiced] = []
        self.stages: dict[str, float] = {}

    async def run(self, user: UserInput) -> None:
        """Answer ``user``.

        Raises:
            SaysoError: The model failed. `items` hold what was reached.
        """
        self.items.append(user)
        if user.text:
            self._heard(user.text, user.language)
        try:
            for round_number in range(self._policy.max_rounds + 1):
                outcomes = await self._round(allow_calls=round_number < self._policy.max_rounds)
                if not outcomes:
                    break
                if self._can_say_lines and (line := spoken_line(outcomes)):
                    await self._say(line)
                    break
        finally:
            self._end_words()
            await self._end_filler()
        self._reach(Stage.done)

    @property
    def _can_say_lines(self) -> bool:
        return self._model.profile.says_lines or not self._request.speak

    @property
    def understood(self) -> bool:
        """Whether there were words to answer, or the model answered without telling them."""
        return len(self.items) > 1 or any(isinstance(item, UserInput) and item.text for item in self.items)

    async def _round(self, *, allow_calls: bool) -> Sequence[CallOutcome]:
        """Let the model stream once and run what it calls."""
        request = replace(self._request, items=(*self._request.items, *self.items), allow_calls=allow_calls)
        self._calls.clear()
        self._open.clear()
        tools = self._executor.round(self._context, self._emit_event)
        try:
            async with tools, aclosing(self._model.respond(request)) as stream:
                async for event in stream:
                    self._take(event, tools, allow_calls=allow_calls)
                self._end_words()
                for index in sorted(self._open):  # the stream broke off inside them
                    self._close(CallClose(index, None, ""), tools, allow_calls=True)
                outcomes = await tools.outcomes()
        finally:
            self.items += [outcome.item for outcome in tools.finished]
        if outcomes:
            self._reach(Stage.tools_done)
        return outcomes

    def _take(self, event: ModelEvent, tools: Round, *, allow_calls: bool) -> None:
        match event:
            case Transcript(text, language):
                self._transcribe(text, language)
            case Text(text) if not self._open:
                self._write(text)
            case Speech(audio, text) if not self._open or self._is_of_words_before(text):
                self._play(audio, text)
            case Thinking(text):
                self._emit_event(Thought(text=text))
            case CallOpen(index, name):
                self._open_call(index, name)
            case CallDelta(index, delta):
                self._emit_event(CallArguments(call_id=self._calls[index].call_id, delta=delta))
            case CallClose():
                self._close(event, tools, allow_calls=allow_calls)
            case Text() | Speech() | Done():  # nothing inside a call is ever spoken, whatever a model streams
                pass

    def _write(self, text: str) -> None:
        self._reach(Stage.first_text)
        self._words += text
        self._written += letters(text)
        self._emit_event(TextDelta(text=text))

    def _is_of_words_before(self, text: str) -> bool:
        """Whether speech that comes while a call is open speaks words that were written before it."""
        return 0 < letters(text) <= self._written - self._spoken

    def _open_call(self, index: int, name: str) -> None:
        self._open.add(index)
        self._end_words()
        self._call_count += 1
        call = ToolCall(f"call_{self._number}_{self._call_count}", name, {})
        self._calls.append(call)
        self._reach(Stage.call_opened)
        self._emit_event(CallOpened(call_id=call.call_id, name=name))
        self._start_filler(name)

    def _close(self, event: CallClose, tools: Round, *, allow_calls: bool) -> None:
        self._open.discard(event.index)
        self._reach(Stage.call_ready)
        call = replace(self._calls[event.index], arguments=event.arguments or {})
        self.items.append(call)
        self._emit_event(CallReady(call_id=call.call_id, name=call.name, arguments=call.arguments))
        if not allow_calls:
            tools.refuse(call, ROUNDS_USED_UP)
        elif event.arguments is None:
            tools.reject(call, event.raw)
        else:
            tools.start(call)

    async def _say(self, line: str) -> None:
        """Speak what the tools themselves said about their results."""
        self._write(line)
        if self._request.speak:
            async with aclosing(self._model.say(line, self._request.voice)) as pieces:
                async for piece in pieces:
                    self._play(piece.audio, piece.text)

    def _transcribe(self, text: str, language: str | None) -> None:
        user = self.items[0]
        assert isinstance(user, UserInput)
        self.items[0] = replace(user, text=text, language=language)
        self._heard(text, language)

    def _heard(self, text: str, language: str | None) -> None:
        self._reach(Stage.heard)
        self._emit_event(Heard(text=text, language=language))

    def _play(self, audio: Audio, text: str) -> None:
        self._stop_filler()
        self._reach(Stage.first_sound)
        self._reach(Stage.first_audio)
        self._spoken += letters(text)
        self.voiced.append(Voiced(text, round(audio.seconds * 1000)))
        self._emit_event(AudioDelta(audio=audio, text=text))

    def _end_words(self) -> None:
        """Turn the words since the last item into an item."""
        if self._words.strip():
            self.items.append(AssistantReply(self._words))
        self._words = ""

    def _reach(self, stage: Stage) -> None:
        self.stages.setdefault(stage.value, self._now() - self._started_s)

    def _start_filler(self, name: str) -> None:
        """Bridge the wait for the turn's first call, unless something was audible before."""
        if self._filler is None and self._request.speak and not self.voiced and (filler := self._find_filler(name)):
            self._filler = asyncio.create_task(self._fill(filler))

    async def _fill(self, filler: Filler) -> None:
        await asyncio.sleep(self._started_s + self._policy.filler_after_s - self._now())
        self._reach(Stage.first_sound)
        self.voiced.append(Voiced(filler.text, round(filler.audio.seconds * 1000), filler=True))
        self._emit_event(AudioDelta(audio=filler.audio, text=filler.text, filler=True))

    def _stop_filler(self) -> None:
        if self._filler is not None:
            self._filler.cancel()

    async def _end_filler(self) -> None:
        if self._filler is not None:
            self._filler.cancel()
            await asyncio.wait([self._filler])


def spoken_line(outcomes: Sequence[CallOutcome]) -> str | None:
    """What to say where every tool worked and said its result itself; None where the model has to phrase it."""
    lines = [outcome.say for outcome in outcomes if outcome.status == "ok" and outcome.say]
    return " ".join(lines) if lines and len(lines) == len(outcomes) else None
