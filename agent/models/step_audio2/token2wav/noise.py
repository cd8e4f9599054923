"""The random numbers of a session, reproducible from its seed and the same however a stream is cut into chunks.

The reference makes one unseeded table when it is built and hands every session, and after a while every chunk, the
same part of it. Here each session draws its own numbers in the order of time; the prompt's are fixed, so that its
state can be made once for a voice.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sayso.models.step_audio2.token2wav.sizes import MEL_CHANNELS
from sayso.models.step_audio2.token2wav.source import HARMONICS

_FLOW, _SOURCE, _PROMPT = 0, 1, 2


class Noise(Protocol):
    """Where a session's random numbers come from."""

    def frames(self, count: int, offset: int) -> Tensor:
        """Standard normal numbers for the next `count` mel frames, (count, mel) float32; `offset` frames are seen."""
        ...

    def samples(self, count: int) -> Tensor:
        """Standard normal numbers for the excitation of the next `count` samples, (count, 9) float32."""
        ...


class SeededNoise:
    """A session's own numbers."""

    def __init__(self, seed: int) -> None:
        # NumPy draws one number after the other, so that chunks of any size give the same ones; torch does not.
        self._flow = np.random.default_rng([_FLOW, seed])
        self._source = np.random.default_rng([_SOURCE, seed])

    def frames(self, count: int, offset: int) -> Tensor:
        """See `Noise.frames`."""
        del offset
        return torch.as_tensor(self._flow.standard_normal((count, MEL_CHANNELS), np.float32))

    def samples(self, count: int) -> Tensor:
        """See `Noise.samples`."""
        return torch.as_tensor(self._source.standard_normal((count, HARMONICS), np.float32))


class TableNoise:
    """The reference's way: a table read from as many frames on as the session sees; for comparison only."""

    def __init__(self, table: Tensor, seed: int = 0) -> None:
        self._table = table
        self._source = SeededNoise(seed)

    def frames(self, count: int, offset: int) -> Tensor:
        """See `Noise.frames`; the table is (frames, mel)."""
        return self._table[offset : offset + count]

    def samples(self, count: int) -> Tensor:
        """See `Noise.samples`."""
        return self._source.samples(count)


def prompt_noise(frames: int) -> Tensor:
    """The fixed numbers of a prompt: (frames, mel) float32."""
    rng = np.random.default_rng([_PROMPT])
    return torch.as_tensor(rng.standard_normal((frames, MEL_CHANNELS), np.float32))


def reference_table() -> Tensor:
    """A table as large as the reference's, but seeded: (30000, mel) float32."""
    return prompt_noise(30_000)
