"""The flow model's estimator: a diffusion transformer that says which way the mel moves at one time of the flow.

Each block is attention, then a causal convolution, then a feed-forward layer, all modulated by the flow's time
(adaLN-Zero, Peebles & Xie 2023, section 3.2). It has no positions: order enters by the convolutions alone, so that the
keys and values of earlier chunks may stand in any order.

The network is a pure function: what a session keeps goes in and what it will keep comes out, nothing is written in
place. A chunk that is given up half way has changed nothing, and equal shapes make equal launches (see `graphs`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sayso.models.step_audio2.token2wav.sizes import MEL_CHANNELS, FlowSizes

TIME_CHANNELS = 256
TIME_SCALE = 1000.0
CONV_TAIL = 2


@dataclass(frozen=True, slots=True)
class Modulation:
    """All that depends on the flow's time.

    Attributes:
        blocks: (layers, 9 hidden), shifts, scales and gates of the blocks.
        final: (2 hidden,), shift and scale of the last layer.
    """

    blocks: Tensor
    final: Tensor


@dataclass(frozen=True, slots=True)
class Context:
    """Keys and values that a batch attends to besides its own frames, and the convolutions' tails.

    Attributes:
        keys: (layers, rows, heads, time, width).
        values: Likewise.
        seen: (rows, time) bool, False where a row is only padding; None where nothing is.
        tails: (layers, rows, 2 hidden, 2), of the first and the second convolution.
    """

    keys: Tensor
    values: Tensor
    seen: Tensor | None
    tails: Tensor


@dataclass(frozen=True, slots=True)
class Left:
    """What a chunk leaves for later ones: its keys and values, and the convolutions' next tails; see `Context`."""

    keys: Tensor
    values: Tensor
    tails: Tensor


class Attention(nn.Module):
    """Attention with a LayerNorm on each head's queries and keys."""

    def __init__(self, hidden: int, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(hidden, heads * width)
        self.to_k = nn.Linear(hidden, heads * width)
        self.to_v = nn.Linear(hidden, heads * width)
        self.q_norm = nn.LayerNorm(width)
        self.k_norm = nn.LayerNorm(width)
        self.proj = nn.Linear(heads * width, hidden)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend.

        Args:
            x: (rows, time, hidden).
            past: Keys and values (rows, heads, past time, width).
            mask: (rows, 1, 1, time + past time) bool; the new keys come first.

        Returns:
            (rows, time, hidden), and the new keys and values (rows, heads, time, width).
        """
        query = self.q_norm(self._split(self.to_q(x)))
        new_keys = self.k_norm(self._split(self.to_k(x)))
        new_values = self._split(self.to_v(x))
        keys, values = new_keys, new_values
        if past is not None:
            keys, values = torch.cat([keys, past[0]], dim=2), torch.cat([values, past[1]], dim=2)
        out = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return self.proj(out.transpose(1, 2).flatten(2)), new_keys, new_values

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)


class ConvBlock(nn.Module):
    """Causal convolution, LayerNorm, Mish, causal convolution. The names follow the public file."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.block = nn.ModuleDict(
            {"1": nn.Conv1d(hidden, hidden, 3), "3": nn.LayerNorm(hidden), "6": nn.Conv1d(hidden, hidden, 3)}
        )

    def forward(self, x: Tensor, tails: Tensor) -> tuple[Tensor, Tensor]:
        """(rows, time, hidden) and the tails (rows, 2 hidden, 2) to the same of the next chunk."""
        first, second = tails.chunk(2, dim=1)
        before = torch.cat([first, x.transpose(1, 2)], dim=2)
        inner = F.mish(self.block["3"](self.block["1"](before).transpose(1, 2)))
        between = torch.cat([second, inner.transpose(1, 2)], dim=2)
        new_tails = torch.cat([before[:, :, -CONV_TAIL:], between[:, :, -CONV_TAIL:]], dim=1)
        return self.block["6"](between).transpose(1, 2), new_tails


