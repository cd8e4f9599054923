"""The pace of a sound changes, its pitch does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.errors import UsageError
from sayso.items import Audio
from sayso.speech.stretch import Stretcher

RATE_HZ = 16_000


def chord(seconds: float) -> np.ndarray:
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * 200 * times) + 0.1 * np.sin(2 * np.pi * 900 * times)).astype(np.float32)


def stretched(samples: np.ndarray, speed: float, piece: int = 1600) -> np.ndarray:
    stretcher = Stretcher(RATE_HZ, speed)
    pieces = [
        stretcher.feed(Audio(samples[start : start + piece], RATE_HZ)).samples
        for start in range(0, len(samples), piece)
    ]
    return np.concatenate([*pieces, stretcher.finish().samples])


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.9, 1.0, 1.1, 2.0, 4.0])
def test_length_changes_and_pitch_and_loudness_stay(speed: float) -> None:
    before, after = chord(2), stretched(chord(2), speed)
    assert len(after) == round(len(before) / speed)
    spectrum = np.abs(np.fft.rfft(after))
    loudest = np.argsort(spectrum)[-1] / len(after) * RATE_HZ
    assert loudest == pytest.approx(200, abs=3)
    assert np.sqrt(np.square(after).mean()) == pytest.approx(np.sqrt(np.square(before).mean()), rel=0.06)
    assert np.abs(np.diff(after)).max() < 1.5 * np.abs(np.diff(before)).max(), "it clicks"


@given(speed=st.floats(0.25, 4), pieces=st.lists(st.integers(0, 3000), max_size=12))
def test_pieces_do_not_matter(speed: float, pieces: list[int]) -> None:
    samples = chord(sum(pieces) / RATE_HZ)[: sum(pieces)]
    stretcher, at, found = Stretcher(RATE_HZ, speed), 0, []
    for size in pieces:
        found.append(stretcher.feed(Audio(samples[at : at + size], RATE_HZ)).samples)
        at += size
    found.append(stretcher.finish().samples)
    whole = stretched(samples, speed, piece=max(1, len(samples)))
    np.testing.assert_allclose(np.concatenate(found), whole, atol=1e-5)


def test_silence_stays_silence() -> None:
    assert not stretched(np.zeros(RATE_HZ, np.float32), 1.7).any()


@pytest.mark.parametrize("speed", [0.2, 4.1, float("nan")])
def test_a_speed_that_cannot_be(speed: float) -> None:
    with pytest.raises(UsageError, match="out of range"):
        Stretcher(RATE_HZ, speed)
