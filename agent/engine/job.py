"""A request on its way through the scheduler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from sayso.engine.cache import CachedSequence, Keys, keys_of
from sayso.engine.network import Network
from sayso.engine.request import Generation, Prompt, Usage, Vectors
from sayso.errors import UsageError

Deliver: TypeAlias = Callable[[int | Exception | None], None]
"""Takes each id, then None at the end or the error."""


@dataclass(slots=True, eq=False)
class Job:
    """What is known of one request.

    Attributes:
        request: What is asked for.
        keys: Of its prompt.
        limit: At most so many ids.
        deliver: Where its ids go.
        deadline_s: When its time is up, by the scheduler's clock.
        usage: What it took so far.
        cancelled: Nobody wants it any more; set from any thread.
        over: It has ended, one way or another.
        sequence: Its place in the cache, once it has one.
        drawn: An id was drawn for it that the host has not seen.
        last_id: The last one that it has seen.
        random: Where its random numbers come from.
    """

    request: Generation
    keys: Keys
    limit: int
    deliver: Deliver
    deadline_s: float | None = None
    usage: Usage = field(default_factory=Usage)
    cancelled: bool = False
    over: bool = False
    sequence: CachedSequence | None = None
    drawn: bool = False
    last_id: int = -1
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.request.sampling.seed)

    @property
    def place(self) -> CachedSequence:
        """Its place in the cache."""
        assert self.sequence is not None
        return self.sequence

    @property
    def is_last(self) -> bool:
        """Whether the id that was drawn is the last it may have."""
        return self.usage.generated_tokens + 1 >= self.limit


@dataclass(slots=True, eq=False)
class Fill:
    """A run of positions that has to be computed: for a request, or for a shared prefix.

    Attributes:
        prompt: Where the positions come from.
        keys: What the sequence holds in the end.
        sequence: Where they go.
        job: The request, or the one that pays for the prefix; None where nobody waits.
        done: Called at the end of a prefix, with the error if there was one; None for a request.
    """

    prompt: Prompt
    keys: Keys
    sequence: CachedSequence
    job: Job | None = None
    done: Callable[[Exception | None], None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether all of it is in the cache."""
        return len(self.sequence.keys) >= len(self.keys)


def checked(request: Generation, network: Network) -> tuple[Keys, int]:
    """The keys of a request's prompt, and how many ids it may have.

    Raises:
        UsageError: It cannot be run: no prompt, one that is too long, an id that the network has not.
    """
    keys = checked_prompt(request.prompt, network)
    if request.max_tokens < 1:
        raise UsageError(f"max_tokens is {request.max_tokens}.", "Give 1 or more.")
    return keys, min(request.max_tokens, network.max_len - 1 - len(keys))


def checked_prompt(prompt: Prompt, network: Network) -> Keys:
    """The keys of a prompt.

    Raises:
        UsageError: See `checked`.
    """
    vocab = network.vocab_size
    for piece in prompt:
        if isinstance(piece, Vectors):
            if piece.values.dim() != 2:
                raise UsageError(f"Vectors of shape {tuple(piece.values.shape)} are no prompt.", "Give (n, hidden).")
        elif piece and not 0 <= min(piece) <= max(piece) < vocab:
            raise UsageError(f"The prompt has an id that is not among 0 to {vocab - 1}.")
    keys = keys_of(prompt)
    if not keys:
        raise UsageError("The prompt is empty.", "Give at least one id.")
    if len(keys) > network.max_len - 2:
        raise UsageError(
            f"The prompt has {len(keys)} positions; {network.max_len - 2} have room.",
            "Drop the oldest turns, or shorten this one.",
        )
    return keys
