"""`Synthesizer`: what every speech engine is, and the small helpers they share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np

from sayso.errors import UsageError
from sayso.items import Audio, Samples
from sayso.voices import Voice

SILENCE_MARGIN_S = 0.04
"""How much of the silence round speech `trim_silence` keeps at each end."""

_FRAME_S = 0.01
_FLOOR_DB = -50.0
_PEAK = 0.98


@runtime_checkable
class Synthesizer(Protocol):
    """Turns a sentence or a short phrase into sound. One instance may be used from any thread."""

    @property
    def sample_rate_hz(self) -> int:
        """Of the audio that `synthesize` returns."""
        ...

    @property
    def voices(self) -> tuple[Voice, ...]:
        """The voices; the first is the default."""
        ...

    def load(self) -> None:
        """Load what `synthesize` needs, so that its first call is as fast as any. Blocking, idempotent.

        Raises:
            ModelMissingError: The files or the packages are not here.
        """
        ...

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> Audio:
        """Speak ``text``. Blocking.

        Args:
            text: A sentence or a phrase as written; figures and signs are put into words.
            voice: One of `voices`, or None for the default.
            speed: 0.5 to 2: the pace, relative to the voice's own.

        Returns:
            Mono float32 with a peak below 1; silence is trimmed to `SILENCE_MARGIN_S` at both ends. Empty where the
            text holds nothing that can be said.

        Raises:
            UsageError: No such voice, or the speed is out of range.
            ModelMissingError: The files or the packages are not here.
        """
        ...


def trim_silence(samples: Samples, sample_rate_hz: int, margin_s: float = SILENCE_MARGIN_S) -> Samples:
    """Cut silence from both ends.

    Silence is what stays 50 dB below the loudest 10 ms.

    Args:
        samples: Shape (n,), float32.
        sample_rate_hz: Samples a second.
        margin_s: How much silence is kept at each end, where there is so much.

    Returns:
        A part of ``samples``; empty where all is silent.
    """
    size = int(sample_rate_hz * _FRAME_S)
    count = -(-len(samples) // size)
    if not count:
        return samples
    frames = np.zeros(count * size, np.float32)
    frames[: len(samples)] = samples
    power = np.square(frames.reshape(count, size)).mean(axis=1)
    loud = np.flatnonzero(power > max(float(power.max()) * 10 ** (_FLOOR_DB / 10), 1e-10))
    if not len(loud):
        return samples[:0]
    margin = int(margin_s * sample_rate_hz)
    start, end = int(loud[0]) * size, (int(loud[-1]) + 1) * size
    return samples[max(0, start - margin) : min(len(samples), end + margin)]


def finish(samples: Samples, sample_rate_hz: int) -> Audio:
    """Trimmed, finite and below full scale: what `Synthesizer.synthesize` returns."""
    clean = np.nan_to_num(np.asarray(samples, np.float32), posinf=0.0, neginf=0.0)
    clean = trim_silence(clean, sample_rate_hz)
    peak = float(np.abs(clean).max(initial=0.0))
    if peak > _PEAK:
        clean = clean * np.float32(_PEAK / peak)
    return Audio(np.ascontiguousarray(clean, np.float32), sample_rate_hz)


def silence(sample_rate_hz: int, seconds: float = 0.0) -> Audio:
    """That much silence."""
    return Audio(np.zeros(int(seconds * sample_rate_hz), np.float32), sample_rate_hz)


def check_speed(speed: float) -> None:
    """Raises `UsageError` unless ``speed`` is from 0.5 to 2."""
    if not 0.5 <= speed <= 2.0:
        raise UsageError(f"A speed of {speed} is out of range.", "Take one from 0.5 to 2.")


def unknown_voice(name: str, known: Iterable[str]) -> UsageError:
    """The error for a voice that does not exist, with the nearest names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"Did you mean {', '.join(near)}? All of them: sayso voices" if near else f"Take one of: {', '.join(names)}"
    return UsageError(f"There is no voice {name!r}.", hint)
