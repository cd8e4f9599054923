"""One gate for every sound that is measured: where it is voiced, sample by sample.

It goes by level alone, so that it is the same for a person, a synthesiser and a made sound, and exact to the sample: a
detector that works in frames of 32 ms could not tell milliseconds. A sample counts where its magnitude is above a
threshold that follows the sound's own level and noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sayso.items import Audio, Samples

Stretch: TypeAlias = tuple[float, float]
"""From and to, in seconds."""

_FRAME_S = 0.02


@dataclass(frozen=True, slots=True)
class Gate:
    """What counts as voiced.

    Attributes:
        floor_dbfs: Nothing below this does.
        below_level_db: So far below the loud parts a sample still does: soft ends of words are 20 to 30 dB down.
        above_noise_db: So far it has to be above the quiet parts.
        join_ms: Samples nearer to one another are one run: zero crossings, and the closure of a "p" or "t".
        least_ms: A shorter run is a click.
        peak_db: The loudest 20 ms of a run are at most so far below the loud parts; softer runs are breath and room.
        pause_ms: Runs nearer to one another are one stretch.
    """

    floor_dbfs: float = -55.0
    below_level_db: float = 32.0
    above_noise_db: float = 12.0
    join_ms: float = 30.0
    least_ms: float = 30.0
    peak_db: float = 17.0
    pause_ms: float = 200.0


GATE = Gate()


def voiced(audio: Audio, gate: Gate = GATE) -> list[Stretch]:
    """The voiced stretches of a sound, in order; none where there are none."""
    rate_hz = audio.sample_rate_hz
    threshold, least_peak = _thresholds(audio, gate)
    loud = np.flatnonzero(np.abs(audio.samples) > threshold)
    runs = [
        (first, last)
        for first, last in _runs(loud, round(gate.join_ms / 1000 * rate_hz))
        if last - first >= gate.least_ms / 1000 * rate_hz and _peak(audio, first, last) >= least_peak
    ]
    pause = gate.pause_ms / 1000 * rate_hz
    stretches: list[tuple[int, int]] = []
    for first, last in runs:
        if stretches and first - stretches[-1][1] <= pause:
            stretches[-1] = (stretches[-1][0], last)
        else:
            stretches.append((first, last))
    return [(first / rate_hz, last / rate_hz) for first, last in stretches]


def active_level(audio: Audio, gate: Gate = GATE) -> float:
    """The root mean square of the voiced parts; 0 where there are none. What a signal-to-noise ratio is counted from.

    Close to the active speech level of ITU-T P.56, whose gate has a hangover of 200 ms too.
    """
    rate_hz = audio.sample_rate_hz
    parts = [audio.samples[round(start * rate_hz) : round(end * rate_hz) + 1] for start, end in voiced(audio, gate)]
    return rms(np.concatenate(parts)) if parts else 0.0


def rms(samples: Samples) -> float:
    """Root mean square; 0 of nothing."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def seconds_of(stretches: Sequence[Stretch]) -> float:
    """How long they are together."""
    return sum(end - start for start, end in stretches)


def _thresholds(audio: Audio, gate: Gate) -> tuple[float, float]:
    """The magnitude of a voiced sample, and the level of the loudest 20 ms of a run."""
    levels = _levels(audio.samples, audio.sample_rate_hz)
    floor = 10 ** (gate.floor_dbfs / 20)
    heard = levels[levels > floor / 10]  # digital silence round a clip says nothing about its noise
    if not len(heard):
        return floor, floor
    level, noise = float(np.percentile(heard, 95)), float(np.percentile(heard, 5))
    above_noise = min(noise * 10 ** (gate.above_noise_db / 20), level / 4)  # a clip without a pause has no quiet part
    return max(floor, level * 10 ** (-gate.below_level_db / 20), above_noise), level * 10 ** (-gate.peak_db / 20)


def _levels(samples: Samples, rate_hz: int) -> NDArray[np.float64]:
    """The root mean square of each whole 20 ms."""
    size = max(1, round(rate_hz * _FRAME_S))
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    return np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))


def _peak(audio: Audio, first: int, last: int) -> float:
    levels = _levels(audio.samples[first : last + 1], audio.sample_rate_hz)
    return float(levels.max()) if len(levels) else 0.0


def _runs(at: np.ndarray, join: int) -> list[tuple[int, int]]:
    """First and last of the runs of indices whose neighbours are at most ``join`` apart."""
    if not len(at):
        return []
    breaks = np.flatnonzero(np.diff(at) > join)
    firsts, lasts = np.concatenate([[0], breaks + 1]), np.concatenate([breaks, [len(at) - 1]])
    return [(int(at[first]), int(at[last])) for first, last in zip(firsts, lasts, strict=True)]
