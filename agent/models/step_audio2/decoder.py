"""The language model: a Qwen2 decoder over a cache of fixed size.

The cache holds a row of keys and values for every position of every slot; a slot is one conversation. `prefill` appends
to one slot, `decode` moves all of them one token on. `decode` has fixed shapes and never asks the device for a value,
so it can be captured as a CUDA graph; nothing here depends on what is in the rows beyond a slot's length, so rolling
back is forgetting: the next call writes over them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sayso.errors import UsageError
from sayso.models.step_audio2.arithmetic import additive, as_written
from sayso.models.step_audio2.attention import Reach, Way, attend, attend_cache, best_way
from sayso.models.step_audio2.config import DecoderConfig

PREFILL_CHUNK: Final = 512
"""Positions that one prefill step computes at most: bounds its memory, and how long other slots wait."""


@dataclass(frozen=True, slots=True)
class KvCache:
    """Keys and values of all layers.

    Attributes:
        keys: Shape (layers, slots, kv_heads, max_length + 1, head_dim), already rotated. The last row takes what is
            written beyond the end: a conversation that is full can stand idle in a batch and lose nothing.
        values: The same shape.
    """

    keys: Tensor
    values: Tensor

    @classmethod
    def allocate(
        cls,
        config: DecoderConfig,
        *,
        slots: int,
        max_length: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.bfloat16,
    ) -> KvCache:
        """Make room for ``slots`` conversations of ``max_length`` positions (see `bytes_per_position`).

        Raises:
            UsageError: ``max_length`` is above what the model was made for.
        """
        if not 0 < max_length <= config.max_positions:
            raise UsageError(
                f"A cache of {max_length} positions does not fit the model, which has {config.max_positions}.",
                f"Ask for 1 to {config.max_positions}.",
            )
        shape = (config.layers, slots, config.kv_heads, max_length + 1, config.head_dim)
        # Zeros, not whatever was in memory: a masked NaN would still spoil the product with the values.
        return cls(torch.zeros(shape, device=device, dtype=dtype), torch.zeros(shape, device=device, dtype=dtype))

    @staticmethod
    def bytes_per_position(config: DecoderConfig, dtype: torch.dtype = torch.bfloat16) -> int:
        """What one position of one slot takes: 57,344 bytes for mini in bfloat16."""
        return 2 * config.layers * config.kv_heads * config.head_dim * dtype.itemsize

    @property
    def slots(self) -> int:
        """How many conversations fit."""
        return self.keys.shape[1]

    @property
    def max_length(self) -> int:
        """How many positions each of them has."""
        return self.keys.shape[3] - 1

    def view(self, first: int, count: int = 1) -> KvCache:
        """The same memory, seen as a cache of ``count`` slots from ``first`` on."""
        return KvCache(self.keys.narrow(1, first, count), self.values.narrow(1, first, count))

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` positions of one slot to another: how a shared prefix is paid for once."""
        for rows in (self.keys, self.values):
            rows[:, target, :, :length] = rows[:, source, :, :length]


class Norm(nn.Module):
    """RMS norm, computed in float32 whatever the dtype."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> the same."""
        return functional.rms_norm(x, self.weight.shape, self.weight, self.eps)


