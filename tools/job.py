"""`Job`: a call whose tool exists and whose arguments fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sayso.items import ToolCall
from sayso.tools.journal import canonical
from sayso.tools.policy import PLAIN
from sayso.tools.tool import Mode, Tool


@dataclass(slots=True)
class Job:
    """A call that was admitted.

    Attributes:
        call: As the model made it.
        tool: What it calls.
        arguments: As ``tool.validate`` returned them: what a person agrees to, and what the function gets.
        agreed: The question that a person said yes to.
    """

    call: ToolCall
    tool: Tool
    arguments: dict[str, Any]
    agreed: str = ""

    @property
    def at_once(self) -> bool:
        """Whether it can run without a task: on the loop, harmless, and never waiting for a place."""
        tool = self.tool
        if tool.mode is not Mode.INLINE or tool.limit is not None or tool.effect.changes_something:
            return False
        return tool.policy is PLAIN or not (tool.policy.background or tool.policy.retries)

    @property
    def canonical(self) -> str:
        """The arguments as JSON that is equal where they are."""
        return canonical(self.arguments)

    def as_call(self, call_id: str) -> Job:
        """The same under another id: a person agreed to it in a later turn."""
        return replace(self, call=replace(self.call, call_id=call_id))
