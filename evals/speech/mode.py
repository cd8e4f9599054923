"""Speech mode: users who speak, frame by frame, to an agent that is heard, on the real clock or a virtual one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

from sayso.agent import Agent
from sayso.errors import UsageError
from sayso.evals.checks import Family
from sayso.evals.checks import speech as speech_checks
from sayso.evals.run.clock import UnitLoop, epoch_of
from sayso.evals.run.mode import Plan
from sayso.evals.scenario import UserTurn
from sayso.evals.speech.cache import MOST_BYTES, ClipCache
from sayso.evals.speech.channel import RATE_HZ, SpeechChannel
from sayso.evals.speech.listen import Listener
from sayso.evals.speech.render import Clip, Renderer
from sayso.evals.speech.standin import StandIn, is_virtual
from sayso.models.embedded import Engine
from sayso.session import Session

T = TypeVar("T")
Pace: TypeAlias = Literal["real", "fast"]
Listening: TypeAlias = Literal["asked", "always", "never"]


class SpeechMode:
    """See the module.

    Args:
        pace: ``real``: as people talk, which is what times are measured at. ``fast``: silence and play-out take no
            time, on a virtual clock; models that really compute are waited for, and no time to first audio is told.
        engine: What speaks for the user.
        render: Whether clips are made that are not in the cache; where not, their units are void.
        listens_back: Whether rendered clips are heard back by a recogniser.
        listens: Whether replies are: where the scenario asks for it, always, never.
        clips: Where clips are kept; None: the user's cache.
        most_bytes: How much may be kept.
        renderer: In place of all that; it does not travel to other processes.
    """

    name: Final = "speech"
    families: Sequence[Family] = (speech_checks.check,)

    def __init__(
        self,
        *,
        pace: Pace = "real",
        engine: Engine = "kokoro",
        render: bool = True,
        listens_back: bool = True,
        listens: Listening = "asked",
        clips: Path | None = None,
        most_bytes: int = MOST_BYTES,
        renderer: Renderer | None = None,
    ) -> None:
        self._pace: Pace = pace
        self._listens: Listening = listens
        self._listener = Listener()
        self._renderer = renderer or Renderer(
            ClipCache(clips, most_bytes=most_bytes, may_make=render),
            engine=engine,
            listener=self._listener if listens_back else None,
        )
        self._said: dict[str, str] = {}  # by unit: what the user says now
        self._virtual: dict[str, bool] = {}  # by unit: whether its model computes in no time

    def run(self, plan: Plan, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """On the real clock or on a virtual one, as `pace` says; on the real one where the scenario says so."""
        clock = plan.loaded.scenario.clock
        is_real = self._pace == "real" or clock.tick == "real"
        with asyncio.Runner(loop_factory=None if is_real else lambda: UnitLoop(epoch_of(clock))) as runner:
            return runner.run(main())

    def agent(self, agent: Agent, plan: Plan) -> Agent:
        """The agent, with ears and a voice where it is a script that has none.

        Raises:
            UsageError: Its model does not hear or speak.
        """
        model = agent.voice_model
        profile = model.profile
        self._virtual[plan.unit] = is_virtual(model)
        if profile.hears and profile.speaks:
            return agent
        if not is_virtual(model):
            raise UsageError(
                f"The model {profile.name} does not {'speak' if profile.hears else 'hear'}.", "Use --mode text."
            )
        return replace(agent, model=StandIn(model, lambda: self._said.get(plan.unit, "")), voice=None)

    @asynccontextmanager
    async def open(self, session: Session, plan: Plan) -> AsyncGenerator[SpeechChannel]:
        """Begin a conversation. Its clips are rendered first, so that nobody waits for them.

        Raises:
            BadClip: A clip cannot be understood.
            CacheMiss: A clip is not there.
        """
        loaded, scenario = plan.loaded, plan.loaded.scenario

        async def clip_of(turn: UserTurn) -> Clip:
            return await asyncio.to_thread(self._renderer.clip, turn, loaded, plan.seed)

        for turn in scenario.turns:
            await clip_of(turn)
        await session.warm()
        virtual = self._virtual.pop(plan.unit, False)
        path = None if plan.out is None else plan.out / "audio" / f"{plan.unit}.flac"
        channel = SpeechChannel(
            session,
            clip=clip_of,
            tell=lambda words: self._said.__setitem__(plan.unit, words),
            computes=not virtual,
        )
        async with session.live(channel.take, sample_rate_hz=RATE_HZ, played_ms=channel.player.played_ms) as live:
            channel.begin(live)
            yield channel
            channel.end()
        self._said.pop(plan.unit, None)
        if path is not None:
            await asyncio.to_thread(channel.write, path)
            channel.audio = f"audio/{path.name}"
        if self._listens == "always" or (self._listens == "asked" and scenario.final.speech is not None):
            await asyncio.to_thread(channel.listen, self._listener)