class DecoderLayer(nn.Module):
    """One transformer block. Query, key and value are one product, and so are gate and up."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.attention_norm = Norm(config.hidden_size, config.norm_eps)
        self.qkv = nn.Linear(config.hidden_size, (config.heads + 2 * config.kv_heads) * config.head_dim)
        self.out = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.mlp_norm = Norm(config.hidden_size, config.norm_eps)
        self.gate_up = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def project(self, x: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values.

        Args:
            x: Shape (batch, time, hidden).
            rotation: Shape (2, batch or 1, 1, time, head_dim), from `Decoder.rotations`.

        Returns:
            Shapes (batch, heads or kv_heads, time, head_dim).
        """
        qkv = self.qkv(self.attention_norm(x)).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        turned, value = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=1)
        cosine, sine = rotation
        turned = torch.addcmul(turned * cosine, turned.roll(self.head_dim // 2, -1), sine)
        return turned[:, : self.heads], turned[:, self.heads :], value

    def finish(self, x: Tensor, heard: Tensor) -> Tensor:
        """Everything after the attention: (batch, time, hidden), (batch, heads, time, head_dim) -> as ``x``."""
        x = x + self.out(heard.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * up)


class Decoder(nn.Module):
    """The 28 layers of mini, its embeddings and its head, which are not tied.

    Attributes:
        rotations: See `reset_rotations`.
        fused: Let torch.compile fuse what is between the matrix products of `decode`. All layers share what it makes,
            one version for each number of slots; the first call of each takes seconds.
    """

    rotations: Tensor
    fused: bool = False

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = Norm(config.hidden_size, config.norm_eps)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        rows = config.max_positions + 1  # the last is that of the cache's spare row
        self.register_buffer("rotations", torch.empty(2, rows, config.head_dim), persistent=False)
        self.reset_rotations()

    def reset_rotations(self) -> None:
        """Fill the table of cosines and sines: float32, then rounded to the weights' dtype, as in transformers."""
        half = torch.arange(0, self.config.head_dim, 2, dtype=torch.float32)
        frequencies = 1.0 / self.config.rope_theta ** (half / self.config.head_dim)
        angles = torch.arange(self.rotations.shape[1], dtype=torch.float32)[:, None] * frequencies
        cosine, sine = angles.cos(), angles.sin()
        if not self.rotations.is_meta:  # (a, b) turns to (a, b) * cosine + (b, a) * (-sine, sine)
            self.rotations.copy_(torch.stack((torch.cat((cosine, cosine), -1), torch.cat((-sine, sine), -1))))

    def embed(self, ids: Tensor) -> Tensor:
        """Ids of any shape -> embeddings, shape (*shape, hidden)."""
        return functional.embedding(ids, self.embedding)

    @torch.no_grad()
    def prefill(self, inputs: Tensor, cache: KvCache, slot: int, start: int, *, chunk: int = PREFILL_CHUNK) -> Tensor:
        """Append to a slot.

        Args:
            inputs: Ids, shape (n,), int64; or embeddings, shape (n, hidden), where audio was spliced in.
            cache: Where the slot is.
            slot: Which one.
            start: Its length so far. Anything after that is forgotten, so this is also how to roll back.
            chunk: Positions computed at once. The result does not depend on it, but for rounding.

        Returns:
            The logits after the last position, shape (vocab_size,), in the weights' dtype.

        Raises:
            UsageError: There is nothing to append, or it does not fit.
        """
        if not len(inputs) or start < 0 or start + len(inputs) > cache.max_length:
            raise UsageError(
                f"{len(inputs)} positions cannot follow {start} in a cache of {cache.max_length}.",
                "Shorten the conversation, or give the cache more positions.",
            )
        one = cache.view(slot)
        x = self.embedding[:0]
        with as_written(inputs.device):
            for begin in range(0, len(inputs), chunk):
                x = inputs[begin : begin + chunk]
                x = self.embed(x) if x.dim() == 1 else x.to(self.embedding.dtype)
                x = self._append(x[None], one, start + begin)
            return self.head(self.norm(x[:, -1]))[0]

    def _append(self, x: Tensor, cache: KvCache, start: int) -> Tensor:
        end = start + x.shape[1]
        rotation = self.rotations[:, None, None, start:end]
        mask = additive(self._causal(x.shape[1], end, x.device), x.dtype) if start else None
        for number, layer in enumerate(self._blocks()):
            query, key, value = layer.project(x, rotation)
            cache.keys[number, :, :, start:end] = key
            cache.values[number, :, :, start:end] = value
            if mask is None:  # at the start of a sequence the fast kernels know the mask themselves
                heard = functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
            else:
                heard = attend(query, cache.keys[number, :, :, :end], cache.values[number, :, :, :end], mask)
            x = layer.finish(x, heard)
        return x

    def _causal(self, queries: int, keys: int, device: torch.device) -> Tensor:
        """Which of ``keys`` positions the last ``queries`` of them see, for all heads of a group; bool."""
        seen = torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
        return seen.repeat(self.config.heads // self.config.kv_heads, 1)

    @torch.no_grad()
    def decode(
        self, ids: Tensor, positions: Tensor, cache: KvCache, *, span: int | None = None, way: Way = "whole"
    ) -> Tensor:
        """Move every slot of a cache one token on.

        A slot that has nothing to do takes part all the same: give it any id, and as its position its length, where
        the next token's row will be written over what is written now.

        Args:
            ids: One a slot, shape (slots,), int64.
            positions: Where each goes, shape (slots,), int64: the slot's length so far, ``max_length`` where it is
                full. What comes out for a position of ``span`` or above means nothing.
            cache: All slots, or a view of some.
            span: Rows of the cache that are looked at; all where None. Fewer are faster: capture a CUDA graph for
                each of a few spans, and take the smallest that holds every position.
            way: How attention is computed; see `sayso.models.step_audio2.attention`.

        Returns:
            Logits, shape (slots, vocab_size), in the weights' dtype.
        """
        span = cache.max_length if span is None else span
        with as_written(ids.device):
            x = self.embed(ids)[:, None]
            rotation = self.rotations[:, positions][:, :, None, None]
            slots = torch.arange(cache.slots, device=ids.device)
            reach = Reach.of(way, positions, span, cache.keys[0])
            project, finish = _fused() if self.fused else (DecoderLayer.project, DecoderLayer.finish)
            for number, layer in enumerate(self._blocks()):
                query, key, value = project(layer, x, rotation)
                keys, values = cache.keys[number], cache.values[number]
                keys[slots, :, positions] = key[:, :, 0]
                values[slots, :, positions] = value[:, :, 0]
                x = finish(layer, x, attend_cache(query, keys, values, reach))
            return self.head(self.norm(x[:, 0]))

    def _blocks(self) -> list[DecoderLayer]:
        layers: Any = self.layers
        return layers


class CachedDecoder:
    """A decoder and its cache: what `sayso.engine.Network` asks for.

    Args:
        decoder: What computes.
        cache: Of the same device and dtype.
        way: How a step's attention is computed; None: the fastest way that works there.
    """

    def __init__(self, decoder: Decoder, cache: KvCache, way: Way | None = None) -> None:
        self.decoder = decoder
        self.cache = cache
        config = decoder.config
        dtype = cache.keys.dtype
        self.way: Way = way or best_way(self.device, dtype, config.heads, config.kv_heads, config.head_dim)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.cache.keys.device

    @property
    def vocab_size(self) -> int:
        """Width of its logits."""
        return self.decoder.config.vocab_size

    @property
    def slots(self) -> int:
        """Sequences that the cache holds."""
        return self.cache.slots

    @property
    def max_len(self) -> int:
        """Positions of each sequence."""
        return self.cache.max_length

    def embed(self, ids: Tensor) -> Tensor:
        """The input vectors of ids: (n,), int64, to (n, hidden), on the device."""
        return self.decoder.embed(ids.to(self.device))

    def prefill(self, slot: int, inputs: Tensor, position: int) -> Tensor:
        """Write a run of positions of one slot (see `Decoder.prefill`)."""
        return self.decoder.prefill(inputs.to(self.device), self.cache, slot, position)

    def step(self, ids: Tensor, positions: Tensor, limit: int) -> Tensor:
        """Write one position in each of the first ``len(ids)`` slots (see `Decoder.decode`)."""
        return self.decoder.decode(ids, positions, self.cache.view(0, len(ids)), span=limit, way=self.way)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` positions of one slot's cache to another slot."""
        self.cache.copy(source, target, length)


@lru_cache
def _fused() -> tuple[Callable[..., tuple[Tensor, Tensor, Tensor]], Callable[..., Tensor]]:
    """The two halves of a layer, compiled; products of one row are tuned, which is what 8-bit weights gain from."""
    # No CUDA graphs of torch's own: the whole step is one of ours.
    options: dict[str, Any] = {"coordinate_descent_tuning": True, "triton.cudagraphs": False}
    compiler: Any = torch
    compiled = [
        compiler.compile(half, dynamic=False, fullgraph=True, options=options)
        for half in (DecoderLayer.project, DecoderLayer.finish)
    ]
    return compiled[0], compiled[1]
