"""One conversation by voice: the user's sound goes in frame by frame, what is heard of the agent is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from sayso.errors import ModelError
from sayso.evals.checks.language import language_of
from sayso.evals.run.clock import UnitLoop, computing
from sayso.evals.run.trace import TurnTrace
from sayso.evals.scenario import Interruption, UserTurn
from sayso.evals.speech.gate import Stretch, voiced
from sayso.evals.speech.listen import Listener, dnsmos, has_dnsmos
from sayso.evals.speech.recorder import Piece, Player, track, write_recording
from sayso.evals.speech.render import Clip
from sayso.evals.speech.ttfa import turn_times, yield_s
from sayso.evals.speech.wording import character_error_rate, word_error_rate
from sayso.events import CallStarted, Event, Interrupted, SpeechEnded, TurnDone, TurnFailed, TurnStarted
from sayso.items import AssistantReply
from sayso.live import Live
from sayso.session import Session
from sayso.speech.audio import resample

RATE_HZ: Final = 16_000
"""Of what the agent hears."""
FRAME: Final = 320
FRAME_S: Final = FRAME / RATE_HZ
GAP_S: Final = 0.3
"""People leave about so much between a reply and what they say to it."""
SETTLED_S: Final = 0.3
"""How long it stays quiet after a reply, at least, until the turn is over."""
NO_TURN_S: Final = 2.0
"""So long after the user has finished a turn has begun, or none will: nothing was heard."""


@dataclass(frozen=True, slots=True)
class _Said:
    """A clip on the conversation's time line."""

    turn: UserTurn
    heard: Piece
    dry: Piece


@dataclass(frozen=True, slots=True)
class _Cut:
    """An interruption that is to be measured."""

    trace: TurnTrace
    said: _Said


