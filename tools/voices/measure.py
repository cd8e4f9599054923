"""What can be measured of a voice in numpy alone: pitch, how much it moves, brightness; pace where the words are known.

These are figures of signals, not judgements: a low pitch is not an age, a bright spectrum is not a mood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sayso.errors import AudioError
from sayso.items import Audio, Samples
from sayso.speech.audio import resample
from sayso.speech.tts.base import trim_silence

RATE_HZ = 16_000
PITCH_RANGE_HZ = (60, 500)
VOICED_THRESHOLD = 0.15
"""Of YIN's normalised difference: below it a frame is periodic (de Cheveigné and Kawahara 2002 use 0.1 to 0.15)."""

_HOP = 160
_WINDOW = 640  # 40 ms: two periods and more of the lowest pitch
_BLOCK = 512  # frames at once, so that a long clip needs no more memory than a short one
_LOUD_DB = 25.0  # below the loudest frame

_FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Figures of one clip of speech.

    Attributes:
        pitch_hz: Median fundamental frequency of voiced frames.
        pitch_sd_semitones: How much the pitch moves round it.
        centroid_hz: Centre of the magnitude spectrum of loud frames, to 8 kHz: how bright it sounds.
        words_per_s: Words of the transcript a second, without the silence at the ends; None without a transcript.
            (Counting peaks of loudness instead was tried: over the Kokoro voices it missed a quarter of the syllables
            and hardly followed the true pace, r = 0.4.)
    """

    pitch_hz: float
    pitch_sd_semitones: float
    centroid_hz: float
    words_per_s: float | None = None


def measure(audio: Audio, transcript: str = "") -> Measurement:
    """Measure speech.

    Args:
        audio: At any rate; silence at the ends does not matter.
        transcript: What is said in it, in a language that writes spaces between words.

    Raises:
        AudioError: There is no voiced sound in it (a whisper has some, noise has not).
    """
    samples = resample(audio, RATE_HZ).samples
    pitch = pitch_track(samples)
    level_db = _levels_db(samples, len(pitch))
    pitch = np.where(level_db > level_db.max(initial=-200.0) - _LOUD_DB, pitch, 0.0)
    voiced = pitch[pitch > 0]
    if len(voiced) < 10:
        raise AudioError("There is no voice to measure in this sound.", "Give a clip of somebody speaking.")
    median = float(np.median(voiced))
    near = voiced[np.abs(np.log2(voiced / median)) < 1]  # an octave away it is a mistake of the tracker
    return Measurement(
        pitch_hz=median,
        pitch_sd_semitones=float(np.std(12 * np.log2(near / median))),
        centroid_hz=_centroid_hz(samples, level_db),
        words_per_s=len(transcript.split()) / _spoken_s(samples) if transcript.strip() else None,
    )


def pitch_track(samples: Samples) -> _FloatArray:
    """The fundamental frequency every 10 ms by YIN.

    Steps 1 to 5 of de Cheveigné and Kawahara, "YIN, a fundamental frequency estimator for speech and music", JASA
    2002: difference function, cumulative mean normalisation, first dip below the threshold, parabolic interpolation.

    Args:
        samples: Shape (n,), 16 kHz.

    Returns:
        Shape (frames,), Hz; 0 where the frame is not periodic.
    """
    longest = RATE_HZ // PITCH_RANGE_HZ[0]
    span = _WINDOW + longest
    if len(samples) < span:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(samples, span)[::_HOP]
    blocks = [frames[start : start + _BLOCK] for start in range(0, len(frames), _BLOCK)]
    return np.concatenate([_yin(np.asarray(block, np.float64), longest) for block in blocks])


def _yin(frames: _FloatArray, longest: int) -> _FloatArray:
    difference = _difference(frames, longest)
    lags = np.arange(1, longest + 1)
    mean = np.cumsum(difference[:, 1:], axis=1) / lags
    normal = np.ones_like(difference)
    np.divide(difference[:, 1:], mean, out=normal[:, 1:], where=mean > 1e-12)
    shortest = RATE_HZ // PITCH_RANGE_HZ[1]
    inner = normal[:, shortest:-1]
    dips = (inner < VOICED_THRESHOLD) & (inner <= normal[:, shortest + 1 :]) & (inner <= normal[:, shortest - 1 : -2])
    found = dips.any(axis=1)
    lag = np.argmax(dips, axis=1) + shortest
    rows = np.arange(len(frames))
    before, here, after = normal[rows, lag - 1], normal[rows, lag], normal[rows, lag + 1]
    bend = before - 2 * here + after
    shift = np.where(np.abs(bend) > 1e-12, 0.5 * (before - after) / np.where(bend == 0, 1, bend), 0.0)
    return np.where(found, RATE_HZ / (lag + np.clip(shift, -0.5, 0.5)), 0.0)


def _difference(frames: _FloatArray, longest: int) -> _FloatArray:
    """Sum over the window of (x[j] - x[j + lag])², for lags from 0 to ``longest``; shape (frames, longest + 1)."""
    size = 1 << (frames.shape[1] + _WINDOW - 1).bit_length()
    head = np.fft.rfft(frames[:, :_WINDOW], size, axis=1)
    products = np.fft.irfft(np.conj(head) * np.fft.rfft(frames, size, axis=1), size, axis=1)[:, : longest + 1]
    energy = np.cumsum(np.pad(frames**2, ((0, 0), (1, 0))), axis=1)
    windows = energy[:, _WINDOW : _WINDOW + longest + 1] - energy[:, : longest + 1]
    return np.maximum(windows[:, :1] + windows - 2 * products, 0.0)


def _levels_db(samples: Samples, count: int) -> _FloatArray:
    """The level of each of ``count`` frames of 25 ms every 10 ms."""
    if not count:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::_HOP][:count]
    return 10 * np.log10(np.square(frames, dtype=np.float64).mean(axis=1) + 1e-10)


def _spoken_s(samples: Samples) -> float:
    return len(trim_silence(samples, RATE_HZ, margin_s=0.0)) / RATE_HZ


def _centroid_hz(samples: Samples, level_db: _FloatArray) -> float:
    loud = np.flatnonzero(level_db > level_db.max() - _LOUD_DB)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::_HOP]
    frequencies = np.fft.rfftfreq(400, 1 / RATE_HZ)
    spectrum = np.zeros(len(frequencies))
    for start in range(0, len(loud), _BLOCK):
        block = frames[loud[start : start + _BLOCK]] * np.hanning(400)
        spectrum += np.abs(np.fft.rfft(block, axis=1)).sum(axis=0)
    return float((frequencies * spectrum).sum() / spectrum.sum())
