"""Sound made faster or slower without changing its pitch, while it is still being made.

WSOLA (Verhelst and Roelands, "An overlap-add technique based on waveform similarity", ICASSP 1993): windows are taken
from the input at one pace and laid down at another, each from where, within a few milliseconds, it fits best to what
naturally followed the one before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sayso.errors import UsageError
from sayso.items import Audio

MIN_SPEED, MAX_SPEED = 0.25, 4.0

_WINDOW_S = 0.03
_SEARCH_S = 0.0075  # to either side: a period of the lowest voices


class Stretcher:
    """Changes the pace of one sound, piece by piece.

    Args:
        sample_rate_hz: Of the pieces.
        speed: 0.25 to 4: how many seconds of input make one of output.

    Raises:
        UsageError: The speed is out of range.
    """

    def __init__(self, sample_rate_hz: int, speed: float) -> None:
        if not MIN_SPEED <= speed <= MAX_SPEED:
            raise UsageError(f"A speed of {speed} is out of range.", f"Take one from {MIN_SPEED} to {MAX_SPEED:g}.")
        self._rate_hz = sample_rate_hz
        self._speed = speed
        self._step = round(_WINDOW_S * sample_rate_hz) // 2  # windows are laid down half over each other
        self._search = round(_SEARCH_S * sample_rate_hz)
        self._window: NDArray[np.float32] = np.hanning(2 * self._step + 1)[:-1].astype(np.float32)
        self._input = np.zeros(0, np.float32)
        self._dropped = 0  # samples of the input that are gone already
        self._tail = np.zeros(self._step, np.float32)  # the second half of the window that was laid down last
        self._count = 0  # windows so far
        self._follows = 0  # where in the input the sound of the last window went on

    def feed(self, audio: Audio) -> Audio:
        """The next piece; returns what is ready."""
        self._input = np.concatenate([self._input, np.asarray(audio.samples, np.float32)])
        return self._run()

    def finish(self) -> Audio:
        """The sound is over; returns the rest."""
        total = self._dropped + len(self._input)
        self._input = np.concatenate([self._input, np.zeros(4 * self._step + 2 * self._search, np.float32)])
        wanted = round(total / self._speed) - self._count * self._step
        ready = np.concatenate([self._run().samples, self._tail])
        return Audio(ready[: max(0, wanted)], self._rate_hz)

    def _run(self) -> Audio:
        done: list[NDArray[np.float32]] = []
        while (at := self._next()) is not None:
            found = self._input[at - self._dropped : at - self._dropped + 2 * self._step] * self._window
            done.append(self._tail + found[: self._step])
            self._tail = found[self._step :]
            self._follows = at + self._step
            self._count += 1
        self._forget()
        return Audio(np.concatenate(done) if done else np.zeros(0, np.float32), self._rate_hz)

    def _next(self) -> int | None:
        """Where in the input the next window begins; None while too little is there."""
        ideal = round(self._count * self._step * self._speed)
        last = self._dropped + len(self._input)
        if max(ideal + self._search, self._follows) + 2 * self._step > last:
            return None
        if not self._count:
            return 0
        first = max(ideal - self._search, self._dropped)
        candidates = self._input[first - self._dropped : ideal + self._search + self._step - self._dropped]
        natural = self._input[self._follows - self._dropped : self._follows - self._dropped + self._step]
        likeness = np.correlate(candidates, natural)
        energy = np.convolve(np.square(candidates), np.ones(self._step, np.float32), "valid")
        return first + int(np.argmax(likeness / np.sqrt(energy + 1e-6)))

    def _forget(self) -> None:
        needed = min(self._follows, round(self._count * self._step * self._speed) - self._search)
        if (gone := needed - self._dropped) > 0:
            self._input = self._input[gone:]
            self._dropped += gone
