"""`Playout`: what is said on its way into a track: in order, resampled, and counted as it is played."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sayso.items import Audio, Samples
from sayso.server.realtime.outgoing import Heard
from sayso.speech.libraries import library

RATE_HZ = 48_000
"""Of Opus."""
FRAME = 960
"""20 ms: what one packet holds."""

Tell = Callable[[str, str], None]
"""Told what happens to the sound of a response (``started``, ``stopped``, ``cleared``), and its id."""


@dataclass(slots=True)
class _Piece:
    samples: Samples
    heard: Heard
    at: int = 0  # so much of it was played


@dataclass(slots=True, eq=False)
class _Part:
    """The sound of one response."""

    response_id: str
    pieces: deque[_Piece] = field(default_factory=deque[_Piece])
    resampler: Any = None
    rate_hz: int = 0
    has_begun: bool = False
    has_ended: bool = False
    heard: Heard | None = None  # of the last piece that came


class Playout:
    """An `sayso.server.realtime.responses.AudioSink` that a track takes its frames from.

    Args:
        tell: See `Tell`.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._parts: deque[_Part] = deque()

    def play(self, response_id: str, audio: Audio, heard: Heard) -> None:
        """The next sound of a response; never fails, never waits."""
        part = next((one for one in self._parts if one.response_id == response_id), None)
        if part is None:
            part = _Part(response_id)
            self._parts.append(part)
        if audio.sample_rate_hz != part.rate_hz:
            self._finish(part)
            part.rate_hz = audio.sample_rate_hz
            if part.rate_hz != RATE_HZ:
                part.resampler = library("soxr").ResampleStream(part.rate_hz, RATE_HZ, 1, dtype="float32", quality="HQ")
        part.heard = heard
        samples = audio.samples
        if part.resampler is not None:
            samples = part.resampler.resample_chunk(samples, last=False)
        part.pieces.append(_Piece(samples, heard))

    def end(self, response_id: str) -> None:
        """All sound of the response came."""
        for part in self._parts:
            if part.response_id == response_id:
                self._finish(part)
                part.has_ended = True

    def drop(self, response_id: str) -> None:
        """The response was cut off: what of it was not played is void."""
        for part in [one for one in self._parts if one.response_id == response_id]:
            self._parts.remove(part)
            if part.has_begun:
                self._tell("cleared", response_id)

    def frame(self) -> Samples:
        """The next 20 ms, shape (960,): what is said, and silence where nothing is."""
        found, filled = np.zeros(FRAME, np.float32), 0
        while filled < FRAME and self._parts:
            part = self._parts[0]
            if part.pieces:
                filled += self._take(part, found[filled:])
            elif part.has_ended:
                self._parts.popleft()
                if part.has_begun:
                    self._tell("stopped", part.response_id)
            else:
                break  # it is slower than speech: wait for it
        return found

    def _take(self, part: _Part, into: Samples) -> int:
        if not part.has_begun:
            part.has_begun = True
            self._tell("started", part.response_id)
        piece = part.pieces[0]
        count = min(len(into), len(piece.samples) - piece.at)
        into[:count] = piece.samples[piece.at : piece.at + count]
        piece.at += count
        heard = piece.heard
        heard.sent_ms = min(heard.made_ms, heard.sent_ms + count * 1000 / RATE_HZ)
        if piece.at == len(piece.samples):
            part.pieces.popleft()
            if part.has_ended and not any(other.heard is heard for other in part.pieces):
                heard.sent_ms = heard.made_ms  # the resampler rounds
        return count

    def _finish(self, part: _Part) -> None:
        resampler, part.resampler = part.resampler, None
        if resampler is not None and part.heard is not None:
            part.pieces.append(_Piece(resampler.resample_chunk(np.zeros(0, np.float32), last=True), part.heard))
