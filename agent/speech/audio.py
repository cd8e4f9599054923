"""Sound from files, bytes and arrays, and back.

Whatever comes in leaves as `Audio`: mono float32 at the rate it had, channels averaged. Rates above `MAX_KEPT_RATE_HZ`
are brought down to it, because no speech model hears more, so that an hour of anything fits in memory. Clipping and a
DC offset are left as they are, and so are samples of a float file that lie a little beyond [-1, 1].

Sound cut off in the middle (a killed download, a recorder that lost power) is used where at least half of what its
header promises is there; less raises `AudioError`, because half a question is another question.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sayso.errors import AudioError
from sayso.items import Audio
from sayso.speech.decode import (
    MAX_KEPT_RATE_HZ,
    MAX_RATE_HZ,
    MAX_SECONDS,
    MIN_RATE_HZ,
    checked_rate,
    expected_rate,
    from_array,
    from_bytes,
    from_file,
    from_path,
)
from sayso.speech.libraries import library

__all__ = [
    "MAX_KEPT_RATE_HZ",
    "MAX_RATE_HZ",
    "MAX_SECONDS",
    "MIN_RATE_HZ",
    "Source",
    "concatenate",
    "from_pcm16",
    "load",
    "resample",
    "save",
    "to_pcm16",
]

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | NDArray[Any] | Audio
"""What `load` takes: a path, a file's bytes, a binary file object, samples, or an `Audio`."""


def load(source: Source, *, sample_rate_hz: int | None = None) -> Audio:
    """Take sound in.

    Args:
        source: A path or the bytes of any file that libsndfile reads, at any rate and with any number of channels; a
            binary file object of one, read from its start; samples; or an `Audio`. Samples are floats in [-1, 1], or
            integers over their type's full range (64-bit integers: over the range of 16 or of 32 bits where all of
            them fit), of shape (n,), (n, channels) or (channels, n): the shorter axis is taken for the channels, and
            the second where both are equal.
        sample_rate_hz: The rate of an array's samples. Other sources know theirs, and raise where this is another.

    Returns:
        Mono sound, not empty, finite, not all zeros, at most `MAX_SECONDS` long, at 4 to 48 kHz.

    Raises:
        AudioError: The sound cannot be used; the message says why and what to do.
        UsageError: The package that reads files is not installed.
    """
    if isinstance(source, Audio):
        return from_array(
            source.samples, expected_rate(source.sample_rate_hz, sample_rate_hz, "The sound"), "The sound"
        )
    if isinstance(source, np.ndarray):
        if sample_rate_hz is None:
            raise AudioError("An array does not know its sample rate.", "Pass sample_rate_hz=..., for example 16000.")
        return from_array(source, sample_rate_hz, "The array")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return from_bytes(source, sample_rate_hz)
    if isinstance(source, (str, os.PathLike)):
        return from_path(Path(source), sample_rate_hz)
    if hasattr(source, "read"):
        return from_file(source, sample_rate_hz)
    raise AudioError(
        f"Sound cannot be read from a value of type {type(source).__name__}.",
        "Pass a path, the bytes of a sound file, a binary file object, a numpy array or an Audio.",
    )


def save(path: str | os.PathLike[str], audio: Audio) -> Path:
    """Write ``audio`` as 16-bit WAV or FLAC, by the path's ending. The file appears whole or not at all.

    Raises:
        AudioError: The ending is another, or the file cannot be written.
    """
    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    if kind not in ("wav", "flac"):
        raise AudioError(f"Sound cannot be written as {str(target)!r}.", "End the name in .wav or .flac.")
    encoded = io.BytesIO()
    pcm = np.frombuffer(to_pcm16(audio), "<i2")
    library("soundfile").write(encoded, pcm, checked_rate(audio.sample_rate_hz), format=kind.upper(), subtype="PCM_16")
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(encoded.getbuffer())
        part.replace(target)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AudioError(
            f"{str(target)!r} cannot be written: {reason}.",
            "Name a file in a folder that is there and that you may write to, on a disk with space.",
        ) from error
    finally:
        with suppress(OSError, ValueError):
            part.unlink(missing_ok=True)
    return target


def resample(audio: Audio, sample_rate_hz: int) -> Audio:
    """``audio`` at another rate (soxr, quality HQ). At its own rate it is returned as it is.

    Raises:
        AudioError: The rate is not within 4 to 384 kHz.
    """
    rate_hz = checked_rate(sample_rate_hz)
    if rate_hz == audio.sample_rate_hz:
        return audio
    if not len(audio.samples):
        return Audio(audio.samples, rate_hz)
    soxr = library("soxr")
    return Audio(soxr.resample(audio.samples, checked_rate(audio.sample_rate_hz), rate_hz, quality="HQ"), rate_hz)


def concatenate(pieces: Iterable[Audio]) -> Audio:
    """The pieces one after another.

    Raises:
        AudioError: There are none, or their rates differ.
    """
    parts = list(pieces)
    if not parts:
        raise AudioError("There is no sound to join.", "Pass at least one Audio.")
    rates = sorted({part.sample_rate_hz for part in parts})
    if len(rates) > 1:
        raise AudioError(f"Pieces with different sample rates cannot be joined: {rates} Hz.", "Resample them to one.")
    return Audio(np.concatenate([part.samples for part in parts]), rates[0])


def to_pcm16(audio: Audio) -> bytes:
    """The samples as signed 16-bit little-endian integers; what lies beyond [-1, 1] is clipped, NaN becomes 0."""
    samples = audio.samples
    if len(samples) and not (samples.min() >= -1 and samples.max() <= 1):  # seldom; NaN is neither
        samples = np.nan_to_num(np.clip(samples, -1, 1))
    return np.minimum(np.rint(samples * np.float32(32768)), 32767).astype("<i2").tobytes()


def from_pcm16(data: bytes | bytearray | memoryview, sample_rate_hz: int) -> Audio:
    """Mono sound from signed 16-bit little-endian integers; the inverse of `to_pcm16`. Silence and 0 bytes are fine.

    Raises:
        AudioError: The number of bytes is odd, or the rate is not within 4 to 384 kHz.
    """
    if len(data) % 2:
        raise AudioError(f"{len(data)} bytes are no whole 16-bit samples.", "Pass an even number of bytes.")
    return Audio(np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768), checked_rate(sample_rate_hz))
