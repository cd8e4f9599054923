"""Hashes, room on the disk and writing so that a crash at any moment leaves nothing half-written in place."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from sayso.errors import ModelStoreError

CHUNK_BYTES = 1 << 20
# EFBIG is what a limit on file sizes gives
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MARGIN_BYTES = 32 << 20


class DiskFullError(ModelStoreError):
    """There is no room for what is to be fetched. What is there already is kept for the next try."""


def read_into(path: Path, take: Callable[[bytes], object]) -> int:
    """Hand a file's bytes to ``take``, chunk by chunk; returns how many there were, 0 where there is no file."""
    done = 0
    if path.is_file():
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                take(chunk)
                done += len(chunk)
    return done


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, or 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


def bytes_below(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return size_of(path) if path.is_file() else sum(size_of(file) for file in path.rglob("*"))


def text_size(size_bytes: int) -> str:
    """`1.12 GB`, `78 MB`, `12 kB`."""
    if size_bytes >= 1_000_000_000:
        return f"{size_bytes / 1e9:.2f} GB"
    return f"{size_bytes / 1e6:.0f} MB" if size_bytes >= 1_000_000 else f"{size_bytes / 1e3:.0f} kB"


def require_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Check that the disk of ``folder`` has room before anything is fetched.

    Raises:
        DiskFullError: It has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + _MARGIN_BYTES:
        raise DiskFullError(
            f"{what} needs {text_size(needed_bytes + _MARGIN_BYTES)} in {folder}; only {text_size(free)} are free.",
            "Make room, or name a folder on a larger disk in SAYSO_CACHE.",
        )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the operating system says about the disk into one clear message."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFullError(
                f"The disk of {folder} is full.",
                "Make room (or name a folder on a larger disk in SAYSO_CACHE) and run the same again: "
                "what was fetched is kept.",
            ) from error
        place = error.filename or folder
        raise ModelStoreError(
            f"{place}: {error.strerror or error}.", "Name a folder that you may write to in SAYSO_CACHE."
        ) from error


def sync(path: Path) -> None:
    """Have a file's bytes (or a folder's names) on the disk before going on."""
    if path.is_dir() and os.name == "nt":  # Windows has no handle on a folder to flush
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    """Write a small file such that readers see the old one or the new one."""
    draft = path.with_name(path.name + ".part")
    draft.write_text(text, encoding="utf-8")
    sync(draft)
    draft.replace(path)


@contextmanager
def alone(lock: Path, name: str, note: Callable[[str], None]) -> Generator[None]:
    """Only one process fetches ``name``; the others wait and then find it done.

    Args:
        lock: A file beside what is fetched.
        name: For the reader.
        note: Told where another process is at it.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        note(f"{name}: another process is fetching it; waiting for that")
        held.acquire()
    try:
        yield
    finally:
        held.release()
