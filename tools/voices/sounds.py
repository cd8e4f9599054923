"""Sounds that come with sayso, made by formula: no recording, so no licence but ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sayso.items import Audio

RATE_HZ = 24_000
LICENCE = "Apache-2.0"
_PEAK = 0.5
_FADE_S = 0.01

_Wave = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound.

    Attributes:
        name: One word.
        description: What one might ask for, in English and Chinese.
        wave: Makes it; shape (n,), any level.
    """

    name: str
    description: str
    wave: Callable[[], _Wave]

    def render(self) -> Audio:
        """The sound at 24 kHz, with a peak of one half and without a click at its ends. The same every time."""
        wave = self.wave()
        ramp = np.minimum(1.0, np.arange(len(wave)) / (_FADE_S * RATE_HZ))
        wave = wave * ramp * ramp[::-1]
        return Audio((wave * (_PEAK / np.abs(wave).max())).astype(np.float32), RATE_HZ)


def _time(seconds: float) -> _Wave:
    return np.arange(int(seconds * RATE_HZ)) / RATE_HZ


def _struck(seconds: float, hz: float, partials: tuple[tuple[float, float, float], ...]) -> _Wave:
    """A struck body: partials as (ratio to ``hz``, amplitude, decay in seconds)."""
    t = _time(seconds)
    parts = [level * np.sin(2 * np.pi * hz * ratio * t) * np.exp(-t / decay_s) for ratio, level, decay_s in partials]
    return np.sum(parts, axis=0)


_CHIME = ((1.0, 1.0, 0.5), (2.76, 0.4, 0.25), (5.4, 0.15, 0.1))
_BELL = ((0.5, 0.5, 1.6), (1.0, 1.0, 1.2), (1.2, 0.6, 0.9), (1.5, 0.4, 0.7), (2.0, 0.6, 0.6), (2.67, 0.25, 0.3))


def _doorbell() -> _Wave:
    wave = np.zeros(int(1.8 * RATE_HZ))
    for start_s, hz in ((0.0, 659.0), (0.55, 523.0)):
        start = int(start_s * RATE_HZ)
        wave[start:] += _struck(1.8, hz, _CHIME)[: len(wave) - start]
    return wave


def _alarm() -> _Wave:
    t = _time(2.4)
    return np.sign(np.sin(2 * np.pi * 880 * t)) * ((t % 0.6 < 0.4) & (t % 0.2 < 0.1))


def _telephone() -> _Wave:
    t = _time(3.0)
    warble = np.where(t % 0.05 < 0.025, np.sin(2 * np.pi * 1300 * t), np.sin(2 * np.pi * 1000 * t))
    return warble * (t % 1.5 < 1.0)


def _buzzer() -> _Wave:
    t = _time(0.7)
    return np.sum([np.sin(2 * np.pi * 110 * n * t) / n for n in range(1, 12, 2)], axis=0)


def _success() -> _Wave:
    wave = np.zeros(int(0.9 * RATE_HZ))
    for number, hz in enumerate((523.0, 659.0, 784.0)):
        start = int(number * 0.12 * RATE_HZ)
        wave[start:] += _struck(0.9, hz, _CHIME)[: len(wave) - start]
    return wave


def _heartbeat() -> _Wave:
    t = _time(3.2)
    beat = t % 0.8
    first = np.exp(-(((beat - 0.10) / 0.035) ** 2))
    second = 0.7 * np.exp(-(((beat - 0.34) / 0.03) ** 2))
    return (first + second) * np.sin(2 * np.pi * 55 * t)


def _noise(seconds: float, low_hz: float, high_hz: float, slope: float, seed: int) -> _Wave:
    """Noise between two frequencies, of which the amplitude falls as f^-slope."""
    random = np.random.default_rng(seed)
    size = int(seconds * RATE_HZ)
    hz = np.fft.rfftfreq(size, 1 / RATE_HZ)
    shape = np.where((hz >= low_hz) & (hz <= high_hz), np.maximum(hz, 1.0) ** -slope, 0.0)
    wave = np.fft.irfft(np.fft.rfft(random.standard_normal(size)) * shape, size)
    return wave / wave.std()


def _rain() -> _Wave:
    drops = np.random.default_rng(2).poisson(0.004, int(4.0 * RATE_HZ)).astype(np.float64)
    patter = np.convolve(drops, np.exp(-np.arange(60) / 12))[: len(drops)] * _noise(4.0, 1500, 9000, 0.0, 3)
    return 0.35 * _noise(4.0, 400, 9000, 0.4, 1) + patter


def _sea() -> _Wave:
    t = _time(6.0)
    swell = 0.15 + np.sin(np.pi * t / 3.0) ** 4
    return swell * _noise(6.0, 60, 4000, 0.6, 4)


def _wind() -> _Wave:
    t = _time(5.0)
    gust = 0.5 + 0.3 * np.sin(2 * np.pi * 0.37 * t) + 0.2 * np.sin(2 * np.pi * 0.83 * t + 1)
    return gust * (_noise(5.0, 80, 900, 0.8, 5) + 0.5 * gust * _noise(5.0, 500, 750, 0.0, 6))


SOUNDS: tuple[Sound, ...] = (
    Sound("doorbell", "a doorbell, ding dong, somebody at the door; 门铃", _doorbell),
    Sound("bell", "a church bell, a big bell being struck, gong; 钟声", lambda: _struck(3.5, 440.0, _BELL)),
    Sound("chime", "a gentle chime, ding, notification; 提示音", lambda: _struck(1.2, 880.0, _CHIME)),
    Sound("alarm", "an alarm clock beeping, wake-up alarm, beeps; 闹钟 警报", _alarm),
    Sound("telephone", "an old telephone ringing, phone ring; 电话铃声", _telephone),
    Sound("buzzer", "a buzzer, wrong answer, error, failure; 错误 蜂鸣器", _buzzer),
    Sound("success", "a success jingle, right answer, correct, well done, tada; 成功 正确", _success),
    Sound("heartbeat", "a heart beating, heartbeat, pulse; 心跳", _heartbeat),
    Sound("rain", "rain falling, raindrops, a shower; 雨声 下雨", _rain),
    Sound("sea", "waves on a beach, the sea, ocean surf; 海浪 大海", _sea),
    Sound("wind", "wind blowing, howling, a storm; 风声 刮风", _wind),
)
