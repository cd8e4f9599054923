"""`Mode`: how a user's turn becomes input, and what is heard of the reply. Text here, speech elsewhere."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from sayso.agent import Agent
from sayso.errors import UsageError
from sayso.evals import records
from sayso.evals.checks import Family
from sayso.evals.loader import Loaded
from sayso.evals.run.trace import TurnTrace
from sayso.evals.scenario import UserTurn
from sayso.session import Session

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One unit before it is run.

    Attributes:
        unit: Its id.
        seed: Of all chance in it.
        out: The run's folder; a mode may leave files below it.
    """

    unit: str
    loaded: Loaded
    mode: records.Mode
    trial: int
    seed: int
    out: Path | None = None


class Channel(Protocol):
    """One conversation in a mode."""

    async def turn(self, turn: UserTurn, index: int, then: UserTurn | None) -> TurnTrace:
        """Say one turn, and listen until its reply was heard or the next turn interrupts it.

        Args:
            turn: What the user says.
            index: Of the turn.
            then: What the user says next, where that is known: its ``interrupt`` says when this reply is cut off.

        Returns:
            The turn, without its world.

        Raises:
            SaysoError: The session failed.
        """
        ...

    @property
    def audio(self) -> str | None:
        """The recording so far: its path from the run's folder."""
        ...

    @property
    def numbers(self) -> dict[str, float]:
        """What was measured over the whole conversation."""
        ...


class Mode(Protocol):
    """A way of talking to an agent.

    Attributes:
        name: As in a unit.
        families: Checks that it adds.
    """

    name: records.Mode
    families: Sequence[Family]

    def run(self, plan: Plan, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a unit on the clock that it needs."""
        ...

    def agent(self, agent: Agent, plan: Plan) -> Agent:
        """The agent as this mode talks to it."""
        ...

    def open(self, session: Session, plan: Plan) -> AbstractAsyncContextManager[Channel]:
        """Begin a conversation."""
        ...


def make_mode(name: records.Mode, options: Mapping[str, Any]) -> Mode:
    """The mode of a name.

    Args:
        name: ``text``, or ``speech``: `sayso.evals.speech.mode.SpeechMode`.
        options: Keywords of its class.

    Raises:
        UsageError: It is not installed.
    """
    if name == "text":
        from sayso.evals.run.text import TextMode

        return TextMode()
    try:
        speech: Any = importlib.import_module("sayso.evals.speech.mode")
    except ModuleNotFoundError as error:
        raise UsageError(f"Speech needs {error.name}.", "Install it with: pip install 'sayso[evals,local]'") from error
    return cast("Mode", speech.SpeechMode(**options))
