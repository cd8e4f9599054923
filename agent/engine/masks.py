"""Bit masks over a vocabulary: int32 words, lowest bit first, as xgrammar writes them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def words(vocab_size: int) -> int:
    """How many int32 words a mask has."""
    return -(-vocab_size // 32)


def mask_of(ids: Iterable[int], vocab_size: int) -> Tensor:
    """The mask that allows these ids. On the CPU, int32 of shape (words,)."""
    bits = torch.zeros(words(vocab_size) * 32, dtype=torch.int64)
    bits[torch.tensor([*ids], dtype=torch.int64)] = 1
    packed = (bits.view(-1, 32) << torch.arange(32)).sum(1)
    return packed.to(torch.int32)  # wraps around: the highest bit is the sign


def all_but(ids: Iterable[int], vocab_size: int) -> Tensor:
    """The mask that allows everything else."""
    return ~mask_of(ids, vocab_size)


def allowed(masks: Tensor, vocab_size: int) -> Tensor:
    """Unpack masks on their device.

    Args:
        masks: int32 of shape (rows, words).
        vocab_size: How many ids there are.

    Returns:
        bool of shape (rows, vocab_size): the ids that may be drawn.
    """
    bits = masks[:, :, None] >> torch.arange(32, dtype=torch.int32, device=masks.device)
    return (bits & 1).bool().flatten(1)[:, :vocab_size]
