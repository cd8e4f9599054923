"""Attention of one new position a slot over a cache of fixed size: a few queries, many keys.

What counts is to read the keys and values once, as fast as memory gives them. One thread block for each key head would
be 4 blocks of a device with room for hundreds, so the positions have to be divided among blocks too. Three ways:

- ``flash``: FlashAttention's decoding kernel (Dao et al. 2023, "Flash-Decoding"), which does that and reads each slot
  no further than it is filled. For half precision on CUDA, where `flash_agrees` says that it works.
- ``split``: matrix products. The scores of all positions, their softmax in float32, then the values in pieces whose
  sums are added up. Anywhere, and in any dtype.
- ``whole``: torch's `scaled_dot_product_attention` under a mask. The fastest on a CPU.

All three give the same but for rounding. Queries of a group share one key head, and no key is copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from sayso.models.step_audio2.arithmetic import additive

Way: TypeAlias = Literal["flash", "split", "whole"]
PIECE: Final = 256
"""Positions in a piece of values: 8,192 of them are 32 pieces, times 4 heads."""
_HALVES: Final = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Reach:
    """What all layers of a step share: how far each slot sees.

    Attributes:
        way: How attention is computed.
        span: Rows of the cache that are looked at.
        mask: What is added to the scores, shape (slots, 1, 1, span); None for ``flash``.
        used: How many rows each slot sees, shape (slots,), int32; None but for ``flash``, as the next two.
        queries: Where each slot's query begins, shape (slots + 1,), int32.
        keys: Where each slot's keys begin, counted in rows of one head, shape (slots + 1,), int32.
    """

    way: Way
    span: int
    mask: Tensor | None = None
    used: Tensor | None = None
    queries: Tensor | None = None
    keys: Tensor | None = None

    @classmethod
    def of(cls, way: Way, positions: Tensor, span: int, cache: Tensor) -> Reach:
        """Work it out, without waiting for the device.

        Args:
            way: How attention is to be computed.
            positions: Of the queries, shape (slots,), int64.
            span: Rows of the cache that are looked at.
            cache: Keys of any layer, shape (slots, kv_heads, rows, head_dim).
        """
        if way == "flash":
            starts = torch.arange(len(positions) + 1, dtype=torch.int32, device=positions.device)
            used = (positions + 1).clamp(max=span).to(torch.int32)
            return cls(way, span, used=used, queries=starts, keys=starts * (cache.shape[1] * cache.shape[2]))
        seen = torch.arange(span, device=positions.device) <= positions[:, None]
        # The spare numbers behind each row of the mask are for the kernels of `whole`, and float32 for the softmax.
        dtype = cache.dtype if way == "whole" else torch.promote_types(cache.dtype, torch.float32)
        return cls(way, span, mask=additive(seen, dtype)[:, None, None])


def attend_cache(query: Tensor, keys: Tensor, values: Tensor, reach: Reach) -> Tensor:
    """Attend.

    Args:
        query: Shape (slots, heads, 1, head_dim).
        keys: All rows of one layer's cache, shape (slots, kv_heads, rows, head_dim).
        values: The same shape.
        reach: How far each slot sees.

    Returns:
        The shape of ``query``.
    """
    if reach.way == "flash":
        return _flash(query, keys, values, reach)
    assert reach.mask is not None
    keys, values = keys[:, :, : reach.span], values[:, :, : reach.span]
    if reach.way == "whole":
        return attend(query, keys, values, reach.mask)
    return _split(query, keys, values, reach.mask)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Grouped attention under a mask.

    The heads of a group become further queries of their one key head. `enable_gqa` under a mask has no fast kernel on
    CUDA; this way no key is copied either.

    Args:
        query: Shape (batch, heads, time, head_dim).
        key: Shape (batch, kv_heads, span, head_dim).
        value: The same shape.
        mask: What is added to the scores; shape (..., heads / kv_heads * time or 1, span).

    Returns:
        The shape of ``query``.
    """
    group, time = query.shape[1] // key.shape[1], query.shape[2]
    folded = query.reshape(query.shape[0], key.shape[1], group * time, query.shape[3])
    heard = functional.scaled_dot_product_attention(folded, key, value, attn_mask=mask)
    return heard.reshape(query.shape)


