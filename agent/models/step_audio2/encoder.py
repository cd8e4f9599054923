"""The audio encoder and the adaptor: log-mel frames in, embeddings of the decoder out, one for 80 ms.

Attention looks both ways inside a piece, and the log-mel of a piece depends on its loudest frame. So a piece can be
encoded once it is complete and never before: `sayso.models.step_audio2.sounds` encodes whole pieces while the user
still speaks, which gives exactly what encoding everything at the end would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sayso.errors import AudioError, ModelError
from sayso.models.step_audio2.arithmetic import additive, as_written, conv1d
from sayso.models.step_audio2.config import EncoderConfig
from sayso.models.step_audio2.features import embedding_count, log_mel
from sayso.models.step_audio2.layout import ADAPTER_WIDTH

AUDIO_START: Final = 151_688
"""The id after which the reference puts a piece's embeddings."""


class Conv(nn.Module):
    """Weights of `conv1d`."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, kernel))
        self.bias = nn.Parameter(torch.empty(channels_out))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, channels_in) -> (batch, time', channels_out)."""
        return conv1d(x, self.weight, self.bias, self.stride)


class EncoderLayer(nn.Module):
    """One transformer block with its norms in front. Query, key and value are one product (the key's bias is 0)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, time, width), and what is added to the scores: (batch, 1, 1, time)."""
        batch, time, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, time, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        heard = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.out(heard.transpose(1, 2).reshape(batch, time, width))
        return x + self.down(functional.gelu(self.up(self.mlp_norm(x))))


class AudioEncoder(nn.Module):
    """Encoder and adaptor of Step-Audio 2.

    Each piece of a batch comes out as it does alone, and alone it comes out as from the reference. (In a batch of the
    reference, the end of a shorter piece reads into its padding, so its last embedding depends on what is beside it.)
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = Conv(config.mel_bins, config.width, 3)
        self.conv2 = Conv(config.width, config.width, 3, stride=2)
        self.positions = nn.Parameter(torch.empty(config.max_positions, config.width))
        self.layers = nn.ModuleList(EncoderLayer(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.adapter_conv = Conv(config.width, config.width, config.kernel_size, config.stride)
        self.adapter_up = nn.Linear(config.width, ADAPTER_WIDTH)
        self.adapter_out = nn.Linear(ADAPTER_WIDTH, config.output_size)

    def forward(self, mel: Tensor, frames: Tensor) -> Tensor:
        """Encode a batch of pieces. The shapes alone decide what runs, so that it can be a CUDA graph per length.

        Args:
            mel: Shape (batch, mel_bins, time); what lies beyond a piece's frames may be anything.
            frames: Frames of each piece, shape (batch,), int64, on the same device; 5 to ``time``.

        Returns:
            Shape (batch, ceil(time / 8) or so, output_size); the first `embedding_count(frames)` rows of each are the
            piece's.

        Raises:
            AudioError: ``time`` is longer than the position table allows (30 s).
        """
        with as_written(mel.device):
            return self._adapt(*self._encode(mel.transpose(1, 2).to(self.positions.dtype), frames))

    def _encode(self, x: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        # A piece of T frames has ceil(T / 2) positions, the last of which is no key: the reference takes two frames
        # off. What lies beyond is set to zero before each convolution, as where the piece ends with the tensor.
        if (x.shape[1] + 1) // 2 > self.config.max_positions:
            raise AudioError(
                f"A piece of {x.shape[1]} frames is longer than the encoder's {2 * self.config.max_positions}.",
                "Cut it with features.pieces.",
            )
        x = functional.gelu(self.conv1(_keep(x, frames)))
        x = functional.gelu(self.conv2(_keep(x, frames)))
        positions = (frames + 1) // 2
        x = x + self.positions[: x.shape[1]]
        mask = additive(_within(x.shape[1], (positions - 1).clamp(min=1)), x.dtype)[:, None, None]
        for layer in self.layers:
            x = layer(x, mask)
        half = x.shape[1] // 2
        pooled = (x[:, 0 : 2 * half : 2] + x[:, 1 : 2 * half : 2]) / 2
        return self.norm(pooled), positions // 2

    def _adapt(self, x: Tensor, lengths: Tensor) -> Tensor:
        x = functional.gelu(self.adapter_conv(_keep(x, lengths)))
        return self.adapter_out(functional.relu(self.adapter_up(x)))

    @torch.no_grad()
    def encode(self, sound: Sequence[NDArray[np.float32]]) -> list[Tensor]:
        """Encode pieces of sound together.

        Args:
            sound: Pieces from `features.pieces`, each of shape (n,) at 16 kHz.

        Returns:
            For each piece its embeddings, shape (`embedding_count`, output_size), on the encoder's device.
        """
        if not sound:
            return []
        device = self.positions.device
        mels = [log_mel(torch.as_tensor(piece, device=device), mel_bins=self.config.mel_bins) for piece in sound]
        frames = [mel.shape[1] for mel in mels]
        batch = torch.stack([functional.pad(mel, (0, max(frames) - mel.shape[1])) for mel in mels])
        out = self(batch, torch.tensor(frames, device=device))
        return [row[: embedding_count(count)] for row, count in zip(out, frames, strict=True)]


def splice(embedded: Tensor, ids: Sequence[int], audio: Sequence[Tensor]) -> Tensor:
    """Put encoded audio into an embedded prompt: piece by piece, right after each ``<audio_start>``.

    Args:
        embedded: The embeddings of ``ids``, shape (n, hidden).
        ids: The prompt.
        audio: The embeddings of each piece, shape (m, hidden) each, in the prompt's order.

    Returns:
        A new tensor of the same shape, with the audio in place of the placeholders.

    Raises:
        ModelError: The prompt has another number of places than there are pieces, or one is too short.
    """
    starts = [place + 1 for place, token in enumerate(ids) if token == AUDIO_START]
    if len(starts) != len(audio):
        raise ModelError(f"The prompt has places for {len(starts)} pieces of audio, and there are {len(audio)}.")
    spliced = embedded.clone()
    for number, (start, piece) in enumerate(zip(starts, audio, strict=True), 1):
        end = start + len(piece)
        if end > len(ids) or AUDIO_START in ids[start:end]:
            raise ModelError(f"The place for piece {number} of the audio is shorter than its {len(piece)} embeddings.")
        spliced[start:end] = piece
    return spliced


def _within(length: int, counts: Tensor) -> Tensor:
    return torch.arange(length, device=counts.device) < counts[:, None]


def _keep(x: Tensor, counts: Tensor) -> Tensor:
    return x.masked_fill(~_within(x.shape[1], counts)[..., None], 0)
