"""Sound as it is on the wire: PCM of 16 bits and 24 kHz, or G.711; from there to samples, and back."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sayso.items import Audio, JsonObject, Samples
from sayso.server.errors import InvalidRequest
from sayso.speech import g711
from sayso.speech.audio import from_pcm16, resample, to_pcm16
from sayso.speech.libraries import library

FormatName: TypeAlias = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]

SHORTEST_MS = 40
LONGEST_MS = 200
"""Of a delta: shorter ones cost more than they carry, longer ones come late and are cut off in whole."""


@dataclass(frozen=True, slots=True)
class Format:
    """How sound is written.

    Attributes:
        name: Its type in the protocol.
    """

    name: FormatName

    @property
    def rate_hz(self) -> int:
        """Samples a second."""
        return 24_000 if self.name == "audio/pcm" else g711.RATE_HZ

    @property
    def bytes_per_sample(self) -> int:
        """Of one sample."""
        return 2 if self.name == "audio/pcm" else 1

    def echo(self) -> JsonObject:
        """As the protocol shows it."""
        return {"type": self.name, "rate": self.rate_hz} if self.name == "audio/pcm" else {"type": self.name}

    def samples(self, data: bytes) -> Samples:
        """The sound in ``data``, which holds whole samples."""
        if self.name == "audio/pcm":
            return from_pcm16(data, self.rate_hz).samples
        return g711.decode(data, self._law).astype(np.float32) / np.float32(32768)

    def bytes_of(self, samples: Samples) -> bytes:
        """``samples`` at `rate_hz` as they are written."""
        pcm = to_pcm16(Audio(samples, self.rate_hz))
        return pcm if self.name == "audio/pcm" else g711.encode(np.frombuffer(pcm, "<i2"), self._law)

    def milliseconds(self, count: int) -> float:
        """How long ``count`` bytes last."""
        return count * 1000 / (self.rate_hz * self.bytes_per_sample)

    @property
    def _law(self) -> g711.Law:
        return "pcmu" if self.name == "audio/pcmu" else "pcma"


PCM = Format("audio/pcm")


def from_base64(text: str, param: str) -> bytes:
    """The bytes in ``text``.

    Raises:
        InvalidRequest: It is no base64; ``param`` names the field.
    """
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            f"Invalid '{param}': it is no base64 ({error}).",
            "Send the bytes of the sound in standard base64 with its padding.",
            code="invalid_value",
            param=param,
        ) from None


def to_base64(data: bytes) -> str:
    """``data`` as base64."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def to_audio(format: Format, text: str, param: str) -> Audio:
    """A whole sound from its base64.

    Raises:
        InvalidRequest: It is none.
    """
    data = from_base64(text, param)
    if not data or len(data) % format.bytes_per_sample:
        raise InvalidRequest(
            f"Invalid '{param}': {len(data)} bytes are no whole samples of {format.name}.",
            code="invalid_value",
            param=param,
        )
    return Audio(format.samples(data), format.rate_hz)


def from_audio(format: Format, audio: Audio) -> str:
    """A whole sound as base64."""
    return to_base64(format.bytes_of(resample(audio, format.rate_hz).samples))


class Pieces:
    """Makes pieces for deltas of a stream of sound.

    Args:
        format: What they are written in.
    """

    def __init__(self, format: Format) -> None:
        self._format = format
        self._rate_hz = 0
        self._resampler: Any = None
        self._rest: Samples = np.zeros(0, np.float32)

    def feed(self, audio: Audio) -> list[bytes]:
        """The next sound; pieces of `SHORTEST_MS` to `LONGEST_MS`, what is left over comes later."""
        ended = self._end_resampling() if audio.sample_rate_hz != self._rate_hz else None
        if audio.sample_rate_hz != self._rate_hz:
            self._rate_hz = audio.sample_rate_hz
            if self._rate_hz != self._format.rate_hz:
                self._resampler = library("soxr").ResampleStream(
                    self._rate_hz, self._format.rate_hz, 1, dtype="float32", quality="HQ"
                )
        samples: NDArray[np.float32] = audio.samples
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=False)
        waiting = [self._rest, samples] if ended is None else [self._rest, ended, samples]
        whole = np.concatenate(waiting) if len(self._rest) or ended is not None else samples
        return self._cut(whole, self._count(SHORTEST_MS))

    def flush(self) -> list[bytes]:
        """The stream ends: what is left."""
        ended = self._end_resampling()
        whole = self._rest if ended is None else np.concatenate([self._rest, ended])
        self._rate_hz = 0
        return self._cut(whole, 1)

    def _end_resampling(self) -> Samples | None:
        resampler, self._resampler = self._resampler, None
        return None if resampler is None else resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def _cut(self, samples: Samples, shortest: int) -> list[bytes]:
        longest, start, pieces = self._count(LONGEST_MS), 0, list[bytes]()
        while len(samples) - start >= shortest:
            pieces.append(self._format.bytes_of(samples[start : start + longest]))
            start += longest
        self._rest = samples[start:].copy()
        return pieces

    def _count(self, length_ms: int) -> int:
        return self._format.rate_hz * length_ms // 1000
