"""G.711, the sound of telephones: µ-law and A-law, 8 kHz, 8 bits a sample (ITU-T G.711, 1988).

Both are tables. Decoding has 256 entries; encoding has one for each 16-bit sample: the code whose value is nearest
in the segment that the standard prescribes.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 8000
Law: TypeAlias = Literal["pcmu", "pcma"]

_MU_BIAS = 33  # G.711 table 2: the decision values are shifted by it, so that every segment is a power of two


def encode(samples: NDArray[np.int16], law: Law) -> bytes:
    """16-bit samples, shape (n,), as n bytes."""
    return _encoding(law)[samples.astype(np.int32) + 32768].tobytes()


def decode(data: bytes, law: Law) -> NDArray[np.int16]:
    """N bytes as n 16-bit samples."""
    return _decoding(law)[np.frombuffer(data, np.uint8)]


@cache
def _encoding(law: Law) -> NDArray[np.uint8]:
    samples = np.arange(-32768, 32768)
    return _mu_codes(samples) if law == "pcmu" else _a_codes(samples)


@cache
def _decoding(law: Law) -> NDArray[np.int16]:
    codes = np.arange(256)
    return _mu_samples(codes) if law == "pcmu" else _a_samples(codes)


def _mu_codes(samples: NDArray[np.int_]) -> NDArray[np.uint8]:
    """14-bit magnitudes with a bias of 33: 8 segments of 16 steps. All bits are inverted."""
    shifted = samples >> 2  # towards minus infinity: a negative sample's magnitude is rounded up
    magnitude = np.minimum(np.abs(shifted), 8158) + _MU_BIAS
    segment = np.floor(np.log2(magnitude)).astype(np.int_) - 5
    step = (magnitude >> (segment + 1)) & 0x0F
    sign = np.where(shifted < 0, 0x80, 0)
    return (~(sign | segment << 4 | step) & 0xFF).astype(np.uint8)


def _mu_samples(codes: NDArray[np.int_]) -> NDArray[np.int16]:
    plain = ~codes & 0xFF
    segment, step = plain >> 4 & 7, plain & 0x0F
    magnitude = ((2 * step + _MU_BIAS) << segment) - _MU_BIAS
    return (np.where(plain & 0x80, -magnitude, magnitude) << 2).astype(np.int16)


def _a_codes(samples: NDArray[np.int_]) -> NDArray[np.uint8]:
    """13-bit magnitudes: the first two segments are linear. Even bits are inverted; the sign bit is set for plus."""
    shifted = samples >> 3
    magnitude = np.where(shifted < 0, -shifted - 1, shifted)
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int_) - 4, 0)
    step = (magnitude >> np.maximum(segment, 1)) & 0x0F
    sign = np.where(shifted < 0, 0, 0x80)
    return ((sign | segment << 4 | step) ^ 0x55).astype(np.uint8)


def _a_samples(codes: NDArray[np.int_]) -> NDArray[np.int16]:
    plain = codes ^ 0x55
    segment, step = plain >> 4 & 7, plain & 0x0F
    magnitude = np.where(segment == 0, 2 * step + 1, (2 * step + 33) << np.maximum(segment - 1, 0))
    return (np.where(plain & 0x80, magnitude, -magnitude) << 3).astype(np.int16)
