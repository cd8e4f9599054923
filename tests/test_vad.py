"""Where speech is: none in anything made, all of it in the human recordings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sayso.errors import AudioError
from sayso.items import Audio
from sayso.speech.audio import load, resample
from sayso.speech.vad import FRAME_SAMPLES, Hysteresis, VoiceActivity, segments, trim

RATE = 16_000
SECONDS = 6
TIME_S = np.arange(SECONDS * RATE) / RATE


def noise(colour: str, level: float) -> np.ndarray:
    """Gaussian noise whose power falls with the frequency to the power of 0 (white), 1 (pink) or 2 (brown)."""
    spectrum = np.fft.rfft(np.random.default_rng(7).standard_normal(len(TIME_S)))
    slope = {"white": 0.0, "pink": 0.5, "brown": 1.0}[colour]
    samples = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1) ** slope, len(TIME_S))
    return samples / samples.std() * level


def tones(*parts: tuple[float, float]) -> np.ndarray:
    """A sum of sines, each (Hz, amplitude)."""
    return np.sum([a * np.sin(2 * np.pi * hz * TIME_S) for hz, a in parts], axis=0)


def melody() -> np.ndarray:
    """Plucked notes with seven harmonics, 0.4 s each."""
    notes_hz = np.array([261.6, 293.7, 329.6, 349.2, 392.0, 440.0])[(TIME_S // 0.4).astype(int) % 6]
    phase = np.cumsum(2 * np.pi * notes_hz / RATE)
    return np.sum([0.3 / k * np.sin(k * phase) for k in range(1, 8)], axis=0) * np.exp(-5 * (TIME_S % 0.4))


def clicks() -> np.ndarray:
    samples = np.zeros(len(TIME_S))
    samples[:: RATE // 2] = 0.9
    return samples


COLOURS, LEVELS = ("white", "pink", "brown"), (0.001, 0.01, 0.1, 0.3)
NO_SPEECH = {
    "silence": np.zeros(len(TIME_S)),
    **{f"{colour} noise {level}": noise(colour, level) for colour in COLOURS for level in LEVELS},
    "hum 50 Hz": tones(*((50 * k, 0.2 / k) for k in (1, 2, 3, 5, 7))),
    "hum 60 Hz": tones(*((60 * k, 0.2 / k) for k in (1, 2, 3, 5, 7))),
    "tone 440 Hz": tones((440, 0.5)),
    "tone 1 kHz": tones((1000, 0.5)),
    "dial tone": tones((697, 0.4), (1209, 0.4)),
    "chord": tones((261.6, 0.15), (329.6, 0.15), (392.0, 0.15)),
    "melody": melody(),
    "sweep": 0.5 * np.sin(2 * np.pi * (100 * TIME_S + 200 * TIME_S**2)),
    "clicks": clicks(),
    "noise that comes and goes": noise("pink", 0.1) * (TIME_S % 1 < 0.5),
}


def human_clips(data: Path, *folders: str) -> list[Path]:
    """Recordings of people."""
    manifest = data / "speech" / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    return [data / row["file"] for row in rows if row["human"] and row["file"].split("/")[1] in folders]


class CountingVoiceActivity(VoiceActivity):
    """The real model, which counts the frames that it was shown."""

    frames = 0

    def probability(self, frame: np.ndarray) -> float:
        self.frames += 1
        return super().probability(frame)


class Loud:
    """A detector without a model: speech is what is loud. It makes the arithmetic around it exact."""

    def probability(self, frame: np.ndarray) -> float:
        return float(np.sqrt(np.mean(np.square(frame))))

    def reset(self) -> None:
        pass


def frames_of(*levels: float, rate: int = RATE) -> Audio:
    """One frame of 32 ms for each level."""
    return Audio(np.repeat(np.array(levels, np.float32), FRAME_SAMPLES * rate // RATE), rate)


@pytest.mark.parametrize("name", NO_SPEECH)
def test_no_speech_in_what_is_none(name: str) -> None:
    audio = Audio(NO_SPEECH[name].astype(np.float32), RATE)
    assert segments(audio, min_speech_ms=32) == []
    assert trim(audio) is None


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_no_speech_at_other_rates(rate: int) -> None:
    audio = resample(Audio(NO_SPEECH["pink noise 0.1"].astype(np.float32), RATE), rate)
    assert segments(audio) == []
    assert trim(audio) is None


def test_no_speech_in_nothing() -> None:
    nothing = Audio(np.zeros(0, np.float32), RATE)
    assert segments(nothing) == []
    assert trim(nothing) is None
    assert trim(Audio(np.ones(10, np.float32), RATE)) is None


@pytest.mark.parametrize("folder", ["assistant", "commands", "digits", "read"])
def test_trim_finds_speech_in_every_human_clip(folder: str, shared_data: Path) -> None:
    for path in human_clips(shared_data, folder):
        audio = load(path)
        trimmed = trim(audio)
        assert trimmed is not None, path.name
        assert trimmed.sample_rate_hz == audio.sample_rate_hz


@pytest.mark.parametrize("folder", ["assistant", "commands", "digits", "read"])
def test_trim_keeps_all_speech_that_segments_finds(folder: str, shared_data: Path) -> None:
    for path in human_clips(shared_data, folder)[::10]:
        whole = load(path)
        audio = Audio(whole.samples[: 8 * whole.sample_rate_hz], whole.sample_rate_hz)
        found = segments(audio, min_speech_ms=100)
        assert found, path.name
        assert all(0 <= start < end <= audio.seconds for start, end in found)
        trimmed = trim(audio)
        assert trimmed is not None
        wanted = audio.samples[round(found[0][0] * audio.sample_rate_hz) : round(found[-1][1] * audio.sample_rate_hz)]
        assert wanted.tobytes() in trimmed.samples.tobytes(), path.name


def test_trim_finds_speech_between_noise(shared_data: Path) -> None:
    for path in human_clips(shared_data, "assistant"):
        speech = resample(load(path), RATE).samples
        rng = np.random.default_rng(0)
        hiss = (rng.standard_normal(3 * RATE) * 0.002).astype(np.float32)
        whole = Audio(np.concatenate([hiss, speech, hiss]), RATE)
        trimmed = trim(whole)
        assert trimmed is not None
        spoken = trim(Audio(speech, RATE))
        assert spoken is not None
        assert trimmed.seconds == pytest.approx(spoken.seconds, abs=0.6)
        assert trimmed.seconds < whole.seconds - 4.5


def test_trim_never_listens_to_the_middle(shared_data: Path) -> None:
    speech = resample(load(human_clips(shared_data, "assistant")[0]), RATE).samples
    silence = np.zeros(600 * RATE, np.float32)
    detector = CountingVoiceActivity()
    trimmed = trim(Audio(np.concatenate([speech, silence, speech]), RATE), detector=detector)
    assert trimmed is not None
    assert trimmed.seconds > 600
    assert detector.frames < 200  # of 19,000


def test_the_detector_takes_whole_frames_only() -> None:
    with pytest.raises(AudioError, match=r"has the shape \(160,\)\. Pass 512 samples at 16000 Hz"):
        VoiceActivity().probability(np.zeros(160, np.float32))


def test_reset_forgets() -> None:
    detector = VoiceActivity()
    frames = noise("white", 0.3).astype(np.float32)[: 20 * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    first = [detector.probability(frame) for frame in frames]
    second = [detector.probability(frame) for frame in frames]
    detector.reset()
    assert first == [detector.probability(frame) for frame in frames]
    assert first != second


def test_hysteresis() -> None:
    speech = Hysteresis()
    assert [speech(p) for p in (0.4, 0.5, 0.4, 0.35, 0.34, 0.4, 0.9)] == [False, True, True, True, False, False, True]


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_segments_by_their_rules(rate: int) -> None:
    """Eight frames make a segment (250 ms), four frames of silence divide (100 ms)."""
    audio = frames_of(0, 0, *[1] * 8, 0, 0, 0, *[1] * 3, *[0] * 4, *[1] * 7, *[0] * 4, *[1] * 8, rate=rate)
    found = segments(audio, detector=Loud())
    np.testing.assert_allclose(found, [(2 * 0.032, 16 * 0.032), (31 * 0.032, 39 * 0.032)])


def test_a_segment_ends_with_the_sound() -> None:
    audio = Audio(np.ones(10 * FRAME_SAMPLES + 100, np.float32), RATE)
    assert segments(audio, detector=Loud()) == [(0.0, audio.seconds)]


def test_trim_by_its_rules() -> None:
    """200 ms before and 300 ms after; four frames are speech; the last speech may be short."""
    levels = [0] * 20 + [1, 1, 1] + [0] * 20 + [1] * 4 + [0] * 60 + [1] + [0] * 30
    trimmed = trim(frames_of(*levels), detector=Loud())
    assert trimmed is not None
    start, end = 43 * FRAME_SAMPLES - RATE // 5, 108 * FRAME_SAMPLES + RATE * 3 // 10
    assert len(trimmed.samples) == end - start
    assert trim(frames_of(*[0] * 20, *[1] * 3, *[0] * 20), detector=Loud()) is None
    assert trim(frames_of(1, 0, 1, 0, 0, 0, 1, 1, 0), detector=Loud()) is not None  # short gaps do not divide


def test_trim_keeps_within_the_sound() -> None:
    audio = frames_of(*[1] * 6)
    trimmed = trim(audio, detector=Loud())
    assert trimmed is not None
    np.testing.assert_array_equal(trimmed.samples, audio.samples)
