"""The vocoder's excitation: harmonics of the pitch where there is voice, noise where there is none.

A neural source filter (Wang et al. 2019, section III-A) as HiFTNet has it (Li et al. 2023): eight overtones, phases
added up from frame to frame and drawn as straight lines between the middles of frames. The reference's random phases
fall on samples that its interpolation never reads, so there are none here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sayso.models.step_audio2.token2wav.sizes import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

HARMONICS = 9
"""The fundamental and eight overtones."""
AMPLITUDE = 0.1
NOISE_VOICED = 0.003
NOISE_UNVOICED = AMPLITUDE / 3
VOICED_ABOVE_HZ = 10.0


class Source(nn.Module):
    """Mixes the harmonics into one excitation; ``m_source`` in the public file."""

    def __init__(self) -> None:
        super().__init__()
        self.l_linear = nn.Linear(HARMONICS, 1)

    def forward(self, pitch_hz: Tensor, noise: Tensor, start_cycles: Tensor | None = None) -> Tensor:
        """Excite.

        Args:
            pitch_hz: (batch, frames).
            noise: (batch, 480 frames, 9), standard normal.
            start_cycles: (batch, 9) float64, the phases at the start in cycles; None for zero.

        Returns:
            (batch, 1, 480 frames).
        """
        cycles = frame_cycles(pitch_hz, start_cycles)
        drawn = F.interpolate(cycles.transpose(1, 2), scale_factor=float(SAMPLES_PER_FRAME), mode="linear")
        waves = AMPLITUDE * torch.sin(2 * math.pi * drawn.remainder(1.0)).transpose(1, 2).to(pitch_hz.dtype)
        voiced = (pitch_hz > VOICED_ABOVE_HZ).to(pitch_hz.dtype)
        voiced = voiced.repeat_interleave(SAMPLES_PER_FRAME, dim=1)[:, :, None]
        level = voiced * NOISE_VOICED + (1 - voiced) * NOISE_UNVOICED
        return torch.tanh(self.l_linear(waves * voiced + level * noise)).transpose(1, 2)


def frame_cycles(pitch_hz: Tensor, start_cycles: Tensor | None) -> Tensor:
    """The phase of each harmonic in the middle of each frame.

    Added up in float64: in float32 a minute of phases would be a hundredth of a cycle off.

    Args:
        pitch_hz: (batch, frames).
        start_cycles: (batch, 9) float64, the phase in the middle of the frame before.

    Returns:
        (batch, frames, 9) float64, in cycles.
    """
    harmonics = torch.arange(1, HARMONICS + 1, device=pitch_hz.device, dtype=torch.float64)
    step = (pitch_hz.double()[:, :, None] * harmonics / SAMPLE_RATE_HZ).remainder(1.0)
    cycles = SAMPLES_PER_FRAME * step.cumsum(dim=1)
    return cycles if start_cycles is None else cycles + start_cycles[:, None]
