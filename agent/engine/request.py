"""What is asked of an engine, and what it answers with."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from sayso.errors import UsageError

if TYPE_CHECKING:  # this module is imported without torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Vectors:
    """A piece of a prompt that is given as input vectors: encoded audio.

    Attributes:
        values: Shape (n, hidden), in the network's dtype; on any device. On CUDA they are computed, or being computed
            on the default stream; they stay as they are.
        key: Names the content: pieces with the same key and length hold the same vectors.
        token_id: The id that stands for each of them where ids count (repetition penalty).
    """

    values: Tensor = field(repr=False, compare=False)
    key: str
    token_id: int


Piece: TypeAlias = Sequence[int] | Vectors
Prompt: TypeAlias = Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an id is drawn; the order and formulas are those of transformers' logits processors.

    Attributes:
        temperature: 0 takes the likeliest id.
        top_p: Only the likeliest ids that make up this probability are drawn from.
        repetition_penalty: Ids of the prompt and of the output so far have positive logits divided, negative ones
            multiplied by it.
        seed: The same seed draws the same ids from the same logits, whatever else runs; None: another one each time.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"temperature is {self.temperature}.", "Give 0 (greedy) or a positive number.")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is {self.top_p}.", "Give a number above 0, up to 1.")
        if not (math.isfinite(self.repetition_penalty) and self.repetition_penalty > 0):
            raise UsageError(f"repetition_penalty is {self.repetition_penalty}.", "Give a positive number; 1 is none.")


GREEDY = Sampling()


class Guide(Protocol):
    """Restricts what a request generates, id by id. Used by one request, in the engine's thread."""

    def constraint(self) -> int | Tensor | None:
        """What the next id may be.

        Returns:
            None: anything. An int: that id. A tensor on the CPU, int32 of shape (ceil(vocab_size / 32),): the ids whose
            bits are set, lowest bit first. It must stay as it is until `accept`.
        """
        ...

    def accept(self, token_id: int) -> None:
        """Take note of the id that was generated."""
        ...


@dataclass(slots=True)
class Usage:
    """What a request took so far.

    Attributes:
        reused_tokens: Positions of the prompt that were in the session's cache or in a shared prefix.
        prefilled_tokens: Positions that were computed for it, those of a shared prefix that was not there included.
        generated_tokens: Ids generated.
    """

    reused_tokens: int = 0
    prefilled_tokens: int = 0
    generated_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """One request: continue a prompt.

    The prompt is always the whole conversation; what the session's cache holds of its beginning is not computed again.
    A prompt that differs from it somewhere rolls the cache back to there.

    Attributes:
        session: Whose cache to use; requests of one session run one after another.
        prompt: Ids and vectors; at least one position.
        shared_tokens: So many positions at the start are shared with other sessions, and kept apart for them.
        sampling: How ids are drawn.
        max_tokens: At most so many ids.
        stop_ids: An id of these ends the output; it is the last one that is streamed.
        guide: Restricts the output, or None.
        timeout_s: From the request to the last id; None: no limit.
    """

    session: str
    prompt: Prompt
    shared_tokens: int = 0
    sampling: Sampling = GREEDY
    max_tokens: int = 1024
    stop_ids: frozenset[int] = frozenset()
    guide: Guide | None = None
    timeout_s: float | None = None


class Stream(Protocol):
    """The ids of one request, each as soon as it is known; an asynchronous iterator."""

    def __aiter__(self) -> AsyncIterator[int]:
        """Itself."""
        ...

    async def __anext__(self) -> int:
        """The next id."""
        ...

    @property
    def usage(self) -> Usage:
        """What the request took so far."""
        ...

    async def aclose(self) -> None:
        """Stop generating. Idempotent; what was computed stays in the session's cache."""
        ...


@runtime_checkable
class Engine(Protocol):
    """Continues prompts of many sessions at once. Every method may be called from any event loop."""

    def generate(self, request: Generation) -> Stream:
        """Stream the ids that continue ``request.prompt``. Closing the stream stops the computation.

        Raises:
            UsageError: At once: the request cannot be, such as a prompt that is longer than the context.
            ModelError: From the stream: the network failed, there was no memory, or the time was up.
        """
        ...

    async def warm(self, prefix: Prompt) -> None:
        """Compute a shared prefix, unless it is there."""
        ...

    def release(self, session: str) -> None:
        """Forget a session: its place goes to others. Idempotent."""
        ...

    async def aclose(self) -> None:
        """Stop everything. Idempotent."""
        ...
