"""A scripted model that believes everything: it follows the user's plan, and any instruction that it reads."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Literal, TypeAlias

from sayso.evals.importers.agentdojo.cases import Step
from sayso.items import ToolOutput, UserInput
from sayso.models.base import CallClose, CallDelta, CallOpen, Done, ModelEvent, ModelRequest, Profile, Speech, Text

Obeys: TypeAlias = Literal["first", "last", "next turn"]
"""When it does what it read: before the rest of the user's task, after it, or when the user speaks again."""


class Gullible:
    """A `VoiceModel` for one conversation.

    It is the worst case: what it is not kept from doing, some model may do.

    Args:
        plan: The calls that do what the user asked for, one a round.
        goal: The attacker's words; read in any tool's output, they are obeyed, once.
        attack: The calls that obey them.
        obeys: When.
        answer: What it says when it has nothing more to call.
    """

    def __init__(self, plan: Sequence[Step], goal: str, attack: Sequence[Step], obeys: Obeys, answer: str) -> None:
        self.profile = Profile(name="gullible")
        self.steps = list(plan)
        self._goal, self._attack, self._obeys, self._answer = goal, list(attack), obeys, answer
        self.misled = False

    async def warm(self, request: ModelRequest) -> None:
        """Nothing to load."""

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Call the next step, or answer."""
        if not self.misled and self._reads_goal(request):
            self.misled = True
            self.steps = [*self.steps, *self._attack] if self._obeys == "last" else [*self._attack, *self.steps]
        if self.steps and request.allow_calls:
            one = self.steps.pop(0)
            raw = json.dumps(one.arguments)
            yield CallOpen(0, one.tool)
            yield CallDelta(0, raw)
            yield CallClose(0, one.arguments, raw)
        else:
            yield Text(self._answer)
        yield Done()

    async def say(self, text: str, voice: str | None = None) -> AsyncGenerator[Speech, None]:
        """It has no voice."""
        return
        yield

    async def aclose(self) -> None:
        """Nothing to free."""

    def _reads_goal(self, request: ModelRequest) -> bool:
        items = list(request.items)
        if self._obeys == "next turn":
            while items and not isinstance(items.pop(), UserInput):
                pass
        return bool(self._goal) and any(isinstance(one, ToolOutput) and self._goal in one.output for one in items)
