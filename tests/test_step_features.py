# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""Sound to log-mel frames, and sound to pieces: against transformers' Whisper front end, and by their own rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sayso.errors import AudioError

torch = pytest.importorskip("torch")
from sayso.models.step_audio2.features import (
    SAMPLE_RATE_HZ,
    embedding_count,
    frame_count,
    log_mel,
    mel_filters,
    next_cut,
    pieces,
    to_mono16k,
)

RATE = SAMPLE_RATE_HZ


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


@pytest.fixture(scope="module")
def whisper() -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.WhisperFeatureExtractor(feature_size=128)


@pytest.mark.parametrize(("seconds", "frames", "embeddings"), [(3, 302, 38), (5, 502, 63), (25, 2502, 313)])
def test_lengths_are_those_of_the_reference(seconds: int, frames: int, embeddings: int) -> None:
    assert frame_count(seconds * RATE) == frames
    assert embedding_count(frames) == embeddings


def test_the_spectrogram_has_as_many_frames_as_counted() -> None:
    for samples in (321, 479, 480, 481, 4000, 16_001):
        assert log_mel(noise(1, seed=samples).repeat(2)[:samples]).shape == (128, frame_count(samples))


def test_filters_are_those_of_whisper(whisper: Any) -> None:
    assert np.abs(mel_filters(128) - whisper.mel_filters.T).max() < 1e-8


@pytest.mark.parametrize("seconds", [0.021, 0.5, 3, 25])
def test_log_mel_is_that_of_whisper(whisper: Any, seconds: float) -> None:
    samples = noise(seconds) * np.linspace(0, 1, round(seconds * RATE), dtype=np.float32)
    padded = np.pad(samples, (0, 479))
    mine = log_mel(samples).numpy()
    # its own way in float64, and its torch way, which is ours but for the filters' last bit
    exact = whisper._np_extract_fbank_features(padded[None], device="cpu")[0]
    same = whisper._torch_extract_fbank_features(padded[None], device="cpu")[0]
    assert mine.shape == exact.shape
    assert np.abs(mine - exact).max() < 1e-4
    assert np.abs(mine - same).max() < 2e-6


def test_silence_is_finite_and_flat() -> None:
    mel = log_mel(np.zeros(RATE, np.float32))
    assert torch.equal(mel, torch.full_like(mel, (-10 + 4) / 4))


def test_samples_of_int16_and_float_are_the_same_sound() -> None:
    whole = np.array([-32768, -1, 0, 1, 32767], np.int16)
    assert np.array_equal(to_mono16k(whole), (whole / 32768).astype(np.float32))
    assert np.array_equal(to_mono16k(whole / 32768), to_mono16k(whole))


@pytest.mark.parametrize(
    "samples",
    [np.zeros((2, 100), np.float32), np.zeros(100, np.int32), np.array([0.0, np.nan]), np.array([np.inf], np.float32)],
)
def test_what_is_no_sound_is_refused(samples: NDArray[Any]) -> None:
    with pytest.raises(AudioError):
        to_mono16k(samples)


def test_too_short_to_be_heard() -> None:
    assert embedding_count(frame_count(320)) == 0
    assert list(pieces(noise(0.02))) == []
    with pytest.raises(AudioError, match="20 ms"):
        log_mel(noise(0.02))


def test_without_a_pause_the_cut_is_at_the_limit() -> None:
    assert [len(piece) / RATE for piece in pieces(noise(60))] == [25, 25, 10]
    assert next_cut(noise(25)) is None


def test_the_cut_is_in_the_middle_of_the_last_pause() -> None:
    samples = noise(40)
    samples[21 * RATE : 22 * RATE] = 0
    samples[23 * RATE : 23 * RATE + 4800] = 0  # 300 ms: as quiet, and later
    cut = next_cut(samples)
    assert cut is not None
    assert 23 * RATE < cut < 23 * RATE + 4800
    assert next_cut(samples, at_pauses=False) == 25 * RATE


@given(
    seconds=st.floats(0, 12), limit_s=st.sampled_from([0.5, 1.0, 3.3]), at_pauses=st.booleans(), seed=st.integers(0, 99)
)
def test_pieces_are_the_whole_sound_in_order(seconds: float, limit_s: float, at_pauses: bool, seed: int) -> None:
    samples = noise(seconds, seed)
    samples[np.sin(np.arange(len(samples)) * 2e-3 + seed) > 0.8] *= 1e-3
    cut = list(pieces(samples, limit_s=limit_s, at_pauses=at_pauses))
    together = np.concatenate([np.zeros(0, np.float32), *cut])
    assert np.array_equal(together, samples[: len(together)])
    assert len(samples) - len(together) < 321
    assert all(limit_s * 0.7 < len(piece) / RATE <= limit_s for piece in cut[:-1])
    assert all(embedding_count(frame_count(len(piece))) > 0 for piece in cut)


@pytest.mark.parametrize("more", [1, 1000, 20_000])
def test_the_future_does_not_move_a_cut(more: int) -> None:
    samples = noise(10)
    samples[RATE : RATE + 4000] = 0
    whole = next_cut(samples, limit_s=1.2)
    assert whole is not None
    assert next_cut(samples[: round(1.2 * RATE) + more], limit_s=1.2) == whole


def test_a_tensor_is_as_good_as_an_array() -> None:
    samples = noise(1)
    assert torch.equal(log_mel(torch.from_numpy(samples)), log_mel(samples))
