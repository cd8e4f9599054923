"""What became of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sayso.items import CallStatus, ToolOutput


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """How a call ended.

    Attributes:
        call_id: The call's id.
        name: The tool's name as the model wrote it.
        status: ``ok``, or why not; see `sayso.items.CallStatus`.
        output: The text for the model: short, neutralised, never a traceback.
        value: What the tool returned, where ``status`` is ``ok``.
        say: What may be spoken of it without asking the model, or None.
        seconds: How long the tool ran; 0 where it did not.
        silent: It worked and is not to be answered (`sayso.tools.policy.Policy.reply`).
        untrusted: ``output`` comes from outside (`sayso.tools.policy.Policy.untrusted`).
        question: What the tool itself wants a person to agree to, in its words (`sayso.errors.NeedsApproval`).
    """

    call_id: str
    name: str
    status: CallStatus
    output: str
    value: Any = None
    say: str | None = None
    seconds: float = 0.0
    silent: bool = False
    untrusted: bool = False
    question: str = ""

    @property
    def item(self) -> ToolOutput:
        """The conversation's item for it."""
        return ToolOutput(self.call_id, self.name, self.output, self.status)
