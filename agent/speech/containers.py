"""Sound in files that libsndfile does not read: M4A and MP4, WebM and Matroska, AAC. FFmpeg reads them, through PyAV.

The format is told to FFmpeg by name and never guessed: among what it would guess are playlists, which name other files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sayso.errors import AudioError
from sayso.speech.libraries import library


def container_of(start: bytes) -> str | None:
    """FFmpeg's name of the container that begins with ``start``; None where it is none of those above."""
    if start[4:8] == b"ftyp":
        return "mov"
    if start[:4] == b"\x1aE\xdf\xa3":  # EBML
        return "matroska"
    if len(start) > 1 and start[0] == 0xFF and start[1] & 0xF6 == 0xF0:  # ADTS sync word with layer 0
        return "aac"
    return None


@contextmanager
def opened(file: BinaryIO, container: str, name: str) -> Iterator[tuple[int, Iterator[NDArray[np.float32]]]]:
    """The rate of a file's first sound in Hz, and its blocks, each of shape (n, channels), up to where it is damaged.

    Args:
        file: At its start.
        container: From `container_of`.
        name: For messages.

    Raises:
        AudioError: It cannot be opened, or holds no sound.
        UsageError: PyAV is not installed.
    """
    av = library("av")
    try:
        source: Any = av.open(file, mode="r", format=container)
    except (av.FFmpegError, ValueError) as error:
        raise AudioError(f"{name} has a broken header ({_reason(error)}).", "Record or copy it again.") from error
    with source:
        streams: Any = source.streams.audio
        if not streams:
            raise AudioError(f"{name} holds no sound.", "Give a file with an audio track.")
        if not streams[0].rate:
            raise AudioError(f"{name} does not say its sample rate.", "Record or copy it again.")
        yield int(streams[0].rate), _blocks(av, source, streams[0])


def _blocks(av: Any, source: Any, stream: Any) -> Iterator[NDArray[np.float32]]:
    floats = av.AudioResampler(format="fltp")  # the rate and the channels stay
    try:
        for frame in source.decode(stream):
            for piece in floats.resample(frame):
                yield piece.to_ndarray().T
    except (av.FFmpegError, ValueError):
        return  # damaged from here on


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
