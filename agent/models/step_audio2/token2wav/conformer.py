"""The flow model's encoder: speech tokens at 25 Hz in, conditioning at 50 Hz out.

A stack of pre-norm transformer layers with relative positions (the conformer of ESPnet without its convolution), then
upsampling by two, then a second stack. The encoder looks `lookahead` tokens ahead and is otherwise run either over a
whole utterance or chunk by chunk; in the second case every chunk sees all that came before it and itself.

Keys and values of earlier chunks are kept with their positions, so that distances stay true when old ones are dropped.
Source of the formulas: Dai et al. 2019 (Transformer-XL), section 3.3; ESPnet's relative positional encoding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sayso.models.step_audio2.token2wav.sizes import FRAMES_PER_TOKEN, FlowSizes


@dataclass(frozen=True, slots=True)
class StackCache:
    """Keys and values of one stack of layers for one session; tensors are never written to.

    Attributes:
        keys: (layers, heads, time, head width).
        values: Likewise.
        positions: (time,) int64, the absolute position of each.
    """

    keys: Tensor
    values: Tensor
    positions: Tensor

    def extended(self, keys: Tensor, values: Tensor, positions: Tensor) -> StackCache:
        """This cache with newer keys behind it."""
        return StackCache(
            torch.cat([self.keys, keys], dim=2),
            torch.cat([self.values, values], dim=2),
            torch.cat([self.positions, positions]),
        )

    def trimmed(self, first: int, last: int) -> StackCache:
        """The `first` oldest and the `last` newest entries."""
        if self.positions.shape[0] <= first + last:
            return self
        keep = torch.cat([torch.arange(first), torch.arange(-last, 0) + self.positions.shape[0]])
        keep = keep.to(self.positions.device)
        return StackCache(self.keys[:, :, keep], self.values[:, :, keep], self.positions[keep])


@dataclass(frozen=True, slots=True)
class EncoderCache:
    """What the encoder keeps of one session between chunks.

    Attributes:
        lookahead: (hidden, 2), the tail that the second convolution of the look-ahead needs.
        upsample: (hidden, 4), the tail that the upsampling convolution needs.
        tokens: Keys and values of the layers at 25 Hz.
        frames: Keys and values of the layers at 50 Hz.
    """

    lookahead: Tensor
    upsample: Tensor
    tokens: StackCache
    frames: StackCache

    def trimmed(self, prompt_tokens: int, window_tokens: int) -> EncoderCache:
        """Keep the prompt and the newest `window_tokens`."""
        return EncoderCache(
            self.lookahead,
            self.upsample,
            self.tokens.trimmed(prompt_tokens, window_tokens),
            self.frames.trimmed(prompt_tokens * FRAMES_PER_TOKEN, window_tokens * FRAMES_PER_TOKEN),
        )


@dataclass(frozen=True, slots=True)
class _Attended:
    """What all layers of a stack share: who attends to whom, and how far apart they are.

    Attributes:
        table: (distances, hidden), the sinusoids of every distance that occurs.
        index: (batch, queries, keys), the row of `table` for each pair.
        mask: (batch, 1, 1 or queries, keys) bool, True where a key may be seen; None where all may.
    """

    table: Tensor
    index: Tensor
    mask: Tensor | None


class RelativeAttention(nn.Module):
    """Multi-head attention with relative positions: score = ((q+u)k + (q+v)p) / sqrt(width)."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads, self.width = heads, hidden // heads
        self.linear_q = nn.Linear(hidden, hidden)
        self.linear_k = nn.Linear(hidden, hidden)
        self.linear_v = nn.Linear(hidden, hidden)
        self.linear_out = nn.Linear(hidden, hidden)
        self.linear_pos = nn.Linear(hidden, hidden, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(heads, self.width))
        self.pos_bias_v = nn.Parameter(torch.zeros(heads, self.width))

    def forward(
        self, x: Tensor, attended: _Attended, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend.

        Args:
            x: (batch, time, hidden).
            attended: Masks and distances over the past keys and then the new ones.
            past: Keys and values (batch, heads, past time, width) of earlier chunks.

        Returns:
            The output (batch, time, hidden) and the new keys and values (batch, heads, time, width).
        """
        batch, time, _ = x.shape
        query = self.linear_q(x).view(batch, time, self.heads, self.width)
        new_keys = self._split(self.linear_k(x))
        new_values = self._split(self.linear_v(x))
        keys, values = new_keys, new_values
        if past is not None:
            keys = torch.cat([past[0], keys], dim=2)
            values = torch.cat([past[1], values], dim=2)
        places = self.linear_pos(attended.table).view(-1, self.heads, self.width)
        by_distance = torch.einsum("bthd,rhd->bhtr", query + self.pos_bias_v, places)
        index = attended.index[:, None].expand(-1, self.heads, -1, -1)
        bias = by_distance.gather(3, index) / math.sqrt(self.width)
        if attended.mask is not None:
            bias = bias.masked_fill(~attended.mask, float("-inf"))
        out = F.scaled_dot_product_attention((query + self.pos_bias_u).transpose(1, 2), keys, values, attn_mask=bias)
        return self.linear_out(out.transpose(1, 2).reshape(batch, time, -1)), new_keys, new_values

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, self.width).transpose(1, 2)


class FeedForward(nn.Module):
    """Linear, SiLU, linear."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(hidden, inner)
        self.w_2 = nn.Linear(inner, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, hidden) to the same."""
        return self.w_2(F.silu(self.w_1(x)))


class EncoderLayer(nn.Module):
    """Pre-norm attention, then pre-norm feed-forward. The norms' eps is 1e-12, as in the reference."""

    def __init__(self, sizes: FlowSizes) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(sizes.hidden, sizes.encoder_heads)
        self.feed_forward = FeedForward(sizes.hidden, sizes.feed_forward)
        self.norm_ff = nn.LayerNorm(sizes.hidden, eps=1e-12)
        self.norm_mha = nn.LayerNorm(sizes.hidden, eps=1e-12)

    def forward(
        self, x: Tensor, attended: _Attended, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `RelativeAttention.forward`."""
        out, keys, values = self.self_attn(self.norm_mha(x), attended, past)
        x = x + out
        return x + self.feed_forward(self.norm_ff(x)), keys, values


class Embed(nn.Module):
    """Linear, LayerNorm, times the root of the width."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(hidden, hidden), nn.LayerNorm(hidden, eps=1e-5))
        self.scale = math.sqrt(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, hidden) to the same."""
        return self.out(x) * self.scale


class Lookahead(nn.Module):
    """Two convolutions, the first of which sees the tokens ahead, the second the two behind; with a residual."""

    def __init__(self, hidden: int, lookahead: int) -> None:
        super().__init__()
        self.lookahead = lookahead
        self.conv1 = nn.Conv1d(hidden, hidden, lookahead + 1)
        self.conv2 = nn.Conv1d(hidden, hidden, 3)

    def forward(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """Run over a chunk.

        Args:
            x: (batch, time + lookahead, hidden).
            tail: (batch, hidden, 2), what the chunk before left; zeros at the start.

        Returns:
            (batch, time, hidden), and the tail for the next chunk.
        """
        ahead = torch.cat([tail, F.leaky_relu(self.conv1(x.transpose(1, 2)))], dim=2)
        return self.conv2(ahead).transpose(1, 2) + x[:, : x.shape[1] - self.lookahead], ahead[:, :, -2:]


class Upsample(nn.Module):
    """Each step twice, then a causal convolution over five."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(hidden, hidden, 2 * FRAMES_PER_TOKEN + 1)

    def forward(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, time, hidden) to (batch, 2 time, hidden); the tail (batch, hidden, 4) as in `Lookahead`."""
        wide = torch.cat([tail, x.transpose(1, 2).repeat_interleave(FRAMES_PER_TOKEN, dim=2)], dim=2)
        return self.conv(wide).transpose(1, 2), wide[:, :, -2 * FRAMES_PER_TOKEN :]


class Encoder(nn.Module):
    """The whole encoder; `forward` runs whole utterances, `chunk` continues sessions."""

    def __init__(self, sizes: FlowSizes) -> None:
        super().__init__()
        self.embed = Embed(sizes.hidden)
        self.pre_lookahead_layer = Lookahead(sizes.hidden, sizes.lookahead)
        self.encoders = nn.ModuleList([EncoderLayer(sizes) for _ in range(sizes.encoder_layers)])
        self.up_layer = Upsample(sizes.hidden)
        self.up_embed = Embed(sizes.hidden)
        self.up_encoders = nn.ModuleList([EncoderLayer(sizes) for _ in range(sizes.up_layers)])
        self.after_norm = nn.LayerNorm(sizes.hidden, eps=1e-5)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encode whole utterances.

        Args:
            x: (batch, tokens, hidden), embedded tokens, padded on the right.
            lengths: (batch,) int64.

        Returns:
            (batch, 2 tokens, hidden). What lies behind a length means nothing.
        """
        valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        # Behind a length the look-ahead sees zeros, as it does behind the end of a single utterance.
        x = self.embed(x) * valid[:, :, None]
        x, _ = self.pre_lookahead_layer(F.pad(x, (0, 0, 0, self.pre_lookahead_layer.lookahead)), _zeros(x, 2))
        x = self._run(self.encoders, x, valid)
        x, _ = self.up_layer(x, _zeros(x, 2 * FRAMES_PER_TOKEN))
        x = self._run(self.up_encoders, self.up_embed(x), valid.repeat_interleave(FRAMES_PER_TOKEN, dim=1))
        return self.after_norm(x)

    def chunk(
        self, x: Tensor, caches: Sequence[EncoderCache | None], *, last: bool
    ) -> tuple[Tensor, list[EncoderCache]]:
        """Continue sessions by one chunk of equal length each.

        Args:
            x: (batch, tokens, hidden), embedded tokens; unless this is the last chunk, the final `lookahead` of them
                are only looked at and come again with the next chunk.
            caches: One a session; None at its start.
            last: Nothing follows: zeros are looked at instead.

        Returns:
            (batch, 2 (tokens - lookahead) or 2 tokens, hidden), and the sessions' next caches.
        """
        x = self.embed(x)
        if last:
            x = F.pad(x, (0, 0, 0, self.pre_lookahead_layer.lookahead))
        x, lookahead = self.pre_lookahead_layer(x, _tails(x, [c and c.lookahead for c in caches], 2))
        x, tokens = self._continue(self.encoders, x, [c and c.tokens for c in caches])
        x, upsample = self.up_layer(x, _tails(x, [c and c.upsample for c in caches], 2 * FRAMES_PER_TOKEN))
        x, frames = self._continue(self.up_encoders, self.up_embed(x), [c and c.frames for c in caches])
        new = [EncoderCache(lookahead[i], upsample[i], tokens[i], frames[i]) for i in range(len(caches))]
        return self.after_norm(x), new

    def _run(self, layers: nn.ModuleList, x: Tensor, valid: Tensor) -> Tensor:
        positions = torch.arange(x.shape[1], device=x.device)[None]
        attended = _attended(positions, positions, valid, x)
        for layer in layers:
            x, _, _ = layer(x, attended, None)
        return x

    def _continue(
        self, layers: nn.ModuleList, x: Tensor, caches: Sequence[StackCache | None]
    ) -> tuple[Tensor, list[StackCache]]:
        starts = [0 if c is None or not len(c.positions) else int(c.positions[-1]) + 1 for c in caches]
        steps = torch.arange(x.shape[1], device=x.device)
        new_positions = torch.tensor(starts, device=x.device)[:, None] + steps
        past = _padded(caches)
        if past is None:
            keys, valid = new_positions, None
        else:
            keys = torch.cat([past.positions, new_positions], dim=1)
            valid = F.pad(past.valid, (0, x.shape[1]), value=True)
        attended = _attended(new_positions, keys, valid, x)
        made: list[tuple[Tensor, Tensor]] = []
        for depth, layer in enumerate(layers):
            x, new_keys, new_values = layer(x, attended, None if past is None else past.layer(depth))
            made.append((new_keys, new_values))
        all_keys = torch.stack([k for k, _ in made])
        all_values = torch.stack([v for _, v in made])
        result: list[StackCache] = []
        for row, cache in enumerate(caches):
            own = StackCache(all_keys[:, row], all_values[:, row], new_positions[row])
            result.append(own if cache is None else cache.extended(own.keys, own.values, own.positions))
        return x, result


@dataclass(frozen=True, slots=True)
class _Padded:
    """The caches of a batch, padded to one length: keys and values (layers, batch, heads, time, width)."""

    keys: Tensor
    values: Tensor
    positions: Tensor
    valid: Tensor

    def layer(self, depth: int) -> tuple[Tensor, Tensor]:
        return self.keys[depth], self.values[depth]


def _padded(caches: Sequence[StackCache | None]) -> _Padded | None:
    kept = [c for c in caches if c is not None]
    if not kept:
        return None
    longest = max(c.positions.shape[0] for c in kept)
    layers, heads, _, width = kept[0].keys.shape
    keys = kept[0].keys.new_zeros(layers, len(caches), heads, longest, width)
    values = torch.zeros_like(keys)
    positions = kept[0].positions.new_zeros(len(caches), longest)
    valid = torch.zeros(len(caches), longest, dtype=torch.bool, device=keys.device)
    for row, cache in enumerate(caches):
        if cache is not None:
            time = cache.positions.shape[0]
            keys[:, row, :, :time], values[:, row, :, :time] = cache.keys, cache.values
            positions[row, :time], valid[row, :time] = cache.positions, True
    return _Padded(keys, values, positions, valid)


def _attended(queries: Tensor, keys: Tensor, valid: Tensor | None, like: Tensor) -> _Attended:
    """Distances and masks; queries (1 or batch, q), keys (1 or batch, k) positions, valid (batch, k)."""
    distance = queries[:, :, None] - keys[:, None, :]
    lowest = int(distance.min())
    table = sinusoids(torch.arange(lowest, int(distance.max()) + 1, device=like.device), like.shape[2])
    index = (distance - lowest).expand(like.shape[0], -1, -1)
    mask = None if valid is None or bool(valid.all()) else valid[:, None, None, :]
    return _Attended(table.to(like.dtype), index, mask)


def sinusoids(distances: Tensor, width: int) -> Tensor:
    """Sine in the even channels, cosine in the odd ones, of each distance: (distances, width) float32."""
    rates = torch.exp(torch.arange(0, width, 2, device=distances.device) * (-math.log(10_000.0) / width))
    angles = distances[:, None].float() * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def _zeros(x: Tensor, width: int) -> Tensor:
    return x.new_zeros(x.shape[0], x.shape[2], width)


def _tails(x: Tensor, tails: Sequence[Tensor | None], width: int) -> Tensor:
    blank = x.new_zeros(x.shape[2], width)
    return torch.stack([blank if tail is None else tail for tail in tails])
