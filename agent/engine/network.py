"""What the decode loop asks of a network: a decoder with a static KV cache of `slots` sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # this module is imported without torch
    import torch
    from torch import Tensor


@runtime_checkable
class Network(Protocol):
    """A decoder whose cache holds ``slots`` sequences of ``max_len`` positions.

    The caller keeps account of what is in the cache; the network only writes where it is told to. A position may be
    written again at any time (that is how a sequence is rolled back), and nothing at or above the position of an id
    may have any influence on that id.
    """

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    @property
    def vocab_size(self) -> int:
        """Width of its logits."""
        ...

    @property
    def slots(self) -> int:
        """Sequences that the cache holds."""
        ...

    @property
    def max_len(self) -> int:
        """Positions of each sequence."""
        ...

    def embed(self, ids: Tensor) -> Tensor:
        """The input vectors of ids: int64 of shape (n,) to floating of shape (n, hidden), on the device."""
        ...

    def prefill(self, slot: int, inputs: Tensor, position: int) -> Tensor:
        """Write a run of positions of one slot.

        Args:
            slot: Which sequence.
            inputs: Ids, int64 of shape (n,), or input vectors, floating of shape (n, hidden); n >= 1.
            position: Of the first of them; all positions below are in the cache.

        Returns:
            The logits of the last one, shape (vocab_size,), on the device.
        """
        ...

    def step(self, ids: Tensor, positions: Tensor, limit: int) -> Tensor:
        """Write one position in each of the first ``rows`` slots, without waiting for the device: it is captured.

        Args:
            ids: int64 of shape (rows,), rows <= slots, on the device. The same memory in every call, on CUDA.
            positions: int64 of shape (rows,), on the device. Some may be at or above ``limit``: rows that nobody reads.
            limit: Positions from here on need not be attended to: a static bound that keeps attention short.

        Returns:
            Logits of shape (rows, vocab_size), on the device.
        """
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` positions of one slot's cache to another slot."""
        ...
