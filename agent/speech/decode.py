"""What stands behind `sayso.speech.audio.load`: files and arrays of every kind become one checked mono sound."""

from __future__ import annotations

import io
import operator
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from sayso.errors import AudioError
from sayso.items import Audio, Samples
from sayso.speech.containers import container_of, opened
from sayso.speech.libraries import library

MAX_SECONDS = 3600
"""The longest sound that is taken."""
MIN_RATE_HZ = 4_000
MAX_RATE_HZ = 384_000
MAX_KEPT_RATE_HZ = 48_000
"""Sound with a higher rate is resampled to this one as it is read."""
MAX_CHANNELS = 64
MAX_FLOAT_PEAK = 16.0
"""Floats beyond this are integers in disguise, not loud sound (it is 24 dB over full scale)."""
MAX_PIPE_BYTES = 1 << 30
"""How much is read from a file object that cannot seek."""

_BLOCK = 1 << 15  # frames read at once
_UNKNOWN_FRAMES = 1 << 62  # libsndfile gives a number above this where a header leaves the length open
_STREAMED_BYTES = 0x7FFF0000  # sizes from here on are what writers to a pipe put in a header, and mean nothing
_CUT_IT = "Cut it into pieces of at most an hour."
_AGAIN = "Record or copy it again."
_CONVERT = (
    "Give WAV, FLAC, OGG, MP3, M4A, WebM or AIFF; convert others with: ffmpeg -i INPUT output.wav "
    "(raw samples: pass an array)."
)


def checked_rate(rate_hz: int, name: str = "The sound") -> int:
    """``rate_hz`` as an int.

    Raises:
        AudioError: It is no whole number within `MIN_RATE_HZ` to `MAX_RATE_HZ`.
    """
    try:
        rate = operator.index(rate_hz)
    except TypeError:
        raise AudioError(f"{rate_hz!r} is no sample rate.", "Pass a whole number of Hz, for example 16000.") from None
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise AudioError(
            f"{name} has a sample rate of {rate} Hz; {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz are taken.",
            "Check the rate, or record it again at 16000 Hz or more.",
        )
    return rate


def expected_rate(rate_hz: int, expected_hz: int | None, name: str) -> int:
    """The rate of a source that knows it; raises `AudioError` where the caller expects another."""
    if expected_hz is not None and expected_hz != rate_hz:
        raise AudioError(
            f"{name} has {rate_hz} Hz, and sample_rate_hz says {expected_hz}.",
            "Leave sample_rate_hz out (it is for arrays), and use resample(audio, rate) to change the rate.",
        )
    return checked_rate(rate_hz, name)


def from_path(path: Path, expected_hz: int | None) -> Audio:
    """Read a sound file; raises `AudioError`."""
    name = repr(str(path))
    try:
        if path.is_dir():
            raise AudioError(f"{name} is a folder, not a sound file.", "Give the path of one file.")
        if not path.exists():
            raise AudioError(f"There is no file {name}.", "Check the path.")
        if not path.is_file():
            raise AudioError(f"{name} is a device or a pipe, not a file.", "Save the sound to a file first.")
        file = path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise AudioError(f"{name} cannot be read: {reason}.", "Check the path and its permissions.") from error
    with file:
        return _decode(file, name, expected_hz)


def from_file(source: BinaryIO, expected_hz: int | None) -> Audio:
    """Read a binary file object, from its start where it can seek; raises `AudioError`."""
    label = getattr(source, "name", None)
    name = repr(label) if isinstance(label, str) else "The file object"
    if isinstance(source, io.TextIOBase):
        raise AudioError(f"{name} is open as text.", "Open it with mode 'rb'.")
    try:
        file = source if source.seekable() else _whole(source, name)
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise AudioError(f"{name} cannot be read: {error}.", "Open it again.") from error
    return _decode(file, name, expected_hz)


def from_bytes(data: bytes | bytearray | memoryview, expected_hz: int | None) -> Audio:
    """Read a sound file that is in memory; raises `AudioError`."""
    return _decode(io.BytesIO(data), "The sound in these bytes", expected_hz)


def from_array(array: NDArray[Any], sample_rate_hz: int, name: str) -> Audio:
    """Take samples of any type and any of the shapes that `load` names; raises `AudioError`."""
    rate_hz = checked_rate(sample_rate_hz, name)
    frames = _frames_first(array, name)
    offset, scale = _scale(frames, name)
    mono = _Mono(rate_hz, len(frames), name)
    for start in range(0, len(frames), _BLOCK):
        block = frames[start : start + _BLOCK]
        mono.add(block if scale == 1 else (block.astype(np.float64) - offset) / scale)
    return mono.audio()


