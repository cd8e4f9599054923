"""The microphone and the speaker of this machine, for `sayso talk`.

Both are opened and closed with ``async with``, by one owner. PortAudio calls them from a thread of its own: it only
moves samples, and it is gone when the block ends.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

import numpy as np

from sayso.errors import UsageError
from sayso.items import Audio, Samples
from sayso.speech import devices
from sayso.speech.audio import resample
from sayso.speech.decode import checked_rate
from sayso.speech.libraries import library
from sayso.speech.playout import PlayoutClock

FLOOR_DB = -90.0
"""The level of silence."""


class Stream(Protocol):
    """An open input or output of a sound device. `Microphone` and `Speaker` start it once and close it once."""

    @property
    def sample_rate_hz(self) -> int:
        """The rate it runs at, which need not be the one that was asked for."""
        ...

    def start(self) -> None:
        """Begin to call back."""
        ...

    def close(self) -> None:
        """Stop; no call back comes after this returns."""
        ...


Deliver: TypeAlias = "Callable[[Samples | None], None]"
"""Takes the next recorded samples, shape (n,), or None where the device is gone."""
Render: TypeAlias = "Callable[[int], Samples]"
"""Gives the next n samples to play, shape (n,)."""
OpenInput: TypeAlias = "Callable[[int, int, Deliver], Stream]"
OpenOutput: TypeAlias = "Callable[[int, int, Render], Stream]"
"""Opens a device from the wanted rate, the samples of a block at that rate, and the call back."""


def level_db(samples: Samples) -> float:
    """The loudness of ``samples``: root mean square in dB of full scale, from `FLOOR_DB` (silence) to about 0."""
    if not len(samples):
        return FLOOR_DB
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return max(FLOOR_DB, 10 * np.log10(power)) if power > 0 else FLOOR_DB


class Microphone:
    """Records: ``async with Microphone(16000) as microphone: async for frame in microphone: ...``.

    Attributes:
        sample_rate_hz: Of the frames; where the device has another rate they are resampled.
        level_db: Loudness of the last frame, see the function `level_db`.
        dropped_frames: How many were lost because nobody took them in time.
    """

    def __init__(
        self,
        sample_rate_hz: int = 16_000,
        *,
        frame_ms: int = 20,
        waiting_ms: int = 5_000,
        open_stream: OpenInput | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            sample_rate_hz: Of the frames.
            frame_ms: The length of a frame. It varies by a few samples where they are resampled.
            waiting_ms: How much is kept for a slow consumer; then the oldest frame is dropped.
            open_stream: Another source than the machine's default microphone.
        """
        self.sample_rate_hz = checked_rate(sample_rate_hz)
        self.level_db = FLOOR_DB
        self.dropped_frames = 0
        self._frame_samples = self.sample_rate_hz * frame_ms // 1000
        self._frames: deque[Samples | None] = deque()
        self._most = max(1, waiting_ms // frame_ms)
        self._open_stream = open_stream or devices.open_input
        self._stream: Stream | None = None

    async def __aenter__(self) -> Self:
        """Begin to record.

        Raises:
            UsageError: There is no sound device, or it cannot be opened.
        """
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._frames.clear()
        self._resampler: Any = None
        self._stream = self._open_stream(self.sample_rate_hz, self._frame_samples, self._deliver)
        try:
            if (rate_hz := self._stream.sample_rate_hz) != self.sample_rate_hz:
                soxr = library("soxr")
                self._resampler = soxr.ResampleStream(rate_hz, self.sample_rate_hz, 1, dtype="float32", quality="HQ")
            self._stream.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.aclose()

    async def aclose(self) -> None:
        """Stop recording; the iteration ends after the frames that are waiting. Idempotent."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await asyncio.to_thread(stream.close)
            self._put_end()

    def __aiter__(self) -> Self:
        """The frames, from now on."""
        return self

    async def __anext__(self) -> Samples:
        """The next frame, shape (n,), float32.

        Raises:
            UsageError: The device is gone.
        """
        while not self._frames:
            if self._stream is None:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        frame = self._frames.popleft()
        if frame is None:
            self._put_end()  # for whoever asks again
            if self._stream is None:
                raise StopAsyncIteration
            raise UsageError("The microphone stopped.", "Check that it is plugged in, then start again.")
        self.level_db = level_db(frame)
        return frame

    def _deliver(self, samples: Samples | None) -> None:
        """Called by the device's thread."""
        frame = None if samples is None else samples.astype(np.float32)  # a copy: the device reuses its buffer
        try:
            self._loop.call_soon_threadsafe(self._put, frame)
        except RuntimeError:  # the loop is closed
            return

    def _put(self, frame: Samples | None) -> None:
        if frame is None:
            self._put_end()
            return
        if self._resampler is not None:
            frame = self._resampler.resample_chunk(frame, last=False)
        if frame is None or not len(frame) or self._stream is None:
            return
        if len(self._frames) >= self._most:
            self._frames.popleft()
            self.dropped_frames += 1
        self._frames.append(frame)
        self._arrived.set()

    def _put_end(self) -> None:
        if not self._frames or self._frames[-1] is not None:
            self._frames.append(None)
        self._arrived.set()


class Speaker:
    """Plays pieces of sound one after another: ``async with Speaker(24000) as speaker: speaker.play(audio)``."""

    def __init__(
        self, sample_rate_hz: int = 24_000, *, block_ms: int = 20, open_stream: OpenOutput | None = None
    ) -> None:
        """Open nothing yet.

        Args:
            sample_rate_hz: Of the sound that will be played; pieces with another rate are resampled.
            block_ms: How much the device takes at once, and so how soon `stop` is heard.
            open_stream: Another sink than the machine's default speaker.
        """
        self.sample_rate_hz = checked_rate(sample_rate_hz)
        self._block_ms = block_ms
        self._open_stream = open_stream or devices.open_output
        self._stream: Stream | None = None
        self._lock = threading.Lock()  # over what follows: the device's thread reads it
        self._pieces: deque[Samples] = deque()
        self._clock = PlayoutClock(self.sample_rate_hz)
        self._waiting: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> Self:
        """Begin to play.

        Raises:
            UsageError: There is no sound device, or it cannot be opened.
        """
        self._loop = asyncio.get_running_loop()
        wanted_hz = self.sample_rate_hz
        self._stream = self._open_stream(wanted_hz, wanted_hz * self._block_ms // 1000, self._render)
        try:
            self.sample_rate_hz = self._stream.sample_rate_hz
            self.new_reply()
            self._stream.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop at once."""
        await self.aclose()

    async def aclose(self) -> None:
        """Stop and close the device. Idempotent."""
        self.stop()
        stream, self._stream = self._stream, None
        if stream is not None:
            await asyncio.to_thread(stream.close)

    @property
    def playing(self) -> bool:
        """Whether there is sound that was not played yet."""
        with self._lock:
            return self._clock.pending_samples > 0

    @property
    def played_ms(self) -> int:
        """How much of this reply the device took. What it still buffers (some 10 to 50 ms) counts as played."""
        with self._lock:
            return self._clock.played_ms

    @property
    def heard_text(self) -> str:
        """The words of this reply that were played, see `PlayoutClock.heard_text`."""
        with self._lock:
            return self._clock.heard_text

    def play(self, audio: Audio, text: str = "") -> None:
        """Queue a piece behind the others.

        Args:
            audio: At any rate.
            text: The words it speaks; empty for fillers.
        """
        samples = resample(audio, self.sample_rate_hz).samples
        with self._lock:
            self._clock.queue(len(samples), text)
            if len(samples):
                self._pieces.append(samples)

    def stop(self) -> int:
        """Drop what was not played, within one block. Returns `played_ms`."""
        with self._lock:
            self._pieces.clear()
            self._clock.stop()
            played_ms = self._clock.played_ms
        self._wake()
        return played_ms

    def new_reply(self) -> None:
        """Drop what was not played and count `played_ms` and `heard_text` from 0."""
        self.stop()
        with self._lock:
            self._clock = PlayoutClock(self.sample_rate_hz)

    async def drain(self) -> None:
        """Wait until all that is queued was played or dropped."""
        done = self._loop.create_future()
        self._waiting.add(done)
        try:
            if self.playing:
                await done
        finally:
            self._waiting.discard(done)

    def _render(self, count: int) -> Samples:
        """The next ``count`` samples; called by the device's thread."""
        block = np.zeros(count, np.float32)
        with self._lock:
            filled = 0
            while self._pieces and filled < count:
                piece = self._pieces[0][: count - filled]
                block[filled : filled + len(piece)] = piece
                filled += len(piece)
                if len(piece) == len(self._pieces[0]):
                    self._pieces.popleft()
                else:
                    self._pieces[0] = self._pieces[0][len(piece) :]
            self._clock.play(filled)
            finished = filled > 0 and not self._pieces
        if finished:
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # the loop is closed
                pass
        return block

    def _wake(self) -> None:
        if not self.playing:
            for done in self._waiting:
                if not done.done():
                    done.set_result(None)
