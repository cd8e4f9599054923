"""`TurnOptions`: what is different in one turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from sayso.errors import UsageError
from sayso.items import JsonObject
from sayso.models.base import ModelRequest
from sayso.turn_policy import TurnPolicy

ToolChoice: TypeAlias = str
"""``auto``; ``none``: answer in words; ``required``: call some tool first; else the name of the tool to call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOptions:
    """Overrides of an agent's settings for one turn; None leaves what the session has.

    Attributes:
        instructions: In place of the agent's.
        speak: Whether the reply is spoken.
        voice: One of the model's voices.
        tools: Names of the tools that may be called; the others do not exist in this turn.
        tool_choice: See `ToolChoice`.
        max_tokens: Most tokens of one round.
        temperature: For models that sample.
        seed: For models that sample.
        answer_schema: JSON Schema of the answer in words; see `sayso.models.base.ModelRequest.answer_schema`.
    """

    instructions: str | None = None
    speak: bool | None = None
    voice: str | None = None
    tools: Sequence[str] | None = None
    tool_choice: ToolChoice = "auto"
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    answer_schema: JsonObject | None = None

    def applied(self, request: ModelRequest, policy: TurnPolicy) -> tuple[ModelRequest, TurnPolicy, bool]:
        """The request and the policy of this turn, and whether it has to begin with a call.

        Raises:
            UsageError: There is no such tool.
        """
        names = self.tools
        if self.tool_choice not in ("auto", "none", "required"):
            names = [self.tool_choice]
        tools = request.tools
        if names is not None:
            known = {spec.name: spec for spec in tools}
            if missing := [name for name in names if name not in known]:
                raise UsageError(f"There is no tool {missing[0]!r}.", f"The tools are: {', '.join(known) or 'none'}.")
            tools = tuple(spec for spec in tools if spec.name in set(names))
        changed = replace(
            request,
            tools=tools,
            instructions=request.instructions if self.instructions is None else self.instructions,
            speak=request.speak if self.speak is None else self.speak,
            seed=request.seed if self.seed is None else self.seed,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            answer_schema=self.answer_schema,
        )
        if self.tool_choice == "none":
            return changed, replace(policy, max_rounds=0), False
        return changed, policy, self.tool_choice != "auto" and bool(tools)