def _whole(source: BinaryIO, name: str) -> BinaryIO:
    """All that is left in a stream that cannot seek, as one that can."""
    data = source.read(MAX_PIPE_BYTES + 1)
    if len(data) > MAX_PIPE_BYTES:
        raise AudioError(f"{name} is a stream longer than 1 GiB.", "Save it to a file and pass its path.")
    return io.BytesIO(data)


def _decode(file: BinaryIO, name: str, expected_hz: int | None) -> Audio:
    soundfile = library("soundfile")
    if not file.seek(0, os.SEEK_END):
        raise AudioError(f"{name} is empty (0 bytes).", _AGAIN)
    file.seek(0)
    if container := container_of(file.read(16)):
        return _decode_container(file, container, name, expected_hz)
    file.seek(0)
    with ExitStack() as stack:
        try:
            sound = stack.enter_context(soundfile.SoundFile(_Nameless(file)))
        except soundfile.LibsndfileError as error:
            raise _unreadable(str(error.error_string).strip(" .\n"), name, file) from error
        rate_hz = expected_rate(sound.samplerate, expected_hz, name)
        frames = sound.frames if sound.frames < _UNKNOWN_FRAMES else 0
        mono = _Mono(rate_hz, frames, name)
        for block in _blocks(sound, soundfile.SoundFileError):
            mono.add(block)
        promised = max(frames, _promised_frames(sound.extra_info, frames))
        if 0 < mono.frames * 2 < promised:
            raise AudioError(
                f"{name} is cut off: {mono.frames / rate_hz:.2f} s of {promised / rate_hz:.2f} s are there.", _AGAIN
            )
        return mono.audio()


def _decode_container(file: BinaryIO, container: str, name: str, expected_hz: int | None) -> Audio:
    file.seek(0)
    with opened(file, container, name) as (rate_hz, blocks):
        mono = _Mono(expected_rate(rate_hz, expected_hz, name), 0, name)
        for block in blocks:
            mono.add(block)
        return mono.audio()


