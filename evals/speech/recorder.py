"""The recording of a conversation: what the user said on the left, what was heard of the agent on the right.

`Player` stands for a loudspeaker without a delay: it plays each piece behind the one before, from the moment at which
it came, on whatever clock the event loop has; an interruption stops it at once. So a recording is exact to the sample
on a virtual clock, and on the real one it has no jitter of its own.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sayso.events import AudioDelta, Event, Interrupted, TurnStarted
from sayso.items import Audio
from sayso.speech.audio import resample
from sayso.speech.libraries import library

RATE_HZ: Final = 24_000
"""Of recordings: what the synthesisers make, more than telephones carry."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of sound on the conversation's time line.

    Attributes:
        start_s: When it is first heard.
        audio: What is heard of it.
        turn: Of the session (`sayso.events.Stamp.turn`); 0 for the user's.
        filler: It is no part of the answer.
    """

    start_s: float
    audio: Audio
    turn: int = 0
    filler: bool = False

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.start_s + self.audio.seconds

    def until(self, moment_s: float) -> Piece:
        """What of it is heard before ``moment_s``."""
        count = max(0, round((moment_s - self.start_s) * self.audio.sample_rate_hz))
        return replace(self, audio=replace(self.audio, samples=self.audio.samples[:count]))


class Player:
    """What is heard of the agent.

    Args:
        now: The clock, in seconds.

    Attributes:
        pieces: All that was or will be heard, in order.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.pieces: list[Piece] = []
        self._turn = 0
        self._generation = 0

    @property
    def ends_s(self) -> float:
        """When all that came by now has been heard."""
        return self.pieces[-1].end_s if self.pieces else 0.0

    @property
    def is_playing(self) -> bool:
        """Whether something is heard, or will be."""
        return self.ends_s > self._now()

    def take(self, event: Event) -> None:
        """An event of the session, as it happens."""
        if event.generation < self._generation:
            return
        self._generation = event.generation
        match event:
            case TurnStarted():
                self._turn = event.turn
            case AudioDelta() if len(event.audio.samples):
                self._turn = event.turn
                start_s = max(self.ends_s, self._now())
                self.pieces.append(Piece(start_s, event.audio, event.turn, event.filler))
            case Interrupted():
                self.stop()
            case _:
                pass

    def stop(self) -> None:
        """Drop what was not heard yet."""
        now_s = self._now()
        self.pieces = [piece.until(now_s) for piece in self.pieces if piece.start_s < now_s]

    def played_ms(self) -> int | None:
        """How much of the last turn's sound has been heard; None where it has none."""
        now_s = self._now()
        pieces = [piece for piece in self.pieces if piece.turn == self._turn]
        heard_s = sum(max(0.0, min(now_s, piece.end_s) - piece.start_s) for piece in pieces)
        return round(heard_s * 1000) if pieces else None

    def began_s(self, since_s: float) -> float | None:
        """When the agent began to be heard after ``since_s``; None: not yet."""
        now_s = self._now()
        return next((piece.start_s for piece in self.pieces if since_s <= piece.start_s <= now_s), None)


def track(pieces: Iterable[Piece], from_s: float, to_s: float, rate_hz: int = RATE_HZ) -> Audio:
    """The pieces as one sound, silence between them.

    Args:
        pieces: In order; of those that lie on one another the sum is heard.
        from_s: Where the sound begins.
        to_s: Where it ends.
        rate_hz: Of the sound.
    """
    samples = np.zeros(max(0, round((to_s - from_s) * rate_hz)), np.float32)
    for piece in _joined(pieces):
        sound = resample(piece.audio, rate_hz).samples
        at = round((piece.start_s - from_s) * rate_hz)
        sound = sound[max(0, -at) :]
        at = max(0, at)
        sound = sound[: max(0, len(samples) - at)]
        samples[at : at + len(sound)] += sound
    return Audio(samples, rate_hz)


def two_channels(left: Audio, right: Audio) -> NDArray[np.float32]:
    """Two sounds of one rate side by side, shape (n, 2)."""
    count = max(len(left.samples), len(right.samples))
    both = np.zeros((count, 2), np.float32)
    both[: len(left.samples), 0] = left.samples
    both[: len(right.samples), 1] = right.samples
    return both


def write_recording(path: Path, left: Audio, right: Audio) -> Path:
    """Write a FLAC file with two channels, 16 bits. It appears whole or not at all.

    Raises:
        UsageError: The package soundfile is not installed.
        OSError: It cannot be written.
    """
    encoded = io.BytesIO()
    both = np.clip(two_channels(left, right), -1, 1)
    library("soundfile").write(encoded, both, left.sample_rate_hz, format="FLAC", subtype="PCM_16")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(encoded.getbuffer())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Pieces without a gap between them as one, so that resampling leaves no seams."""
    runs: list[list[Piece]] = []
    for piece in pieces:
        last = runs[-1][-1] if runs else None
        follows = last is not None and abs(last.end_s - piece.start_s) < 0.5 / piece.audio.sample_rate_hz
        if last is not None and follows and last.audio.sample_rate_hz == piece.audio.sample_rate_hz:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return [
        replace(run[0], audio=replace(run[0].audio, samples=np.concatenate([piece.audio.samples for piece in run])))
        for run in runs
    ]
