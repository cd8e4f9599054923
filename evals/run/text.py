"""Text mode: turns in words, on a virtual clock. Replies have a length, as if they were spoken, but no sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np

from sayso.agent import Agent
from sayso.evals import records
from sayso.evals.checks import Family
from sayso.evals.run.clock import UnitLoop, computing, epoch_of
from sayso.evals.run.mode import Channel, Plan
from sayso.evals.run.trace import TurnTrace
from sayso.evals.scenario import Interruption, UserTurn
from sayso.events import AudioDelta, CallStarted, Event
from sayso.items import AssistantReply, Audio
from sayso.models.base import ModelEvent, ModelRequest, Profile, Speech, Text, VoiceModel
from sayso.session import Session
from sayso.testing import ScriptedModel

T = TypeVar("T")
RATE_HZ: Final = 4000
"""Of the silence in place of sound: the lowest that is a rate of sound here."""
CHARACTER_S: Final = 0.06
"""Of speech: about 160 English words a minute."""
WIDE_CHARACTER_S: Final = 0.2
"""Chinese: 300 characters a minute."""
STEP_S: Final = 0.25
"""How often it is looked whether late results came, while nobody speaks."""


class TextMode:
    """See the module."""

    name: records.Mode = "text"
    families: Sequence[Family] = ()

    def run(self, plan: Plan, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """On a virtual clock, or on the real one where the scenario says so."""
        clock = plan.loaded.scenario.clock
        factory = (lambda: UnitLoop(epoch_of(clock))) if clock.tick == "virtual" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main())

    def agent(self, agent: Agent, plan: Plan) -> Agent:
        """The agent with a voice that makes no sound."""
        return replace(agent, model=SilentVoice(agent.voice_model), voice=None)

    @asynccontextmanager
    async def open(self, session: Session, plan: Plan) -> AsyncGenerator[Channel]:
        """Begin a conversation."""
        await session.warm()
        yield TextChannel(session)


class TextChannel:
    """One conversation in words. What is played is reckoned: each piece after the one before, without a gap."""

    audio: str | None = None

    def __init__(self, session: Session) -> None:
        self._session = session
        self.numbers: dict[str, float] = {}

    async def turn(self, turn: UserTurn, index: int, then: UserTurn | None) -> TurnTrace:
        """Say one turn, and read the reply at the pace of speech."""
        loop = asyncio.get_running_loop()
        trace = TurnTrace(index, turn.user, answered=not turn.expect.ignored)
        await self._wait(turn.wait_s, trace)
        trace.began_s = trace.ended_s = round(loop.time(), 6)
        if not trace.answered:
            return trace
        before = len(self._session.history)
        playout = Playout()
        interrupt = None if then is None or then.expect.ignored else then.interrupt
        cutter = None if interrupt is None else asyncio.create_task(self._cut(interrupt, playout, trace))
        try:
            async with aclosing(self._session.stream(turn.user)) as events:
                async for event in events:
                    trace.events.append(event)
                    playout.take(event)
            playout.done.set()
            if cutter is not None:
                await cutter
        finally:
            if cutter is not None:
                cutter.cancel()
        if trace.interrupted_ms is None:
            await self._wait(max(0.0, playout.ends_s - loop.time()), trace, at_least_once=True)
        trace.reply = self._replies(before)
        return trace

    def _replies(self, before: int) -> str:
        items = self._session.history[before:]
        return " ".join(item.text.strip() for item in items if isinstance(item, AssistantReply) and item.text.strip())

    async def _cut(self, interrupt: Interruption, playout: Playout, trace: TurnTrace) -> None:
        """Wait for the moment at which the user begins to speak, and cut the reply off, if it goes on by then."""
        loop = asyncio.get_running_loop()
        began_s = await playout.moment(interrupt.after)
        if began_s is None:
            return
        await asyncio.sleep(max(0.0, began_s + interrupt.ms / 1000 - loop.time()))
        if playout.done.is_set() and loop.time() >= playout.ends_s:
            return  # it was over
        played_ms, cut_s = playout.played_ms(loop.time()), loop.time()
        if await self._session.interrupt(played_ms):
            trace.interrupted_ms = played_ms
            trace.yield_ms = round((loop.time() - cut_s) * 1000, 3)

    async def _wait(self, seconds: float, trace: TurnTrace, *, at_least_once: bool = False) -> None:
        """Let time pass, and hear what the agent says by itself."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + seconds
        while (left_s := until_s - loop.time()) > 1e-9 or at_least_once:
            at_least_once = False
            await asyncio.sleep(min(max(0.0, left_s), max(STEP_S, seconds / 100)))
            if not self._session.has_news:
                continue
            playout = Playout()
            async with aclosing(self._session.stream_news()) as events:
                async for event in events:
                    trace.events.append(event)
                    playout.take(event)
            until_s = max(until_s, playout.ends_s)


