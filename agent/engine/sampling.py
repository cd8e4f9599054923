"""Drawing ids from logits, for many rows at once, on the device and without waiting for it.

Order and formulas are those of transformers (`generation/logits_process.py`): repetition penalty, mask, temperature,
top-p; then one uniform number a row picks from the cumulated probabilities. The numbers come from the request's own
generator, so that a seed gives the same ids from the same logits whatever the other rows do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sayso.engine.masks import allowed

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Rows:
    """How each row is drawn; every tensor is on the device, float32 of shape (rows, 1).

    Attributes:
        temperature: 0 takes the likeliest id.
        top_p: See `sayso.engine.Sampling`.
        penalty: See `sayso.engine.Sampling`.
    """

    temperature: Tensor
    top_p: Tensor
    penalty: Tensor

    def first(self, rows: int) -> Rows:
        """The first rows."""
        return Rows(self.temperature[:rows], self.top_p[:rows], self.penalty[:rows])


def penalise(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """Lower the logits of ids that were there before (`RepetitionPenaltyLogitsProcessor`).

    Args:
        logits: Shape (rows, vocab).
        seen: bool of the same shape.
        penalty: Shape (rows, 1).
    """
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def mask_out(logits: Tensor, masks: Tensor) -> Tensor:
    """Give ids that a mask forbids no chance; ``masks`` is int32 of shape (rows, words)."""
    return logits.masked_fill(~allowed(masks, logits.shape[1]), NEVER)


def draw(logits: Tensor, rows: Rows, uniform: Tensor) -> Tensor:
    """Draw an id a row.

    Args:
        logits: float32 of shape (rows, vocab), penalties and masks applied.
        rows: How.
        uniform: float32 of shape (rows, 1), in [0, 1).

    Returns:
        int64 of shape (rows,).
    """
    greedy = rows.temperature == 0
    ordered, ids = torch.sort(logits / torch.where(greedy, 1.0, rows.temperature), dim=1, descending=True, stable=True)
    chances = ordered.softmax(1)
    # An id stays as long as those before it make up less than top_p (`TopPLogitsWarper`, seen from the other end).
    kept = chances.masked_fill(chances.cumsum(1) - chances >= rows.top_p, 0.0)
    total = kept.cumsum(1)
    last = (kept > 0).sum(1, keepdim=True) - 1  # rounding may put the aim at the very end
    place = (total <= uniform * total[:, -1:]).sum(1, keepdim=True)
    drawn = ids.gather(1, torch.minimum(place, last).clamp(min=0))
    return torch.where(greedy, likeliest(logits)[:, None], drawn).squeeze(1)


def likeliest(logits: Tensor) -> Tensor:
    """The likeliest id a row: int64 of shape (rows,)."""
    return logits.argmax(1)