class SpeechChannel:
    """See the module. `sayso.evals.run.mode.Channel` says what it does.

    Args:
        session: The conversation.
        clip: The sound of a turn.
        tell: Takes the words of the turn that is being said.
        computes: Whether the model really computes: on a virtual clock it is waited for, and its times mean nothing.

    Attributes:
        player: What is heard of the agent.
        audio: Path of the recording, from the run's folder, once it was written.
        numbers: What was measured over the whole conversation.
    """

    def __init__(
        self,
        session: Session,
        *,
        clip: Callable[[UserTurn], Awaitable[Clip]],
        tell: Callable[[str], None],
        computes: bool,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._session = session
        self._clip = clip
        self._tell = tell
        self._now = loop.time
        self._waits = computes and isinstance(loop, UnitLoop)
        self.player = Player(loop.time)
        self.audio: str | None = None
        self.numbers: dict[str, float] = {}
        self._live: Live | None = None
        self._start_s = self._end_s = 0.0
        self._frames = 0  # that were heard
        self._left = np.zeros(0, np.float32)  # of the clip that is being said
        self._said: list[_Said] = []
        self._ahead: _Said | None = None  # a turn that began as an interruption of the one before
        self._traces: list[TurnTrace] = []
        self._cuts: list[_Cut] = []

    def begin(self, live: Live) -> None:
        """The line is open."""
        self._live = live
        self._start_s = self._now()

    def end(self) -> None:
        """The line is closed."""
        self._end_s = max(self._now(), self._next_s)
        self.player.stop()

    def take(self, event: Event) -> None:
        """An event of the session."""
        self.player.take(event)
        if self._traces:
            self._traces[-1].events.append(event)

    async def turn(self, turn: UserTurn, index: int, then: UserTurn | None) -> TurnTrace:
        """Say one turn, and listen until its reply was heard or the next turn interrupts it."""
        trace = TurnTrace(index, turn.user, answered=not turn.expect.ignored)
        before = len(self._session.history)
        self._traces.append(trace)
        said, self._ahead = self._ahead, None
        had_begun = said is not None
        if said is None:
            clip = await self._clip(turn)
            await self._let_pass(max(turn.wait_s, GAP_S))
            said = self._begin(turn, clip)
        trace.began_s = round(said.heard.start_s, 6)
        while len(self._left):
            await self._step()
        trace.ended_s = round(said.heard.end_s, 6)
        if trace.answered or not had_begun:  # what was said into a reply is judged with that reply
            await self._listen_to_reply(said, trace, then)
        trace.reply = self._replies(before)
        self._measure(said, trace)
        failed = next((event for event in trace.events if isinstance(event, TurnFailed)), None)
        if failed is not None:
            raise ModelError(failed.message)
        return trace

    def write(self, path: Path) -> None:
        """Write the recording: the user as the agent heard them, and what was heard of the agent."""
        left = track([said.heard for said in self._said], self._start_s, self._end_s)
        right = track(self.player.pieces, self._start_s, self._end_s)
        write_recording(path, left, right)

    def listen(self, listener: Listener) -> None:
        """Write into the traces what is heard in the replies; fillers and replies that were cut off are left out."""
        for trace in self._traces:
            pieces = [piece for piece in self._pieces_of(trace) if not piece.filler]
            if not pieces or trace.interrupted_ms is not None:
                continue
            sound = track(pieces, pieces[0].start_s, pieces[-1].end_s)
            trace.spoken = [text for text, _ in listener.hear(sound, language_of(trace.written))]
            trace.spoken_language = listener.language(sound)
            if trace.spoken and trace.written.strip():
                rates = {"wer_reply_vs_text": word_error_rate, "cer_reply_vs_text": character_error_rate}
                for name, rate in rates.items():
                    trace.numbers[name] = round(min(rate(trace.written, text) for text in trace.spoken), 4)
            if has_dnsmos():
                trace.numbers["dnsmos"] = round(dnsmos(sound).overall, 3)

    @property
    def _next_s(self) -> float:
        """Where the next frame begins."""
        return self._start_s + self._frames * FRAME_S

    def _begin(self, turn: UserTurn, clip: Clip) -> _Said:
        """Begin to say a clip, with the next frame."""
        said = _Said(turn, Piece(self._next_s, clip.audio), Piece(self._next_s, clip.dry))
        self._said.append(said)
        self._left = resample(clip.audio, RATE_HZ).samples
        self._tell(turn.user)
        return said

    async def _step(self) -> None:
        """The next frame of the line: what the user says, or silence."""
        assert self._live is not None
        frame = np.zeros(FRAME, np.float32)
        part, self._left = self._left[:FRAME], self._left[FRAME:]
        frame[: len(part)] = part
        self._frames += 1
        waits = self._waits and self._session.is_busy
        with computing() if waits else nullcontext():
            await asyncio.sleep(max(0.0, self._next_s - self._now()))  # a frame is there once it is over
        late_ms = (self._now() - self._next_s) * 1000
        if late_ms > 1:
            self.numbers["late_ms"] = round(max(late_ms, self.numbers.get("late_ms", 0.0)), 1)
        await self._live.hear(frame)

    async def _let_pass(self, seconds: float) -> None:
        while self._next_s + FRAME_S < self._now():  # the line was silent while a clip was made
            await self._step()
        until_s = self._next_s + seconds - FRAME_S / 2
        while self._next_s < until_s or self.player.is_playing:
            await self._step()

    async def _listen_to_reply(self, said: _Said, trace: TurnTrace, then: UserTurn | None) -> None:
        interrupt = None if then is None else then.interrupt
        clip = None if then is None or interrupt is None else await self._clip(then)
        while not self._is_over(said, trace):
            await self._step()
            if then is None or interrupt is None or clip is None:
                continue
            moment_s = self._moment(interrupt, said, trace)
            if moment_s is None or self._next_s + FRAME_S / 2 < moment_s + interrupt.ms / 1000:
                continue
            interrupt = None
            await self._cut_in(then, clip, trace)
            if not then.expect.ignored:
                return

    async def _cut_in(self, turn: UserTurn, clip: Clip, trace: TurnTrace) -> None:
        """Say the next turn while the reply goes on, until the agent yields."""
        self._ahead = self._begin(turn, clip)
        self._cuts.append(_Cut(trace, self._ahead))
        while len(self._left) and (turn.expect.ignored or not _interruption(trace)):
            await self._step()

    def _moment(self, interrupt: Interruption, said: _Said, trace: TurnTrace) -> float | None:
        """What an interruption is counted from; None: it has not come."""
        match interrupt.after:
            case "turn_start":
                return said.heard.start_s
            case "call":
                return next((event.time_s for event in trace.events if isinstance(event, CallStarted)), None)
            case _:
                return self.player.began_s(said.heard.start_s)

    def _is_over(self, said: _Said, trace: TurnTrace) -> bool:
        """Whether all that comes of a turn was heard."""
        assert self._live is not None
        session = self._session
        busy = self._live.speaking or session.is_busy or session.has_news or self.player.is_playing
        quiet_s = self._now() - max(said.heard.end_s, self.player.ends_s)
        if busy or quiet_s < SETTLED_S:
            return False
        for event in reversed(trace.events):
            if isinstance(event, TurnDone | TurnFailed):
                return True
            if isinstance(event, SpeechEnded):
                break
        return quiet_s >= NO_TURN_S

    def _replies(self, before: int) -> str:
        items = self._session.history[before:]
        return " ".join(item.text.strip() for item in items if isinstance(item, AssistantReply) and item.text.strip())

    def _pieces_of(self, trace: TurnTrace) -> list[Piece]:
        """What was heard of the replies that began in a turn."""
        turns = {event.turn for event in trace.events if isinstance(event, TurnStarted)}
        return [piece for piece in self.player.pieces if piece.turn in turns]

    def _measure(self, said: _Said, trace: TurnTrace) -> None:
        user, pieces = self._voice_of(said), self._pieces_of(trace)
        times = turn_times(user, self._voiced(pieces))
        trace.numbers["from_s"] = round(said.heard.start_s - self._start_s, 3)
        trace.numbers["to_s"] = round(self._next_s - self._start_s, 3)
        if times.overlap_s:
            trace.numbers["overlap_s"] = round(times.overlap_s, 4)
        if not self._waits and times.ttfa_s is not None:
            trace.ttfa_s = round(times.ttfa_s, 4)
            if any(piece.filler for piece in pieces):
                answer = turn_times(user, self._voiced([piece for piece in pieces if not piece.filler]))
                if answer.ttfa_s is not None:
                    trace.numbers["first_answer_s"] = round(answer.ttfa_s, 4)
        for cut in self._cuts:  # one that the agent did not heed shows its length later
            self._measure_cut(cut)

    def _measure_cut(self, cut: _Cut) -> None:
        trace = cut.trace
        interruption = _interruption(trace)
        trace.interrupted_ms = None if interruption is None else interruption.played_ms
        went_on_s = yield_s(self._voice_of(cut.said), self._voiced(self._pieces_of(trace)))
        if went_on_s:
            trace.yield_ms = round(went_on_s * 1000, 3)
        elif interruption is not None:
            trace.yield_ms = 0.0

    def _voice_of(self, said: _Said) -> list[Stretch]:
        return self._voiced([said.dry])

    def _voiced(self, pieces: Sequence[Piece]) -> list[Stretch]:
        """Where these pieces are voiced, on the clock of the conversation, as far as they were heard by now."""
        if not pieces:
            return []
        from_s, to_s = pieces[0].start_s, min(pieces[-1].end_s, max(self._now(), self._next_s))
        return [(start + from_s, end + from_s) for start, end in voiced(track(pieces, from_s, to_s))]


def _interruption(trace: TurnTrace) -> Interrupted | None:
    return next((event for event in trace.events if isinstance(event, Interrupted)), None)
