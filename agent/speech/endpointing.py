"""Turns in live audio: where speech begins, pauses and ends.

`Endpointer` counts samples and never looks at a clock: the same samples give the same events, however they are cut into
frames and however fast they come.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sayso.errors import AudioError, UsageError
from sayso.items import Audio, Samples
from sayso.speech.audio import from_pcm16
from sayso.speech.decode import checked_rate
from sayso.speech.libraries import library
from sayso.speech.vad import (
    FRAME_MS,
    FRAME_SAMPLES,
    GAP_FRAMES,
    RATE_HZ,
    START_THRESHOLD,
    STOP_THRESHOLD,
    Hysteresis,
    SpeechDetector,
    VoiceActivity,
    frames_in,
)


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """Somebody speaks, since ``at_ms`` after the stream began."""

    at_ms: int
    type: Literal["speech_began"] = "speech_began"


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """Speech stopped at ``at_ms``; it may go on (`SpeechResumed`) or the turn may end (`Utterance`).

    Attributes:
        at_ms: The end of the last speech.
        audio: What the `Utterance` will hold if nothing more is said: the very same samples, so that
            recognition can begin now and its result be kept.
    """

    at_ms: int
    audio: Audio = field(repr=False, compare=False)
    type: Literal["speech_paused"] = "speech_paused"


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """Speech went on at ``at_ms``, after a pause; what was made of the pause's audio is void."""

    at_ms: int
    type: Literal["speech_resumed"] = "speech_resumed"


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn of speech.

    Attributes:
        audio: 16 kHz, from the pre-roll before the first speech to `TurnEnds.pause_ms` after the last.
        start_ms: Where the speech began, after the stream began.
        end_ms: Where it ended.
        forced: It was cut at `TurnEnds.max_utterance_ms` (what follows is another utterance), or by the stream's end.
    """

    audio: Audio = field(repr=False, compare=False)
    start_ms: int
    end_ms: int
    forced: bool = False
    type: Literal["utterance"] = "utterance"


SpeechEvent: TypeAlias = SpeechBegan | SpeechPaused | SpeechResumed | Utterance


@dataclass(frozen=True, slots=True)
class TurnEnds:
    """What counts as a turn. Times are rounded up to the detector's frames of 32 ms.

    Attributes:
        min_speech_ms: So much speech, with gaps of at most 128 ms, begins a turn; less is a cough or a click.
        pre_roll_ms: Kept before the first speech, so that no soft beginning is lost.
        pause_ms: After so much silence `SpeechPaused` comes; the same length is kept after the last speech.
        end_silence_ms: After so much silence the turn is over.
        max_utterance_ms: A turn that lasts longer is cut here.
        start_threshold: The probability from which a frame counts as speech after silence.
        stop_threshold: And below which it counts as silence after speech.

    Raises:
        UsageError: The values contradict each other.
    """

    min_speech_ms: int = 200
    pre_roll_ms: int = 300
    pause_ms: int = 200
    end_silence_ms: int = 600
    max_utterance_ms: int = 60_000
    start_threshold: float = START_THRESHOLD
    stop_threshold: float = STOP_THRESHOLD

    def __post_init__(self) -> None:
        """Check the values."""
        if not (0 < self.min_speech_ms <= self.max_utterance_ms and 0 <= self.pre_roll_ms):
            raise UsageError(
                f"min_speech_ms={self.min_speech_ms}, pre_roll_ms={self.pre_roll_ms} and "
                f"max_utterance_ms={self.max_utterance_ms} do not fit together.",
                "Keep 0 < min_speech_ms <= max_utterance_ms, and pre_roll_ms 0 or more.",
            )
        if not 0 < self.pause_ms <= self.end_silence_ms:
            raise UsageError(
                f"pause_ms={self.pause_ms} and end_silence_ms={self.end_silence_ms} do not fit together.",
                "Keep 0 < pause_ms <= end_silence_ms.",
            )
        if not 0 < self.stop_threshold <= self.start_threshold <= 1:
            raise UsageError(
                f"stop_threshold={self.stop_threshold} and start_threshold={self.start_threshold} do not fit together.",
                "Keep 0 < stop_threshold <= start_threshold <= 1.",
            )


class Endpointer:
    """Finds the turns in one stream of sound. Between turns it holds no more than the pre-roll."""

    def __init__(
        self, sample_rate_hz: int, ends: TurnEnds | None = None, *, detector: SpeechDetector | None = None
    ) -> None:
        """Begin a stream.

        Args:
            sample_rate_hz: Of the frames; they are resampled to 16 kHz.
            ends: What counts as a turn.
            detector: Another than a new `VoiceActivity`; used by this stream alone.

        Raises:
            AudioError: The rate is not within 4 to 384 kHz.
            UsageError: A package is not installed.
        """
        self._rate_hz = checked_rate(sample_rate_hz)
        self._ends = ends or TurnEnds()
        self._min_speech = frames_in(self._ends.min_speech_ms)
        self._pre_roll = frames_in(self._ends.pre_roll_ms)
        self._pause = frames_in(self._ends.pause_ms)
        self._end = max(self._pause, frames_in(self._ends.end_silence_ms))
        self._max = frames_in(self._ends.max_utterance_ms)
        self._detector = detector or VoiceActivity()
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next frame begins a new stream at 0 ms."""
        self._detector.reset()
        self._speech = Hysteresis(self._ends.start_threshold, self._ends.stop_threshold)
        self._resampler: Any = None
        if self._rate_hz != RATE_HZ:
            self._resampler = library("soxr").ResampleStream(self._rate_hz, RATE_HZ, 1, dtype="float32", quality="HQ")
        self._odd = b""  # half a sample
        self._rest = np.zeros(0, np.float32)  # less than a frame
        self._heard = 0  # frames
        self._kept: list[Samples] = []  # the last frames heard
        self._onset: int | None = None  # the frame where the speech that is going on began
        self._voiced = 0  # frames of speech since then
        self._quiet = 0  # frames of silence since the last speech
        self._speaking = False

    @property
    def speaking(self) -> bool:
        """Whether a turn is going on."""
        return self._speaking

    @property
    def position_ms(self) -> int:
        """How much of the stream was looked at."""
        return self._heard * FRAME_MS

    @property
    def held_samples(self) -> int:
        """How many samples, at 16 kHz, are kept in memory."""
        return len(self._kept) * FRAME_SAMPLES + len(self._rest)

    @property
    def turn_seconds(self) -> float:
        """How long the turn that is going on lasts by now; 0 between turns."""
        return self.held_samples / RATE_HZ if self._speaking else 0.0

    def so_far(self) -> Audio:
        """What was said in the turn that is going on: its `Utterance` will begin with these samples."""
        return self._turn_audio()

    def feed(self, frame: NDArray[Any] | bytes | bytearray | memoryview) -> list[SpeechEvent]:
        """Hear the next piece of the stream.

        Args:
            frame: Any number of mono samples: shape (n,), float in [-1, 1] or int16; or bytes of 16-bit little-endian
                PCM, which may be cut anywhere.

        Returns:
            What happened, in order.

        Raises:
            AudioError: The piece has another shape or type, or holds NaN or infinite samples; it is not heard then.
        """
        samples = self._samples(frame)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=False)
        return self._hear(samples)

    def end_turn(self) -> list[SpeechEvent]:
        """End a turn in its pause, before its silence is long enough: something else knows that it is over."""
        if not self._speaking or self._quiet < self._pause:
            return []
        return [self._utterance(forced=False)]

    def flush(self) -> list[SpeechEvent]:
        """End the stream: hear what is left of it, and end a turn that is going on. Then begin a new stream."""
        samples = np.zeros(0, np.float32)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=True)
        fill = -(len(self._rest) + len(samples)) % FRAME_SAMPLES
        events = self._hear(np.concatenate([samples, np.zeros(fill, np.float32)]))
        if self._speaking:
            events.append(self._utterance(forced=True))
        self.reset()
        return events

    def _samples(self, frame: NDArray[Any] | bytes | bytearray | memoryview) -> Samples:
        if isinstance(frame, (bytes, bytearray, memoryview)):
            data = self._odd + bytes(frame)
            whole = len(data) & ~1
            self._odd = data[whole:]
            return from_pcm16(data[:whole], self._rate_hz).samples
        if getattr(frame, "ndim", 0) != 1 or not (frame.dtype.kind == "f" or frame.dtype == np.int16):
            what = getattr(frame, "dtype", type(frame).__name__), getattr(frame, "shape", ())
            raise AudioError(
                f"A frame has the type {what[0]} and the shape {what[1]}.",
                "Feed mono samples of shape (n,), as floats in [-1, 1] or as int16, or bytes of 16-bit PCM.",
            )
        if frame.dtype == np.int16:
            return frame.astype(np.float32) / np.float32(32768)
        if not np.isfinite(frame).all():
            raise AudioError(
                "A frame holds NaN or infinite samples.", "Find what made them; replace single ones with 0."
            )
        return frame.astype(np.float32)

    def _hear(self, samples: Samples) -> list[SpeechEvent]:
        waiting = np.concatenate([self._rest, samples])
        whole = len(waiting) // FRAME_SAMPLES * FRAME_SAMPLES
        # Copies, so that what is kept of a long piece does not keep all of it.
        self._rest = waiting[whole:].copy()
        events: list[SpeechEvent] = []
        for frame in waiting[:whole].reshape(-1, FRAME_SAMPLES):
            is_speech = self._speech(self._detector.probability(frame))
            self._kept.append(frame.copy())
            self._heard += 1
            events += self._in_turn(is_speech) if self._speaking else self._between_turns(is_speech)
        return events

    def _between_turns(self, is_speech: bool) -> list[SpeechEvent]:
        if is_speech:
            self._onset = self._heard - 1 if self._onset is None else self._onset
            self._voiced += 1
            self._quiet = 0
        else:
            self._quiet += 1
            if self._quiet >= GAP_FRAMES:
                self._onset, self._voiced = None, 0
        if self._onset is None:
            self._keep_last(self._pre_roll)
            return []
        if self._voiced < self._min_speech:
            return []
        self._speaking = True
        return [SpeechBegan(self._onset * FRAME_MS)]

    def _in_turn(self, is_speech: bool) -> list[SpeechEvent]:
        events: list[SpeechEvent] = []
        if is_speech:
            if self._quiet >= self._pause:
                events.append(SpeechResumed((self._heard - 1) * FRAME_MS))
            self._quiet = 0
        else:
            self._quiet += 1
            if self._quiet == self._pause:
                events.append(SpeechPaused((self._heard - self._quiet) * FRAME_MS, self._turn_audio()))
        if self._quiet >= self._end:
            events.append(self._utterance(forced=False))
        elif self._onset is not None and self._heard - self._onset >= self._max:
            events.append(self._utterance(forced=True))
        return events

    def _turn_audio(self) -> Audio:
        """The turn so far, with at most the pause's length of silence at its end."""
        end = len(self._kept) - max(0, self._quiet - self._pause)
        return Audio(np.concatenate(self._kept[:end]), RATE_HZ)

    def _utterance(self, *, forced: bool) -> Utterance:
        assert self._onset is not None
        utterance = Utterance(
            self._turn_audio(), self._onset * FRAME_MS, (self._heard - self._quiet) * FRAME_MS, forced
        )
        # No sample is in two utterances: the next one's pre-roll begins after this one.
        self._keep_last(min(self._pre_roll, max(0, self._quiet - self._pause)))
        self._speaking, self._onset, self._voiced = False, None, 0
        return utterance

    def _keep_last(self, frames: int) -> None:
        del self._kept[: max(0, len(self._kept) - frames)]