class Playout:
    """When the pieces of a reply are heard."""

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._began: dict[str, asyncio.Future[float]] = {}
        self._pieces: list[tuple[float, float]] = []  # when each is heard, from and to
        self.started_s = self._now()
        self.done = asyncio.Event()

    @property
    def ends_s(self) -> float:
        """When the last piece has been heard."""
        return self._pieces[-1][1] if self._pieces else 0.0

    def take(self, event: Event) -> None:
        """An event of the turn."""
        if isinstance(event, CallStarted):
            self._reached("call")
        if isinstance(event, AudioDelta):
            self._reached("agent_audio")
            from_s = max(self.ends_s, self._now())
            self._pieces.append((from_s, from_s + event.audio.seconds))

    def played_ms(self, now_s: float) -> int:
        """How much has been heard."""
        return round(sum(max(0.0, min(now_s, to_s) - from_s) for from_s, to_s in self._pieces) * 1000)

    async def moment(self, what: str) -> float | None:
        """Wait for what an interruption is counted from; None where the turn ends without it."""
        if what == "turn_start":
            return self.started_s
        waiter = self._began.setdefault(what, asyncio.get_running_loop().create_future())
        end = asyncio.ensure_future(self.done.wait())
        await asyncio.wait([waiter, end], return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        return waiter.result() if waiter.done() else None

    def _reached(self, what: str) -> None:
        waiter = self._began.setdefault(what, asyncio.get_running_loop().create_future())
        if not waiter.done():
            waiter.set_result(self._now())


class SilentVoice:
    """A model that writes, with a voice that takes time and makes no sound.

    Args:
        model: What thinks; it is not asked to speak.
    """

    def __init__(self, model: VoiceModel) -> None:
        self._model = model
        self._virtual = isinstance(model, ScriptedModel) or bool(getattr(model, "virtual", False))
        self.profile: Profile = replace(
            model.profile, speaks=True, says_lines=True, paces=False, sample_rate_hz=RATE_HZ, voices=(), voice_facts=()
        )

    async def warm(self, request: ModelRequest) -> None:
        """Let the model warm."""
        request = replace(request, speak=False, voice=None)
        if self._virtual:
            await self._model.warm(request)
        else:
            with computing():
                await self._model.warm(request)

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """What the model writes, each piece followed by its length in silence."""
        async with aclosing(self._model.respond(replace(request, speak=False, voice=None))) as events:
            while (event := await self._next(events)) is not None:
                if isinstance(event, Speech):
                    continue
                yield event
                if isinstance(event, Text):
                    yield Speech(silence(event.text), event.text)

    async def say(self, text: str, voice: str | None = None) -> AsyncGenerator[Speech, None]:
        """A line, as silence of its length."""
        yield Speech(silence(text), text)

    async def aclose(self) -> None:
        """The model is used again."""

    async def _next(self, events: AsyncGenerator[ModelEvent, None]) -> ModelEvent | None:
        if self._virtual:
            return await anext(events, None)
        with computing():
            return await anext(events, None)


def silence(text: str) -> Audio:
    """Silence as long as ``text`` takes to say."""
    wide = sum("\u3000" <= character <= "\u9fff" for character in text)
    seconds = wide * WIDE_CHARACTER_S + (len(text) - wide) * CHARACTER_S
    return Audio(np.zeros(round(seconds * RATE_HZ), np.float32), RATE_HZ)