def _split(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    slots, heads, span, width = keys.shape
    folded = query.reshape(slots * heads, -1, width)
    scores = _product(folded, keys.flatten(0, 1).transpose(1, 2)).view(slots, heads, -1, span)
    weights = torch.add(mask, scores, alpha=width**-0.5).softmax(-1).to(values.dtype).flatten(0, 1)
    pieces = span // PIECE
    if pieces < 2 or span % PIECE:
        return torch.bmm(weights, values.flatten(0, 1)).reshape(query.shape)
    # (slots * heads, pieces) is no one stride, so the values are copied: all blocks of the device take part in that,
    # and what they wrote is still near when the product reads it.
    cut = values.reshape(slots * heads * pieces, PIECE, width)
    cut_weights = weights.view(slots * heads, -1, pieces, PIECE).transpose(1, 2).reshape(len(cut), -1, PIECE)
    parts = _product(cut_weights, cut).view(slots * heads, pieces, -1, width)
    return parts.sum(1).to(query.dtype).reshape(query.shape)


def _product(one: Tensor, other: Tensor) -> Tensor:
    """A batched matrix product whose result is in float32 or better."""
    wide = torch.promote_types(one.dtype, torch.float32)
    if one.dtype == wide:
        return torch.bmm(one, other)
    if one.is_cuda:
        product: Any = torch.bmm  # to pyright, this form is unknown
        return product(one, other, out_dtype=wide)
    return torch.bmm(one.to(wide), other.to(wide))


def _flash(query: Tensor, keys: Tensor, values: Tensor, reach: Reach) -> Tensor:
    slots, heads, rows, width = keys.shape
    # The kernel takes all slots' keys as rows of one table. In it a row of the cache's first head is followed by the
    # next row of that head, and the other heads lie `rows` further on.
    table = ((slots - 1) * heads * rows + rows, heads, width), (width, rows * width, 1)
    made = _flash_forward(
        query[:, :, 0],
        keys.as_strided(*table),
        values.as_strided(*table),
        reach.queries,
        reach.keys,
        1,
        reach.span,
        0.0,
        False,
        False,
        seqused_k=reach.used,
    )
    return made[0][:, :, None]


def _flash_forward(*arguments: Any, **named: Any) -> Any:
    """The operator behind `torch.nn.attention.varlen.varlen_attn`, which takes ``seqused_k`` in all versions."""
    operators: Any = torch.ops.aten
    return operators._flash_attention_forward(*arguments, **named)


def best_way(device: torch.device, dtype: torch.dtype, heads: int, kv_heads: int, width: int) -> Way:
    """The fastest way that works here."""
    if device.type != "cuda":
        return "whole"
    if dtype in _HALVES and flash_agrees(device, dtype, heads, kv_heads, width):
        return "flash"
    return "split"


@cache
def flash_agrees(device: torch.device, dtype: torch.dtype, heads: int, kv_heads: int, width: int) -> bool:
    """Whether ``flash`` runs on this device and gives what ``split`` gives.

    torch does not promise to keep the operator, and there are devices without the kernel; so it is tried.
    """
    generator = torch.Generator().manual_seed(0)
    shape = 3, kv_heads, 4 * PIECE + 1, width
    keys, values = (torch.randn(shape, generator=generator).to(device, dtype) for _ in range(2))
    query = torch.randn(3, heads, 1, width, generator=generator).to(device, dtype)
    positions = torch.tensor([0, PIECE + 3, 4 * PIECE - 1], device=device)
    try:
        found, expected = (
            attend_cache(query, keys, values, Reach.of(way, positions, 4 * PIECE, keys)).float()
            for way in ("flash", "split")
        )
    except (RuntimeError, TypeError, AttributeError):
        return False
    return bool((found - expected).abs().max() < 0.02)  # NaN is not less either
