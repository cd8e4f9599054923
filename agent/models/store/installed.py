"""An artefact's folder on this machine: checked in full once, by a look at sizes and times from then on.

A check in full that passes leaves `verified.json` in the folder: size, time of change and SHA-256 of each file. As
long as they are the same, and the manifest still asks for these hashes, the files are taken as good.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from sayso.errors import IntegrityError
from sayso.models.store.files import sha256_of, size_of, write_atomically
from sayso.models.store.manifest import Artefact, File

MARK = "verified.json"

FileState: TypeAlias = Literal["good", "missing", "wrong size", "wrong hash"]


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What a check in full found of one file.

    Attributes:
        found: The SHA-256 or the size that was found where it is not the expected one.
        expected: What the manifest says.
    """

    path: str
    state: FileState
    expected: str = ""
    found: str = ""

    def __str__(self) -> str:
        """For messages: the file, and what is wrong with it."""
        said = {
            "good": "is good",
            "missing": "is missing",
            "wrong size": f"has {self.found} bytes, expected {self.expected}",
            "wrong hash": f"has SHA-256 {self.found}, expected {self.expected}",
        }
        return f"{self.path} {said[self.state]}"


def check_file(folder: Path, file: File) -> FileCheck:
    """Check one file in full; the hash is computed only where the size is right."""
    path = folder / file.path
    if not path.is_file():
        return FileCheck(file.path, "missing")
    if (size := size_of(path)) != file.size:
        return FileCheck(file.path, "wrong size", str(file.size), str(size))
    if (found := sha256_of(path)) != file.sha256:
        return FileCheck(file.path, "wrong hash", file.sha256, found)
    return FileCheck(file.path, "good")


def check(folder: Path, artefact: Artefact) -> tuple[FileCheck, ...]:
    """Check all files in full, and leave or take away the mark accordingly."""
    checks = tuple(check_file(folder, file) for file in artefact.files)
    # a cache that cannot be written is checked in full every time
    with suppress(OSError):
        if all(one.state == "good" for one in checks):
            leave_mark(folder, artefact)
        else:
            (folder / MARK).unlink(missing_ok=True)
    return checks


def leave_mark(folder: Path, artefact: Artefact) -> None:
    """Write down that the files, as they are now, have passed a check in full."""
    write_atomically(folder / MARK, json.dumps(_marks(folder, artefact), indent=1))


def require_good(folder: Path, artefact: Artefact) -> None:
    """Check in full where that has not been done.

    Raises:
        IntegrityError: A file is missing or is not what the manifest says.
    """
    if is_marked(folder, artefact):
        return
    bad = [str(one) for one in check(folder, artefact) if one.state != "good"]
    if bad:
        raise IntegrityError(
            f"{artefact.name} in {folder} is not what the manifest says: {'; '.join(bad[:3])}.",
            f"Fetch it again with: sayso models pull {artefact.name}",
        )


def is_marked(folder: Path, artefact: Artefact) -> bool:
    """Whether the files are those that a check in full has passed. Reads no more than their sizes and times."""
    try:
        return json.loads((folder / MARK).read_text(encoding="utf-8")) == _marks(folder, artefact)
    except (OSError, ValueError):
        return False


def has_right_sizes(folder: Path, artefact: Artefact) -> bool:
    """Whether every file is there with its size."""
    return all(size_of(folder / file.path) == file.size for file in artefact.files)


def _marks(folder: Path, artefact: Artefact) -> dict[str, dict[str, str | int]]:
    marks: dict[str, dict[str, str | int]] = {}
    for file in artefact.files:
        stat = (folder / file.path).stat()
        marks[file.path] = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": file.sha256}
    return marks
