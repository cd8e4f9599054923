"""The files of a folder that can be indexed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sayso.tools.documents.extract import KINDS

SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages"})


@dataclass(frozen=True, slots=True)
class Found:
    """A file.

    Attributes:
        folder: The one that was asked for, absolute.
        path: Relative to it, with forward slashes.
        size: In bytes.
        mtime_ns: When it was last changed, Unix time in nanoseconds.
    """

    folder: str
    path: str
    size: int
    mtime_ns: int

    @property
    def file(self) -> Path:
        """Where it is."""
        return Path(self.folder, self.path)


def find_files(folder: Path, problem: Callable[[str, str], None]) -> Iterator[Found]:
    """All files of known kinds below ``folder``, sorted by path.

    Hidden files and folders are left out. Links are followed, each folder once, so that loops end.

    Args:
        folder: Absolute.
        problem: Told of what cannot be looked at: its relative path, and why.
    """
    yield from _walk(folder, "", set(), problem)


def _walk(folder: Path, below: str, seen: set[tuple[int, int]], problem: Callable[[str, str], None]) -> Iterator[Found]:
    try:
        here = os.stat(folder / below)
        if (here.st_dev, here.st_ino) in seen:
            return
        seen.add((here.st_dev, here.st_ino))
        with os.scandir(folder / below) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        problem(printable(below) or ".", reason(error))
        return
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.name.startswith(".") or entry.name in SKIPPED_FOLDERS:
            continue
        try:
            if entry.is_dir():
                yield from _walk(folder, path, seen, problem)
            elif Path(entry.name).suffix.lower() in KINDS:
                yield _look_at(folder, path)
        except OSError as error:
            problem(printable(path), reason(error))
        except _NotAFileError as error:
            problem(printable(path), str(error))


class _NotAFileError(Exception):
    """Nothing that could be read."""


def _look_at(folder: Path, path: str) -> Found:
    facts = os.stat(folder / path)
    if not stat.S_ISREG(facts.st_mode):
        raise _NotAFileError("no regular file")
    if printable(path) != path:
        raise _NotAFileError("its name is not UTF-8")
    return Found(str(folder), path, facts.st_size, facts.st_mtime_ns)


def printable(path: str) -> str:
    """``path`` with what is no UTF-8 in it replaced."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def reason(error: OSError) -> str:
    """In words: "permission denied"."""
    return (error.strerror or type(error).__name__).lower()
