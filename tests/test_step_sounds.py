"""What users say is encoded while they speak: bit by bit what encoding it at the end gives, and only once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="the extra step-audio is not installed")

import torch

from sayso.items import Audio
from sayso.models.step_audio2.config import StepAudio2Config
from sayso.models.step_audio2.encoder import AudioEncoder
from sayso.models.step_audio2.features import pieces
from sayso.models.step_audio2.random_weights import random_networks
from sayso.models.step_audio2.sounds import KEPT, Sounds

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def encoder() -> Iterator[AudioEncoder]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield random_networks(StepAudio2Config.tiny(vocab_size=96), dtype=torch.float32).encoder
    torch.set_num_threads(before)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many samples each piece had that was encoded."""
    lengths: list[int] = []
    inner = AudioEncoder.encode

    def encode(self: AudioEncoder, sound: list[NDArray[np.float32]]) -> list[torch.Tensor]:
        lengths.extend(map(len, sound))
        return inner(self, sound)

    monkeypatch.setattr(AudioEncoder, "encode", encode)
    return lengths


def noise(seconds: float, *pauses_s: float, seed: int = 0) -> NDArray[np.float32]:
    samples = np.random.default_rng(seed).normal(0, 0.05, round(seconds * RATE_HZ)).astype(np.float32)
    for start_s in pauses_s:
        samples[round(start_s * RATE_HZ) : round((start_s + 0.5) * RATE_HZ)] *= 1e-3
    return samples


@pytest.mark.parametrize("step_s", [3.7, 13.0, 60.0])
def test_encoding_while_one_speaks_is_encoding_at_the_end(encoder: AudioEncoder, step_s: float) -> None:
    samples = noise(60, 22.0, 44.5)
    sounds = Sounds(encoder)
    for end_s in np.arange(step_s, 60, step_s):
        sounds.overhear(Audio(samples[: round(end_s * RATE_HZ)], RATE_HZ))
    found = sounds.heard(Audio(samples, RATE_HZ))
    whole = Sounds(encoder).heard(Audio(samples, RATE_HZ))
    assert [name for name, _ in found] == [name for name, _ in whole]
    assert len(whole) == 3
    for (_, one), (_, other), piece in zip(found, whole, pieces(samples), strict=True):
        assert torch.equal(one, other) and torch.equal(one, encoder.encode([piece])[0])


def test_after_40_s_only_the_rest_is_left_to_encode(encoder: AudioEncoder, encoded: list[int]) -> None:
    samples = noise(40, 22.0)
    sounds = Sounds(encoder)
    due_s, calls = 25.0, 0
    for end_s in np.arange(0.5, 40, 0.5):
        if end_s > due_s:
            due_s = sounds.overhear(Audio(samples[: round(end_s * RATE_HZ)], RATE_HZ))
            calls += 1
    assert calls == len(encoded) == 1
    cut = encoded[0]
    assert 22.0 < cut / RATE_HZ < 22.5 and due_s == cut / RATE_HZ + 25
    found = sounds.heard(Audio(samples, RATE_HZ))
    assert encoded == [cut, len(samples) - cut]
    again = sounds.heard(Audio(samples.copy(), RATE_HZ))  # known by its content
    assert [tensor.data_ptr() for _, tensor in again] == [tensor.data_ptr() for _, tensor in found]
    assert len(encoded) == 2


def test_one_call_encodes_one_piece_at_most(encoder: AudioEncoder, encoded: list[int]) -> None:
    sounds, audio = Sounds(encoder), Audio(noise(55), RATE_HZ)
    assert [sounds.overhear(audio) for _ in range(3)] == [50.0, 75.0, 75.0]
    assert encoded == [25 * RATE_HZ] * 2


def test_other_rates_are_heard_too(encoder: AudioEncoder, encoded: list[int]) -> None:
    sounds, audio = Sounds(encoder), Audio(noise(3)[:24_000], 8_000)
    first = sounds.heard(audio)
    assert encoded == [48_000]
    assert sounds.heard(audio)[0][1] is first[0][1] and len(encoded) == 1


def test_too_little_sound_is_no_piece(encoder: AudioEncoder) -> None:
    assert Sounds(encoder).heard(Audio(noise(0.01), RATE_HZ)) == []


def test_the_pieces_wanted_last_are_kept(encoder: AudioEncoder, encoded: list[int]) -> None:
    sounds = Sounds(encoder)
    talk = [Audio(noise(0.1, seed=seed), RATE_HZ) for seed in range(KEPT + 1)]
    for audio in (*talk[:KEPT], talk[0], talk[KEPT], talk[0]):
        sounds.heard(audio)
    assert len(encoded) == KEPT + 1
    sounds.heard(talk[1])  # made way
    assert len(encoded) == KEPT + 2