class Mlp(nn.Module):
    """Linear, GELU (tanh), linear."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden, inner)
        self.fc2 = nn.Linear(inner, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, time, hidden) to the same."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    """One block of the estimator."""

    def __init__(self, sizes: FlowSizes) -> None:
        super().__init__()
        hidden = sizes.estimator_hidden
        self.attn = Attention(hidden, sizes.estimator_heads, sizes.estimator_head_dim)
        self.mlp = Mlp(hidden, sizes.estimator_mlp)
        self.conv = ConvBlock(hidden)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 9 * hidden))

    def modulation(self, embedded: Tensor) -> Tensor:
        """(steps, hidden) to (steps, 9 hidden)."""
        return self.adaLN_modulation(embedded)

    def forward(
        self, x: Tensor, modulation: Tensor, past: tuple[Tensor, Tensor] | None, mask: Tensor | None, tails: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run; the modulation is (9 hidden,), the rest as in `Attention` and `ConvBlock`."""
        parts = modulation.chunk(9)
        (shift_a, scale_a, gate_a), (shift_m, scale_m, gate_m), (shift_c, scale_c, gate_c) = (
            parts[0:3],
            parts[3:6],
            parts[6:9],
        )
        out, keys, values = self.attn(_modulated(x, shift_a, scale_a), past, mask)
        x = x + gate_a * out
        out, tails = self.conv(_modulated(x, shift_c, scale_c), tails)
        x = x + gate_c * out
        x = x + gate_m * self.mlp(_modulated(x, shift_m, scale_m))
        return x, keys, values, tails


class TimeEmbedder(nn.Module):
    """Sinusoids of the flow's time, cosines first, then two linear layers."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_CHANNELS, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(self, times: Tensor) -> Tensor:
        """(steps,) float32 in [0, 1] to (steps, hidden)."""
        half = TIME_CHANNELS // 2
        rates = torch.exp(-math.log(10_000.0) * torch.arange(half, device=times.device) / half)
        angles = times[:, None] * TIME_SCALE * rates  # in float32: half precision cannot hold 1000 t
        waves = torch.cat([angles.cos(), angles.sin()], dim=1)
        return self.mlp(waves.to(next(self.mlp.parameters()).dtype))


class FinalLayer(nn.Module):
    """Modulated LayerNorm, then linear to the mel."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))
        self.linear = nn.Linear(hidden, MEL_CHANNELS)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """(rows, time, hidden) to (rows, time, mel)."""
        shift, scale = modulation.chunk(2)
        return self.linear(_modulated(x, shift, scale))


class Estimator(nn.Module):
    """The whole estimator."""

    def __init__(self, sizes: FlowSizes) -> None:
        super().__init__()
        hidden = sizes.estimator_hidden
        self.hidden = hidden
        self.t_embedder = TimeEmbedder(hidden)
        self.in_proj = nn.Linear(4 * MEL_CHANNELS, hidden)
        self.blocks = nn.ModuleList([Block(sizes) for _ in range(sizes.estimator_layers)])
        self.final_layer = FinalLayer(hidden)

    def modulations(self, times: Tensor) -> list[Modulation]:
        """What each time of the flow needs: the times are always the same, so this is worked out once.

        Args:
            times: (steps,) float32.
        """
        embedded = self.t_embedder(times)
        blocks = torch.stack([block.modulation(embedded) for block in self._blocks()], dim=1)
        final = self.final_layer.adaLN_modulation(embedded)
        return [Modulation(blocks[step], final[step]) for step in range(len(times))]

    def forward(
        self, x: Tensor, modulation: Modulation, context: Context | None, valid: Tensor | None = None
    ) -> tuple[Tensor, Left]:
        """Estimate the direction.

        Args:
            x: (rows, time, 4 mel): the mel on its way, the encoder's mel, the speaker, the known mel.
            modulation: Of this time.
            context: What earlier chunks left; None at the start.
            valid: (rows, time) bool where rows are padded on the right; None where they are not.

        Returns:
            The direction (rows, time, mel), and the keys, values and tails that these frames leave.
        """
        mask = _mask(x, context, valid)
        x = self.in_proj(x)
        tails = x.new_zeros(len(self.blocks), x.shape[0], 2 * self.hidden, CONV_TAIL)
        if context is not None:
            tails = context.tails
        keys: list[Tensor] = []
        values: list[Tensor] = []
        new_tails: list[Tensor] = []
        for depth, block in enumerate(self._blocks()):
            past = None if context is None else (context.keys[depth], context.values[depth])
            x, block_keys, block_values, block_tails = block(x, modulation.blocks[depth], past, mask, tails[depth])
            keys.append(block_keys)
            values.append(block_values)
            new_tails.append(block_tails)
        left = Left(torch.stack(keys), torch.stack(values), torch.stack(new_tails))
        return self.final_layer(x, modulation.final), left

    def _blocks(self) -> list[Block]:
        return cast("list[Block]", list(self.blocks))


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


def _mask(x: Tensor, context: Context | None, valid: Tensor | None) -> Tensor | None:
    if context is None:
        return None if valid is None else valid[:, None, None, :]
    if context.seen is None and valid is None:
        return None
    own = x.new_ones(x.shape[:2], dtype=torch.bool) if valid is None else valid
    seen = x.new_ones(x.shape[0], context.keys.shape[3], dtype=torch.bool) if context.seen is None else context.seen
    return torch.cat([own, seen], dim=1)[:, None, None, :]
