"""How much of a CPU listening takes: `python -m benchmarks.vad`.

CPU seconds of this process, not wall time, so that a busy machine changes little. A frame of live audio is 20 ms (50 a
second); the cost of a frame is that of the framework (resampling, buffering, the state machine) and that of the model.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import numpy as np

from benchmarks.report import Row, write
from sayso.items import Audio, Samples
from sayso.speech.audio import load, resample
from sayso.speech.endpointing import Endpointer
from sayso.speech.vad import FRAME_SAMPLES, RATE_HZ, VoiceActivity, segments, trim

SECONDS = 60
REPEATS = 3


class Silent:
    """A detector that costs nothing, to leave the framework's own cost."""

    def probability(self, frame: Samples) -> float:
        """Always silence."""
        return 0.0

    def reset(self) -> None:
        """Nothing to forget."""


def cpu_s(action: Callable[[], object]) -> float:
    """The least CPU time of a few runs, in seconds."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        action()
        best = min(best, time.process_time() - start)
    return best


def live(samples: Samples, rate_hz: int, *, model: bool) -> float:
    """CPU seconds for ``samples`` fed in frames of 20 ms."""
    size = rate_hz // 50
    frames = [samples[start : start + size] for start in range(0, len(samples), size)]

    def run() -> None:
        endpointer = Endpointer(rate_hz, detector=None if model else Silent())
        for frame in frames:
            endpointer.feed(frame)

    return cpu_s(run)


def row(what: str, cpu: float, seconds: float, pieces: int, piece: str) -> Row:
    """One line of the table."""
    return {
        "what": what,
        "CPU µs per piece": round(cpu / pieces * 1e6, 1),
        "piece": piece,
        "real-time factor": round(cpu / seconds, 5),
    }


def main() -> None:
    """Measure, print and write."""
    noise = (np.random.default_rng(0).standard_normal(SECONDS * RATE_HZ) * 0.01).astype(np.float32)
    detector = VoiceActivity()
    frames = noise[: len(noise) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    model_s = cpu_s(lambda: [detector.probability(frame) for frame in frames])
    rows = [row("Silero VAD", model_s, SECONDS, len(frames), "32 ms")]
    for rate_hz in (RATE_HZ, 24_000, 48_000):
        sound = resample(Audio(noise, RATE_HZ), rate_hz).samples
        for model in (False, True):
            cpu = live(sound, rate_hz, model=model)
            name = f"endpointer at {rate_hz} Hz, {'with' if model else 'without'} the model"
            rows.append(row(name, cpu, SECONDS, SECONDS * 50, "20 ms"))
    audio = Audio(noise, RATE_HZ)
    rows.append(row("segments()", cpu_s(lambda: segments(audio)), SECONDS, 1, "60 s"))
    rows.append(row("trim(), no speech", cpu_s(lambda: trim(audio)), SECONDS, 1, "60 s"))
    hour = np.tile((noise * 32767).astype(np.int16), 3600 // SECONDS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows.append(row("load(), an hour of int16", cpu_s(lambda: load(hour, sample_rate_hz=RATE_HZ)), 3600, 1, "1 h"))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    write("vad", rows, [f"load() of an hour raised the peak of memory by {grown} MB; the sound itself takes 220 MB."])


if __name__ == "__main__":
    main()
