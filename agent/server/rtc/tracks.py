"""Tracks of sound: what is said, paced by the clock, and what is heard."""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError
from av import AudioFrame, AudioResampler

from sayso.items import Audio, Samples
from sayso.server.rtc.playout import FRAME, RATE_HZ, Playout
from sayso.speech.audio import to_pcm16

LATE_S = 0.2
"""A track that is so much behind (the machine stood still) begins to count anew instead of rushing."""


class VoiceTrack(AudioStreamTrack):
    """What is said, 20 ms every 20 ms.

    Args:
        playout: Gives the frames.
    """

    def __init__(self, playout: Playout) -> None:
        super().__init__()
        self._playout = playout
        self._count = 0
        self._due_s: float | None = None

    async def recv(self) -> AudioFrame:
        """The next frame, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if self._due_s is None or now_s - self._due_s > LATE_S:
            self._due_s = now_s
        await asyncio.sleep(self._due_s - now_s)
        self._due_s += FRAME / RATE_HZ
        frame: Any = AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(to_pcm16(Audio(self._playout.frame(), RATE_HZ)))
        frame.sample_rate, frame.pts = RATE_HZ, self._count
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        self._count += FRAME
        return frame


async def listen(track: Any, rate_hz: Callable[[], int], hear: Callable[[Samples], Awaitable[None]]) -> None:
    """Hand on what is heard, until the track ends.

    Args:
        track: The other side's.
        rate_hz: What is asked for now.
        hear: Takes samples at that rate.
    """
    resampler, rate = None, 0
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        if resampler is None or rate != rate_hz():
            rate = rate_hz()
            resampler = AudioResampler(format="s16", layout="mono", rate=rate)
        for piece in resampler.resample(frame):
            await hear(piece.to_ndarray().reshape(-1).astype(np.float32) / np.float32(32768))
