"""What users said, encoded piece by piece: while they still speak, where somebody listens so early."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor

from sayso.items import Audio, Samples
from sayso.models.step_audio2.encoder import AudioEncoder
from sayso.models.step_audio2.features import PIECE_SECONDS, SAMPLE_RATE_HZ, next_cut, pieces, to_mono16k

T = TypeVar("T")
KEPT = 128
"""So many pieces stay encoded: those of a few conversations."""


class Sounds:
    """Encodes sound, and knows a piece of it again by its content. For one thread.

    Where a piece ends depends on nothing behind it, and each is encoded alone. So what was encoded while somebody
    spoke is, bit by bit, what encoding everything at the end gives.

    Args:
        encoder: The checkpoint's.
    """

    def __init__(self, encoder: AudioEncoder) -> None:
        self._encoder = encoder
        self._pieces = _Kept[Tensor]()
        self._resampled = _Kept[Samples]()

    def heard(self, audio: Audio) -> list[tuple[str, Tensor]]:
        """The pieces of a sound: a name of the content and the embeddings of each. What is new is encoded now."""
        return [self._encoded(piece) for piece in pieces(self._at_16k(audio))]

    def overhear(self, audio: Audio) -> float:
        """Encode the first new piece that is complete; see `sayso.models.base.Overhearing`."""
        samples, start = self._at_16k(audio), 0
        while (length := next_cut(samples[start:])) is not None:
            piece = samples[start : start + length]
            start += length
            if _name(piece) not in self._pieces:
                self._encoded(piece)
                break
        return start / SAMPLE_RATE_HZ + PIECE_SECONDS

    def _encoded(self, piece: Samples) -> tuple[str, Tensor]:
        name = _name(piece)
        return name, self._pieces.get(name, lambda: self._encoder.encode([piece])[0])

    def _at_16k(self, audio: Audio) -> Samples:
        from sayso.speech.audio import resample

        if audio.sample_rate_hz == SAMPLE_RATE_HZ:
            return to_mono16k(audio.samples)
        name = f"{audio.sample_rate_hz} {_name(audio.samples)}"  # a conversation's sounds come again in every round
        return self._resampled.get(name, lambda: to_mono16k(resample(audio, SAMPLE_RATE_HZ).samples))


class _Kept(Generic[T]):
    """The values that were wanted last, by name."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, T] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: str, make: Callable[[], T]) -> T:
        """The value of this name, made where it is not kept."""
        if name not in self._values:
            self._values[name] = make()
            if len(self._values) > KEPT:
                self._values.popitem(last=False)
        self._values.move_to_end(name)
        return self._values[name]


def _name(samples: Samples) -> str:
    return hashlib.sha256(samples.tobytes()).hexdigest()
