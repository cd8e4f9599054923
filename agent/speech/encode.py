"""Sound as files: the formats that are sent over HTTP, whole or while the sound is still being made.

Everything leaves as 24 kHz mono. WAV, FLAC, MP3 and Ogg Opus are written by libsndfile, AAC (ADTS) by FFmpeg through
PyAV.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from sayso.errors import AudioError, UsageError
from sayso.items import Audio
from sayso.speech.audio import to_pcm16
from sayso.speech.libraries import library

RATE_HZ: Final = 24_000
"""Of everything that is encoded; Opus knows no 22.05 kHz, and clients of the OpenAI protocols expect this one."""

Format: TypeAlias = Literal["wav", "flac", "mp3", "opus", "aac", "pcm"]
"""``pcm``: signed 16-bit little-endian samples without a header; ``opus``: in Ogg; ``aac``: ADTS frames."""

MEDIA_TYPES: Final[dict[Format, str]] = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "pcm": "audio/pcm",
}

_SOUND_FILES: Final[dict[Format, dict[str, Any]]] = {
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    # At a variable rate MP3 needs the header that is written last; 0.5 is 80 kbit/s at this sample rate.
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT", "compression_level": 0.5},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}
_AAC_BITS_PER_S = 96_000
_UNKNOWN_SIZE = 0xFFFFFFFF  # what writers to a pipe put where a size belongs that they do not know yet


class Encoder(Protocol):
    """Writes one sound piece by piece. What it returns, put together, is the file."""

    def feed(self, audio: Audio) -> bytes:
        """The next piece, of any rate that is constant; returns what is ready, which may be nothing."""
        ...

    def finish(self) -> bytes:
        """The sound is over; returns the rest. Call it once."""
        ...


def encoder(format: Format) -> Encoder:
    """An encoder that writes a stream: lengths that are only known at the end are left open in its header.

    Raises:
        UsageError: There is no such format, or its package is not installed.
    """
    match format:
        case "pcm":
            return _Pcm()
        case "wav":
            return _Pcm(wav_header(None))
        case "aac":
            return _Aac()
        case "flac" | "mp3" | "opus":
            return _SoundFile(_SOUND_FILES[format])
    raise UsageError(f"There is no sound format {format!r}.", f"Formats are: {', '.join(get_args(Format))}.")


def encode(audio: Audio, format: Format) -> bytes:
    """``audio`` as a whole file.

    Raises:
        AudioError: There is no sound.
        UsageError: As `encoder`.
    """
    return encode_all([audio], format)


def encode_all(pieces: Iterable[Audio], format: Format) -> bytes:
    """The pieces, one after another, as a whole file; see `encode`."""
    writer = encoder("pcm" if format == "wav" else format)
    parts = [writer.feed(piece) for piece in pieces]
    if not parts:
        raise AudioError("There is no sound to encode.", "Pass at least one piece.")
    data = b"".join([*parts, writer.finish()])
    if isinstance(writer, _SoundFile):
        return writer.whole
    return wav_header(len(data)) + data if format == "wav" else data


def wav_header(size: int | None) -> bytes:
    """The 44 bytes before 16-bit mono samples at `RATE_HZ` (RIFF WAVE, format 1).

    Args:
        size: Bytes of samples; None: not known yet.
    """
    riff, data = (_UNKNOWN_SIZE, _UNKNOWN_SIZE) if size is None else (36 + size, size)
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    return b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + form + b"data" + struct.pack("<I", data)


class _Resampled:
    """Brings pieces of one sound to `RATE_HZ`, without seams between them."""

    def __init__(self) -> None:
        self._rate_hz = 0
        self._resampler: Any = None

    def feed(self, audio: Audio) -> NDArray[np.float32]:
        if self._rate_hz not in (0, audio.sample_rate_hz):
            raise AudioError(
                f"A sound that began with {self._rate_hz} Hz goes on with {audio.sample_rate_hz} Hz.",
                "Encode sounds of one rate together.",
            )
        if not self._rate_hz:
            self._rate_hz = audio.sample_rate_hz
            if audio.sample_rate_hz != RATE_HZ:
                self._resampler = library("soxr").ResampleStream(self._rate_hz, RATE_HZ, 1, dtype="float32")
        samples = np.ascontiguousarray(np.nan_to_num(audio.samples), np.float32)
        return samples if self._resampler is None else self._resampler.resample_chunk(samples)

    def finish(self) -> NDArray[np.float32]:
        rest = np.zeros(0, np.float32)
        return rest if self._resampler is None else self._resampler.resample_chunk(rest, last=True)


class _Pcm:
    """Samples as they are, behind ``header``."""

    def __init__(self, header: bytes = b"") -> None:
        self._header = header
        self._sound = _Resampled()

    def feed(self, audio: Audio) -> bytes:
        return self._write(self._sound.feed(audio))

    def finish(self) -> bytes:
        return self._write(self._sound.finish())

    def _write(self, samples: NDArray[np.float32]) -> bytes:
        header, self._header = self._header, b""
        return header + to_pcm16(Audio(samples, RATE_HZ))


class _Out(io.BytesIO):
    """A file in memory whose new bytes are handed on."""

    _sent = 0

    def take(self) -> bytes:
        with self.getbuffer() as written:
            data = bytes(written[self._sent :])
        self._sent += len(data)
        return data


class _SoundFile:
    """What libsndfile writes, handed on as it comes.

    At the end libsndfile goes back to write lengths into its header: for a stream those bytes have left already.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._sound = _Resampled()
        self._out = _Out()
        self._file: Any = library("soundfile").SoundFile(self._out, "w", RATE_HZ, 1, **settings)

    @property
    def whole(self) -> bytes:
        """The file with a header that knows its length, once it is finished."""
        return self._out.getvalue()

    def feed(self, audio: Audio) -> bytes:
        self._write(self._sound.feed(audio))
        return self._out.take()

    def finish(self) -> bytes:
        self._write(self._sound.finish())
        self._file.close()
        return self._out.take()

    def _write(self, samples: NDArray[np.float32]) -> None:
        if len(samples):
            self._file.write(np.clip(samples, -1, 1))


class _Aac:
    """AAC-LC in ADTS frames, by FFmpeg."""

    def __init__(self) -> None:
        self._sound = _Resampled()
        self._av = library("av")
        self._out = _Out()
        self._file: Any = self._av.open(self._out, "w", format="adts")
        self._stream: Any = self._file.add_stream("aac", rate=RATE_HZ, layout="mono", bit_rate=_AAC_BITS_PER_S)

    def feed(self, audio: Audio) -> bytes:
        self._write(self._sound.feed(audio))
        return self._out.take()

    def finish(self) -> bytes:
        self._write(self._sound.finish())
        self._file.mux(self._stream.encode(None))
        self._file.close()
        return self._out.take()

    def _write(self, samples: NDArray[np.float32]) -> None:
        if len(samples):
            frame = self._av.AudioFrame.from_ndarray(np.clip(samples, -1, 1)[None], format="fltp", layout="mono")
            frame.sample_rate = RATE_HZ
            self._file.mux(self._stream.encode(frame))
