"""The vocoder: a mel spectrogram at 50 Hz in, 24 kHz samples out (HiFTNet, Li et al. 2023).

Pitch from the mel, an excitation from the pitch, and a stack of transposed convolutions that turns both into the
magnitude and phase of a short inverse Fourier transform. Weights are stored in ``hift.pt`` as direction and length
(weight normalisation); `Vocoder.fused` multiplies them out once after loading.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from sayso.models.step_audio2.token2wav.sizes import MEL_CHANNELS, HiftSizes
from sayso.models.step_audio2.token2wav.source import Source

FFT = 16
HOP = 4
BINS = FFT // 2 + 1
UP_RATES = (8, 5, 3)
UP_KERNELS = (16, 11, 7)
RESBLOCK_KERNELS = (3, 7, 11)
SOURCE_KERNELS = (7, 7, 11)
DILATIONS = (1, 3, 5)
LIMIT = 0.99
LOUDEST_MAGNITUDE = 100.0
SLOPE = 0.1


class Snake(nn.Module):
    """x + sin²(ax) / a (Liu et al. 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, time) to the same."""
        alpha = self.alpha[:, None]
        return x + torch.sin(x * alpha).square() / (alpha + 1e-9)


class ResBlock(nn.Module):
    """Three pairs of convolutions, the first of each dilated, each pair with a residual."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList([_same(channels, channels, kernel, dilation=d) for d in DILATIONS])
        self.convs2 = nn.ModuleList([_same(channels, channels, kernel) for _ in DILATIONS])
        self.activations1 = nn.ModuleList([Snake(channels) for _ in DILATIONS])
        self.activations2 = nn.ModuleList([Snake(channels) for _ in DILATIONS])

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, time) to the same."""
        for first, second, before, between in zip(
            self.convs1, self.convs2, self.activations1, self.activations2, strict=True
        ):
            x = x + second(between(first(before(x))))
        return x


class Pitch(nn.Module):
    """Five convolutions with ELU, then linear: the pitch in Hz of each frame, 0 where there is no voice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [MEL_CHANNELS] + [channels] * 5
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers += [_same(width_in, width_out, 3), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """(batch, mel, frames) to (batch, frames)."""
        return self.classifier(self.condnet(mel).transpose(1, 2)).squeeze(2).abs()


class Vocoder(nn.Module):
    """The whole vocoder; its names are those of ``hift.pt`` behind the prefix ``generator.``."""

    def __init__(self, sizes: HiftSizes) -> None:
        super().__init__()
        widths = [sizes.channels // 2**depth for depth in range(len(UP_RATES) + 1)]
        self.m_source = Source()
        self.conv_pre = _same(MEL_CHANNELS, widths[0], 7)
        self.ups = nn.ModuleList(
            [
                _normed(nn.ConvTranspose1d(widths[i], widths[i + 1], kernel, rate, padding=(kernel - rate) // 2))
                for i, (rate, kernel) in enumerate(zip(UP_RATES, UP_KERNELS, strict=True))
            ]
        )
        downs = (UP_RATES[1] * UP_RATES[2], UP_RATES[2], 1)
        self.source_downs = nn.ModuleList([_down(width, rate) for width, rate in zip(widths[1:], downs, strict=True)])
        self.source_resblocks = nn.ModuleList(
            [ResBlock(width, kernel) for width, kernel in zip(widths[1:], SOURCE_KERNELS, strict=True)]
        )
        self.resblocks = nn.ModuleList([ResBlock(width, kernel) for width in widths[1:] for kernel in RESBLOCK_KERNELS])
        self.conv_post = _same(widths[-1], FFT + 2, 7)
        self.f0_predictor = Pitch(sizes.pitch_channels)

    def fused(self) -> Vocoder:
        """Multiply direction and length of every weight out, for good. Returns itself."""
        for module in list(self.modules()):
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")
        return self

    def forward(self, mel: Tensor, source: Tensor) -> Tensor:
        """Samples from a mel and its excitation.

        Args:
            mel: (batch, mel, frames).
            source: (batch, 1, 480 frames), see `Source`.

        Returns:
            (batch, 480 frames) in [-0.99, 0.99].
        """
        window = torch.hann_window(FFT, dtype=mel.dtype, device=mel.device)
        spectrum = torch.stft(source.squeeze(1), FFT, HOP, window=window, return_complex=True)
        excitation = torch.cat([spectrum.real, spectrum.imag], dim=1)
        x = self.conv_pre(mel)
        for stage, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            if stage == len(self.ups) - 1:
                x = F.pad(x, (1, 0), mode="reflect")
            x = x + self.source_resblocks[stage](self.source_downs[stage](excitation))
            first = stage * len(RESBLOCK_KERNELS)
            blocks = [self.resblocks[first + i](x) for i in range(len(RESBLOCK_KERNELS))]
            x = torch.stack(blocks).sum(dim=0) / len(blocks)
        x = self.conv_post(F.leaky_relu(x))
        magnitude, phase = x[:, :BINS].exp().clamp(max=LOUDEST_MAGNITUDE), x[:, BINS:].sin()
        wave: Tensor = cast(Any, torch).istft(torch.polar(magnitude, phase), FFT, HOP, window=window)
        return wave.clamp(-LIMIT, LIMIT)


def _normed(module: nn.Module) -> nn.Module:
    return cast(Any, parametrizations).weight_norm(module)


def _same(channels_in: int, channels_out: int, kernel: int, dilation: int = 1) -> nn.Module:
    padding = dilation * (kernel - 1) // 2
    return _normed(nn.Conv1d(channels_in, channels_out, kernel, dilation=dilation, padding=padding))


def _down(channels: int, rate: int) -> nn.Module:
    if rate == 1:
        return nn.Conv1d(FFT + 2, channels, 1)
    return nn.Conv1d(FFT + 2, channels, 2 * rate, rate, padding=rate // 2)
