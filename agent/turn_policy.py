"""How turns are run, and the moments of a turn that are timed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import get_args

from sayso.errors import UsageError
from sayso.tools.guard import AfterUntrusted


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
        after_untrusted: What becomes of a write in a turn that read text from outside (a web page, a mail), which may
            hold instructions that are not the user's: a person is asked (``ask``), it is refused (``forbid``), or it
            runs (``allow``).
        approval_s: Seconds that a question for approval waits for its answer.
        thinking_tokens: Most tokens of a thought before the model answers or calls, where the agent thinks.

    Raises:
        UsageError: A value that cannot be: a misspelt rule must not let writes through.
    """

    max_rounds: int = 4
    filler_after_s: float = 0.5
    after_untrusted: AfterUntrusted = "ask"
    approval_s: float = 30.0
    thinking_tokens: int = 512

    def __post_init__(self) -> None:
        """Check the values."""
        rules = get_args(AfterUntrusted)
        if self.after_untrusted not in rules:
            raise UsageError(f"TurnPolicy has after_untrusted={self.after_untrusted!r}.", f"Use {', '.join(rules)}.")
        for name in ("max_rounds", "filler_after_s", "approval_s", "thinking_tokens"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not value >= 0:
                raise UsageError(f"TurnPolicy has {name}={value!r}.", "Give a number of 0 or more.")


USUAL = TurnPolicy()
"""What an agent that says nothing gets."""
