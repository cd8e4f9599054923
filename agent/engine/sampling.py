"""Drawing ids from logits, for many rows at once, on the device and without waiting for it.

Order and formulas are those of transformers (`generation/logits_process.py`): repetition penalty, mask, temperature,
top-p; then one uniform number a row picks from the cumulated probabilities. The numbers come from the request's own
generator, so that a seed gives the same ids from the same logits whatever the other rows do.

Nothing is sorted. Top-p asks for the probability at which enough is gathered: it is found digit by digit, as a radix
sort would, from sums alone, in all rows at once and in the same time whatever the logits are. Probabilities are whole
numbers there, so sums are exact in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sayso.engine.masks import allowed

NEVER = float("-inf")

_UNIT = 2.0**48  # of whole numbers for probabilities: exact down to 2**-25, and the sum of all has room in a double
_SHIFTS = (15, 0)  # a float32 from 0 to 1 has 30 bits, in the order of the numbers: two digits of 15
_DIGIT = 1 << 15
_BLOCK = 1 << 10


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
        logits: Floating, of shape (rows, vocab), penalties and masks applied.
        rows: How.
        uniform: float32 of shape (rows, 1), in [0, 1).

    Returns:
        int64 of shape (rows,).
    """
    greedy = rows.temperature == 0
    chances = (logits.float() / torch.where(greedy, 1.0, rows.temperature)).softmax(1)
    bits, weights = chances.view(torch.int32), (chances * _UNIT).long()
    total = weights.sum(1, keepdim=True)
    # An id stays as long as those before it make up less than top_p (`TopPLogitsWarper`, seen from the other end).
    wanted = (rows.top_p.double() * total).ceil().long()
    least, above, ties = _nucleus(bits, weights, wanted)
    tie = (least.view(torch.float32) * _UNIT).long().clamp(min=1)
    kept = above + torch.minimum(ties, -((above - wanted) // tie) * tie)
    aim = (uniform.double() * kept).long()
    # First come the ids above the least probability, then those that have just it, both in the order of ids.
    early = aim < above
    drawn = _pick(
        weights.where(torch.where(early, bits > least, bits == least), 0), torch.where(early, aim, aim - above)
    )
    return torch.where(greedy, likeliest(logits)[:, None], drawn).squeeze(1)


def _nucleus(bits: Tensor, weights: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where a nucleus ends.

    Args:
        bits: Probabilities, seen as int32, shape (rows, vocab).
        weights: The same as whole numbers.
        wanted: An id belongs to the nucleus if those that are likelier have less than this together; shape (rows, 1).

    Returns:
        The bits of the least probability in it; the weights of all ids above that; those of all that have just it.
        Each of shape (rows, 1).
    """
    least = torch.zeros_like(wanted, dtype=torch.int32)
    above, ties = torch.zeros_like(wanted), weights.sum(1, keepdim=True)
    anywhere = torch.arange(bits.shape[1], device=bits.device) % _DIGIT
    for shift in _SHIFTS:
        digits = (bits >> shift) - least * _DIGIT
        shares = weights * ((digits >= 0) & (digits < _DIGIT))
        # What adds nothing may add it anywhere: were it all one place, the device would do it one by one.
        places = torch.where(shares > 0, digits.long(), anywhere)
        sums = torch.zeros(len(bits), _DIGIT, dtype=torch.int64, device=bits.device).scatter_add_(1, places, shares)
        higher = above + ties - sums.cumsum(1)
        digit = (higher >= wanted).sum(1, keepdim=True).clamp(max=_DIGIT - 1)
        above, ties = higher.gather(1, digit), sums.gather(1, digit)
        least = least * _DIGIT + digit.int()
    return least, above, ties


def _pick(weights: Tensor, aim: Tensor) -> Tensor:
    """The first id up to which a row's weights come to more than ``aim``: (rows, vocab), (rows, 1) -> (rows, 1).

    In two strides, since cumulating a long row takes a device long.
    """
    vocab = weights.shape[1]
    blocks = functional.pad(weights, (0, -vocab % _BLOCK)).view(len(weights), -1, _BLOCK)
    sums = blocks.sum(2)
    ends = sums.cumsum(1)
    block = (ends <= aim).sum(1, keepdim=True).clamp(max=blocks.shape[1] - 1)
    aim = aim - (ends - sums).gather(1, block)
    inside = blocks.gather(1, block[:, :, None].expand(-1, -1, _BLOCK)).squeeze(1)
    place = (inside.cumsum(1) <= aim).sum(1, keepdim=True)
    return (block * _BLOCK + place).clamp(max=vocab - 1)  # whatever the logits are, it is an id


def likeliest(logits: Tensor) -> Tensor:
    """The likeliest id a row: int64 of shape (rows,)."""
    return logits.argmax(1)
