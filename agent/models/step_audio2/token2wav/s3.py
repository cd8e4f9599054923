"""The speech tokenizer of prompt voices (S3 v2 of CosyVoice 2): 16 kHz speech in, tokens at 25 Hz out.

Two strided convolutions, six transformer blocks with rotary positions and a memory branch (a depth-wise convolution
over the values, FSMN), and a quantiser of eight ternary digits (finite scalar quantisation, Mentzer et al. 2023).
Sound longer than 30 s is taken in windows that overlap by 4 s, of which the inner halves of the overlaps are dropped.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sayso.models.step_audio2.token2wav.acoustics import LOG_MEL_BINS
from sayso.models.step_audio2.token2wav.sizes import S3Sizes

HEAD_WIDTH = 64
MEMORY = 31
DIGITS = 8
LEVELS = 3
SQUASH = 0.9990000128746033
WINDOW_FRAMES = 3000
WINDOW_STEP = 2600
WINDOW_DROP = 50
"""Tokens dropped at each inner border of two windows: half of the overlap."""


class MemoryAttention(nn.Module):
    """Attention, plus a memory of the values around each step."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.heads = hidden // HEAD_WIDTH
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.value = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden)
        self.fsmn_block = nn.Conv1d(hidden, hidden, MEMORY, padding=MEMORY // 2, groups=hidden, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """(batch, time, hidden) to the same; the rotation is the cosines and sines (time, 64)."""
        value = self.value(x)
        memory = self.fsmn_block(value.transpose(1, 2)).transpose(1, 2) + value
        query = _rotated(self._split(self.query(x)), rotation)
        key = _rotated(self._split(self.key(x)), rotation)
        out = F.scaled_dot_product_attention(query, key, self._split(value))
        return self.out(out.transpose(1, 2).flatten(2)) + memory

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, HEAD_WIDTH).transpose(1, 2)


class Block(nn.Module):
    """Pre-norm attention, then a pre-norm feed-forward layer."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.attn = MemoryAttention(hidden)
        self.attn_ln = nn.LayerNorm(hidden, eps=1e-5)
        self.mlp = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden))
        self.mlp_ln = nn.LayerNorm(hidden, eps=1e-5)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """(batch, time, hidden) to the same."""
        x = x + self.attn(self.attn_ln(x), rotation)
        return x + self.mlp(self.mlp_ln(x))


class _Encoder(nn.Module):
    def __init__(self, sizes: S3Sizes) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(LOG_MEL_BINS, sizes.hidden, 3, stride=2, padding=1)
        self.conv2 = nn.Conv1d(sizes.hidden, sizes.hidden, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList([Block(sizes.hidden) for _ in range(sizes.layers)])

    def forward(self, mel: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        rotation = _rotation(x.shape[1], x)
        for block in self.blocks:
            x = block(x, rotation)
        return x


class _Codebook(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.project_down = nn.Linear(hidden, DIGITS)


class _Quantizer(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self._codebook = _Codebook(hidden)

    def forward(self, x: Tensor) -> Tensor:
        digits = (self._codebook.project_down(x).float().tanh() * SQUASH).round().long() + 1
        return (digits * LEVELS ** torch.arange(DIGITS, device=x.device)).sum(dim=-1)


class SpeechTokenizer(nn.Module):
    """The whole tokenizer, with the names of the public torch port."""

    def __init__(self, sizes: S3Sizes) -> None:
        super().__init__()
        self.encoder = _Encoder(sizes)
        self.quantizer = _Quantizer(sizes.hidden)

    @torch.inference_mode()
    def forward(self, mel: Tensor) -> Tensor:
        """Tokens of one recording.

        Args:
            mel: (128, frames) float32, see `acoustics.log_mel`.

        Returns:
            (`token_count(frames)`,) int64 in [0, 6561), up to 30 s; a token or so more or less beyond.
        """
        if mel.shape[1] <= WINDOW_FRAMES:
            return self._tokens(mel)
        starts = list(range(0, mel.shape[1], WINDOW_STEP))
        parts: list[Tensor] = []
        for start in starts:
            tokens = self._tokens(mel[:, start : start + WINDOW_FRAMES])
            first = 0 if start == 0 else WINDOW_DROP
            parts.append(tokens[first:] if start == starts[-1] else tokens[first:-WINDOW_DROP])
        return torch.cat(parts)

    def _tokens(self, mel: Tensor) -> Tensor:
        return self.quantizer(self.encoder(mel[None]))[0]


def token_count(frames: int) -> int:
    """Tokens of a recording of so many log-mel frames (at most 3000)."""
    for _ in range(2):
        frames = (frames - 1) // 2 + 1
    return frames


def _rotation(time: int, like: Tensor) -> tuple[Tensor, Tensor]:
    rates = 10_000.0 ** -(torch.arange(0, HEAD_WIDTH, 2, device=like.device).float() / HEAD_WIDTH)
    angles = torch.arange(time, device=like.device).float()[:, None] * rates.repeat(2)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def _rotated(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * rotation[0] + torch.cat([-second, first], dim=-1) * rotation[1]