class _Nameless:
    """A binary file without its name, so that libsndfile looks at the content and never at the ending."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self.read = file.seek, file.tell, file.read
        if hasattr(file, "readinto"):
            self.readinto = cast(Any, file).readinto


def _blocks(sound: Any, broken: type[Exception]) -> Iterator[NDArray[np.float32]]:
    """Decode block by block, to the end or to where the data is damaged."""
    while True:
        block = np.full((_BLOCK, sound.channels), np.nan, np.float32)
        try:
            decoded = sound.read(out=block)
        except broken:
            # libsndfile wrote what it could decode and does not say how much: the rest is still NaN.
            # It fails this way, too, at the end of a streamed FLAC file, whose header leaves the length open.
            missing = np.isnan(block[:, 0])
            yield block[: np.argmax(missing)] if missing.any() else block
            return
        if not len(decoded):
            return
        yield decoded


def _promised_frames(log: str, frames: int) -> int:
    """How many frames a header promises where libsndfile found fewer bytes, or 0.

    libsndfile writes for example ``data : 128000 (should be 38369)`` to its log.
    """
    sizes = [(int(claimed), int(found)) for claimed, found in re.findall(r": (\d+) \(should be (\d+)\)", log)]
    return max(
        (frames * claimed // found for claimed, found in sizes if found and claimed < _STREAMED_BYTES), default=0
    )


def _unreadable(reason: str, name: str, file: BinaryIO) -> AudioError:
    """What is wrong with a file that libsndfile does not open."""
    file.seek(0)
    start = file.read(4096)
    if not start.strip(b"\0"):
        return AudioError(f"{name} holds nothing but zero bytes.", _AGAIN)
    if start[:4] in (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"caff"):
        return AudioError(f"{name} has a broken header ({reason or 'it ends too early'}).", _AGAIN)
    if _is_text(start):
        return AudioError(f"{name} holds text, not sound.", "Give a sound file.")
    return AudioError(f"{name} is no sound file that can be read ({reason or 'unknown'}).", _CONVERT)


def _is_text(start: bytes) -> bool:
    try:
        return "\0" not in start.decode()
    except UnicodeDecodeError as error:
        return error.start > len(start) - 4 and b"\0" not in start  # only the last character, cut by the block's end


def _frames_first(array: NDArray[Any], name: str) -> NDArray[Any]:
    """``array`` as (n, channels)."""
    if array.ndim not in (1, 2):
        raise AudioError(f"{name} has the shape {array.shape}.", "Pass (n,), (n, channels) or (channels, n).")
    if not array.size:
        raise AudioError(f"{name} holds 0 samples.", _AGAIN)
    if array.ndim == 1:
        return array[:, None]
    frames = array if array.shape[0] >= array.shape[1] else array.T
    if frames.shape[1] > MAX_CHANNELS:
        raise AudioError(
            f"{name} has the shape {array.shape}: no side of it can be channels (at most {MAX_CHANNELS}).",
            "Pass (n,), (n, channels) or (channels, n).",
        )
    return frames


def _scale(array: NDArray[Any], name: str) -> tuple[int, int]:
    """What to subtract from samples of this type, and what to divide them by then, to get to [-1, 1]."""
    kind, bits = array.dtype.kind, array.dtype.itemsize * 8
    if kind == "f":
        return 0, 1
    if kind not in "iu":
        raise AudioError(f"{name} has the type {array.dtype}.", "Convert it to float32 in [-1, 1], or to int16.")
    if bits == 64:  # what Python's own integers become: their type does not tell how wide the samples are
        low, high = int(array.min()), int(array.max())
        bits = next(width for width in (16, 32, 64) if high < 1 << (width - (kind == "i")) and low >= -1 << (width - 1))
    full = 1 << (bits - 1)
    return (0 if kind == "i" else full), full


class _Mono:
    """Collects blocks of any number of channels into one mono sound, within a bounded amount of memory.

    Args:
        rate_hz: Of the blocks.
        frames: How many are expected; more are taken too, up to the limit.
        name: For messages.
    """

    def __init__(self, rate_hz: int, frames: int, name: str) -> None:
        self.frames = 0
        self._name, self._rate_hz = name, rate_hz
        self._check_length(frames)
        self._kept_hz = min(rate_hz, MAX_KEPT_RATE_HZ)
        self._resampler: Any = None
        if self._kept_hz != rate_hz:
            self._resampler = library("soxr").ResampleStream(rate_hz, self._kept_hz, 1, dtype="float32", quality="HQ")
        # Reserved, not touched: the system gives pages only as they are written.
        self._samples = np.empty(frames * self._kept_hz // rate_hz + 1, np.float32)
        self._count = 0

    def add(self, block: NDArray[Any]) -> None:
        """Take the next frames, shape (n, channels), floats."""
        # Infinities, from an overflow or from the start, are found and told just below.
        with np.errstate(over="ignore", invalid="ignore"):
            mono = block.mean(axis=1, dtype=np.float64).astype(np.float32)
        self._check_values(mono, block)
        self.frames += len(mono)
        self._check_length(self.frames)
        self._append(mono if self._resampler is None else self._resampler.resample_chunk(mono, last=False))

    def audio(self) -> Audio:
        """What was collected."""
        if self._resampler is not None:
            self._append(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        samples = self._samples[: self._count]
        if not len(samples):
            raise AudioError(f"{self._name} holds 0 samples.", _AGAIN)
        if not samples.any():
            raise AudioError(f"{self._name} is silent: every sample is 0.", "Check that the microphone is not muted.")
        return Audio(samples, self._kept_hz)

    def _check_length(self, frames: int) -> None:
        if frames > MAX_SECONDS * self._rate_hz:
            raise AudioError(f"{self._name} is longer than {MAX_SECONDS // 60} minutes.", _CUT_IT)

    def _check_values(self, mono: Samples, block: NDArray[Any]) -> None:
        peak = float(np.abs(block).max(initial=0))
        if peak <= MAX_FLOAT_PEAK:
            return
        if np.isfinite(peak):
            raise AudioError(
                f"{self._name} holds floats as large as {peak:.6g}, where sound lies in [-1, 1].",
                "Divide them by full scale (32768 for 16 bits), or pass them as integers.",
            )
        at_s = (self.frames + int(np.argmin(np.isfinite(mono)))) / self._rate_hz
        raise AudioError(
            f"{self._name} holds NaN or infinite samples, the first at {at_s:.3f} s.",
            "Find what made them; replace single ones with 0.",
        )

    def _append(self, mono: Samples) -> None:
        end = self._count + len(mono)
        if end > len(self._samples):
            self._samples = np.concatenate([self._samples[: self._count], np.empty(2 * end - self._count, np.float32)])
        self._samples[self._count : end] = mono
        self._count = end
