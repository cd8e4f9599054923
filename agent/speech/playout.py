"""What of a reply was heard: arithmetic over the pieces that were queued and the samples that were played."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A word is a run without white space; in Chinese and Japanese, where words are not set apart, one character.
_WIDE = "\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff60"
_WORD = re.compile(rf"\s*(?:[{_WIDE}]|[^\s{_WIDE}]+)")
_WIDE_CHARACTER = re.compile(f"[{_WIDE}]")


@dataclass(frozen=True, slots=True)
class _Piece:
    samples: int
    text: str


class PlayoutClock:
    """Counts samples of one reply. It has no clock of its own: whoever plays tells it what was played.

    Pieces are queued in the order in which they are played. `played_ms` and `heard_text` only grow, and never go
    beyond what was queued. Not for several threads at once; `sayso.speech.microphone.Speaker` guards its own.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        """Begin with nothing queued.

        Args:
            sample_rate_hz: Of all pieces.
        """
        self._rate_hz = sample_rate_hz
        self._pieces: list[_Piece] = []
        self._queued = 0
        self._played = 0

    @property
    def played_ms(self) -> int:
        """How much was played, in whole milliseconds."""
        return self._played * 1000 // self._rate_hz

    @property
    def queued_ms(self) -> int:
        """How much was queued, played or not."""
        return self._queued * 1000 // self._rate_hz

    @property
    def pending_samples(self) -> int:
        """How much is still to be played."""
        return self._queued - self._played

    @property
    def heard_text(self) -> str:
        """The words of what was played.

        Of a piece that was played in part it holds those words that end within the same part of its text, as if every
        character took the same time. A piece without sound counts once all before it was played.
        """
        heard = ""
        start = 0
        for piece in self._pieces:
            played = min(piece.samples, self._played - start)
            heard = _joined(heard, piece.text if played == piece.samples else _first_words(piece, played))
            if played < piece.samples:
                break
            start += piece.samples
        return heard

    def queue(self, samples: int, text: str = "") -> None:
        """Add a piece behind the others.

        Args:
            samples: Its length.
            text: The words it speaks; leave it empty for sound that is no part of history, such as a filler.
        """
        if samples < 0:
            raise ValueError(f"A piece cannot have {samples} samples.")
        self._pieces.append(_Piece(samples, text))
        self._queued += samples

    def play(self, samples: int) -> int:
        """Note that ``samples`` more were played; returns how many of them were queued (the rest was silence)."""
        if samples < 0:
            raise ValueError(f"{samples} samples cannot be played.")
        real = min(samples, self.pending_samples)
        self._played += real
        return real

    def stop(self) -> None:
        """Drop what was not played. What was heard stays as it is."""
        kept: list[_Piece] = []
        start = 0
        for piece in self._pieces:
            played = min(piece.samples, self._played - start)
            if played < piece.samples:
                if played > 0:
                    kept.append(_Piece(played, _first_words(piece, played)))
                break
            kept.append(piece)
            start += piece.samples
        self._pieces = kept
        self._queued = self._played


def _first_words(piece: _Piece, played: int) -> str:
    """The words of ``piece`` that lie whole within its first ``played`` samples."""
    end = 0
    for word in _WORD.finditer(piece.text):
        if word.end() * piece.samples > played * len(piece.text):
            break
        end = word.end()
    return piece.text[:end]


def _joined(before: str, after: str) -> str:
    """Two texts as one, with a space between them where the language sets one."""
    if not before or not after or before[-1].isspace() or after[0].isspace():
        return before + after
    if _WIDE_CHARACTER.match(before[-1]) or _WIDE_CHARACTER.match(after[0]):
        return before + after
    return f"{before} {after}"
