"""How turns are run, and the moments of a turn that are timed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
            hold instructions that are not the user's: a person is asked (``ask``), or it is refused (``forbid``).
        approval_s: Seconds that a question for approval waits for its answer.
    """

    max_rounds: int = 4
    filler_after_s: float = 0.5
    after_untrusted: AfterUntrusted = "ask"
    approval_s: float = 30.0


USUAL = TurnPolicy()
"""What an agent that says nothing gets."""
