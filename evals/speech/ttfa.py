"""Who spoke when, measured on a recording: time to first audio, yields, talking at the same time.

The user's and the agent's sound go through one gate (`sayso.evals.speech.gate`). Files' ends say little: the silence
that many voices begin with would make an agent look faster than it is heard to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sayso.evals.speech.gate import Stretch


@dataclass(frozen=True, slots=True)
class TurnTimes:
    """What was measured of one turn, in seconds.

    Attributes:
        user: First and last voiced sample of the user; None: nothing was said.
        agent: First and last of the reply; None: silence.
        ttfa_s: From the user's last sample to the agent's first that came after the user began; below 0 where the
            agent did not let the user finish.
        overlap_s: How long both spoke.
    """

    user: Stretch | None
    agent: Stretch | None
    ttfa_s: float | None
    overlap_s: float


def turn_times(user: Sequence[Stretch], agent: Sequence[Stretch]) -> TurnTimes:
    """Measure a turn.

    Args:
        user: Where the user is voiced in this turn.
        agent: Where the agent is, from the user's first sample on; what it said before that is not its answer.
    """
    said = (user[0][0], user[-1][1]) if user else None
    answer = [stretch for stretch in agent if said is None or stretch[0] >= said[0]]
    reply = (answer[0][0], answer[-1][1]) if answer else None
    ttfa_s = None if said is None or reply is None else reply[0] - said[1]
    return TurnTimes(said, reply, ttfa_s, overlap_s(user, agent))


def yield_s(user: Sequence[Stretch], reply: Sequence[Stretch]) -> float | None:
    """How long the agent went on once the user had begun to interrupt.

    Args:
        user: The interruption.
        reply: The whole reply that it interrupts, and nothing else: a breath between two sentences is no yield.

    Returns:
        From the first voiced sample of the user to the last of the reply; 0 where the reply was over by then, None
        where there is no interruption or no reply.
    """
    if not user or not reply:
        return None
    return max(0.0, reply[-1][1] - user[0][0])


def overlap_s(one: Sequence[Stretch], other: Sequence[Stretch]) -> float:
    """How long both are voiced."""
    return sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in one for b in other)
