"""Whole checkpoints from the model hub: too large for the manifest, and known by what the hub says of their files.

A checkpoint grows in ``.partial/NAME/files`` and gets its place once every file has the hash that the hub names and
its index, headers and shapes agree. What was fetched, and from which commit, is written down in ``hub.json`` in the
folder, so that it can be verified later without a network.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sayso import settings
from sayso.errors import IntegrityError, ModelMissingError, ModelStoreError, UsageError
from sayso.models.store.assemble import finish_part, part_of
from sayso.models.store.download import Download, Downloader
from sayso.models.store.files import (
    alone,
    bytes_below,
    disk_errors,
    read_into,
    require_room,
    sha256_of,
    size_of,
    sync,
    write_atomically,
)
from sayso.models.store.hub_listing import AGAIN, Checkpoint, Listed, addresses, fetch_small, list_files
from sayso.models.store.installed import FileCheck, check, has_right_sizes, is_marked, leave_mark
from sayso.models.store.manifest import Artefact, File
from sayso.models.store.progress import Progress, Silent, meter
from sayso.models.store.store import Report, Status, Store

FACTS: Final = "hub.json"


class Hub:
    """The checkpoints in the folder of the store.

    Args:
        root: Folder with one folder per model; by default `models` in the cache.
        endpoint: Address of the hub; by default the library's own setting (``HF_ENDPOINT``).
        backoff_s: First wait before a failed download is tried again.
    """

    def __init__(self, root: Path | None = None, *, endpoint: str | None = None, backoff_s: float = 0.5) -> None:
        self.root = root or settings.models_root()
        self._endpoint = endpoint
        self._backoff_s = backoff_s

    def path(self, checkpoint: Checkpoint) -> Path:
        """Its folder. Not hashed: that takes a minute; see `verify`.

        Raises:
            ModelMissingError: It is not here.
            UsageError: A setting names a path that does not exist.
        """
        if override := settings.model_override(checkpoint.name):
            return override
        folder = self.root / checkpoint.name
        if not folder.is_dir():
            raise ModelMissingError(
                f"The checkpoint {checkpoint.name} is not on this machine (looked in {folder}).",
                f"Fetch it with: sayso models pull {checkpoint.name} ({checkpoint.size / 1e9:.0f} GB). "
                f"Or name your own copy in {settings.model_variable(checkpoint.name)}.",
            )
        return folder

    def status(self, checkpoint: Checkpoint) -> Status:
        """How things are, by sizes and times alone.

        Raises:
            UsageError: A setting names a path that does not exist.
        """
        name = checkpoint.name
        if override := settings.model_override(name):
            return Status(name, "override", override, bytes_below(override))
        folder = self.root / name
        if not folder.is_dir():
            begun = bytes_below(self._work(checkpoint))
            return Status(name, "partial" if begun else "missing", None, begun)
        artefact = _recorded(folder, checkpoint)
        if artefact is None:  # somebody put it there
            return Status(name, "unchecked", folder, bytes_below(folder))
        if is_marked(folder, artefact):
            return Status(name, "ready", folder, bytes_below(folder))
        sized = has_right_sizes(folder, artefact)
        return Status(name, "unchecked" if sized else "damaged", folder if sized else None, bytes_below(folder))

    def verify(self, checkpoint: Checkpoint) -> Report:
        """Hash every file and compare with what the hub said when it was fetched.

        Raises:
            ModelMissingError: It is not here.
            UsageError: A setting names a path that does not exist.
        """
        folder = self.path(checkpoint)
        if settings.model_override(checkpoint.name):
            return Report(checkpoint.name, folder, ())
        artefact = _recorded(folder, checkpoint)
        checks = (FileCheck(FACTS, "missing"),) if artefact is None else check(folder, artefact)
        return Report(checkpoint.name, folder, checks)

    def pull(self, checkpoint: Checkpoint, progress: Progress | None = None) -> Path:
        """Have a checkpoint on this machine, whole and verified, with its default voices.

        Safe to interrupt at any time and to run in several processes at once; what is here already is kept.

        Raises:
            DiskFullError: There is no room.
            IntegrityError: What came is not what the hub says, or no checkpoint of Step-Audio 2.
            ModelMissingError: The hub's library is not installed.
            ModelStoreError: The hub cannot be reached or does not have it; or the voices could not be fetched.
            UsageError: A setting forbids to ask it, or names a path that does not exist.
        """
        progress = progress or Silent()
        folder = self._pull(checkpoint, progress)
        Store(self.root).pull(checkpoint.also, progress)
        return folder

    def _pull(self, checkpoint: Checkpoint, progress: Progress) -> Path:
        name = checkpoint.name
        if override := settings.model_override(name):
            progress.note(f"{name}: {override} is used, as {settings.model_variable(name)} says")
            return override
        if settings.hub_order() == "never":
            raise UsageError(f"SAYSO_HUB=0 forbids to ask the hub, and only the hub has {name}.", "Unset it.")
        folder, work = self.root / name, self._work(checkpoint)
        with disk_errors(self.root), alone(work.with_name(f"{name}.lock"), name, progress.note):
            if _is_good(folder, checkpoint):
                progress.note(f"{name}: already here")
                return folder
            commit, listed = list_files(checkpoint, self._endpoint)  # first: without a network all stays where it is
            files = work / "files"
            _take_up(folder, files)
            progress.note(f"{name}: {checkpoint.licence}, {checkpoint.repo}")
            self._fetch(checkpoint, commit, listed, files, progress)
            progress.note(f"{name}: every file is being checked")
            artefact = _checked(checkpoint, files, listed)
            _inspect(files, progress)
            write_atomically(files / FACTS, json.dumps(_facts(checkpoint, commit, artefact), indent=1))
            leave_mark(files, artefact)
            shutil.rmtree(files / ".cache", ignore_errors=True)  # the library's notes
            sync(files)
            os.replace(files, folder)
            sync(self.root)
            shutil.rmtree(work, ignore_errors=True)
            progress.end(name)
        return folder

    def _fetch(
        self, checkpoint: Checkpoint, commit: str, listed: Mapping[str, Listed], files: Path, progress: Progress
    ) -> None:
        """Large files a few at a time, each going on where it stopped; the library brings the small ones."""
        require_room(files, sum(one.size for one in listed.values()) - bytes_below(files), checkpoint.name)
        fetch_small(checkpoint, commit, [path for path, one in listed.items() if not one.sha256], files, self._endpoint)
        large = {path: one for path, one in listed.items() if one.sha256}
        waiting = [path for path, one in large.items() if size_of(files / path) != one.size]
        progress.begin(checkpoint.name, sum(large[path].size for path in waiting))
        downloader = Downloader(meter(progress, checkpoint.name), backoff_s=self._backoff_s)
        items = [
            Download(url, part_of(files / path), large[path].size, large[path].sha256, headers)
            for path, (url, headers) in zip(
                waiting, addresses(checkpoint, commit, waiting, self._endpoint), strict=True
            )
        ]
        try:
            for path, _ in zip(waiting, downloader.in_order(items), strict=True):
                finish_part(files / path)
        except IntegrityError:
            raise
        except ModelStoreError as error:
            raise ModelStoreError(str(error), AGAIN) from error

    def _work(self, checkpoint: Checkpoint) -> Path:
        return self.root / ".partial" / checkpoint.name


# --- on the disk ------------------------------------------------------------------------------------------------


def _recorded(folder: Path, checkpoint: Checkpoint) -> Artefact | None:
    """What a folder should hold by its own record; None where there is none that can be read."""
    try:
        facts: Any = json.loads((folder / FACTS).read_text("utf-8"))
        files = tuple(File(str(one["path"]), int(one["size"]), str(one["sha256"])) for one in facts["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _artefact(checkpoint, files)


def _artefact(checkpoint: Checkpoint, files: tuple[File, ...]) -> Artefact:
    one = checkpoint
    return Artefact(one.name, one.purpose, one.licence, one.repo, "", default=False, files=files, sources=())


def _facts(checkpoint: Checkpoint, commit: str, artefact: Artefact) -> dict[str, Any]:
    files = [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in artefact.files]
    return {"repo": checkpoint.repo, "revision": commit, "licence": checkpoint.licence, "files": files}


def _is_good(folder: Path, checkpoint: Checkpoint) -> bool:
    """Whether all files are as they were recorded; those that are not are removed."""
    artefact = _recorded(folder, checkpoint)
    if artefact is None or is_marked(folder, artefact):
        return artefact is not None
    bad = [one.path for one in check(folder, artefact) if one.state != "good"]
    for path in bad:
        (folder / path).unlink(missing_ok=True)
    return not bad


def _take_up(folder: Path, files: Path) -> None:
    """Go on from a folder that is there and not whole: what of it is good is not fetched again."""
    if folder.is_dir():
        if bytes_below(files) > bytes_below(folder):
            shutil.rmtree(folder)
        else:
            shutil.rmtree(files, ignore_errors=True)
            files.parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder, files)
    files.mkdir(parents=True, exist_ok=True)


def _checked(checkpoint: Checkpoint, files: Path, listed: Mapping[str, Listed]) -> Artefact:
    """Compare every file with what the hub says; a wrong one is removed, so that it is fetched anew next time."""
    good: list[File] = []
    bad: list[str] = []
    for path, one in sorted(listed.items()):
        file = files / path
        sha256 = sha256_of(file) if file.is_file() else ""
        same = sha256 == one.sha256 if one.sha256 else bool(sha256) and _git_sha1(file) == one.git_sha1
        if sha256 and same and size_of(file) == one.size:
            good.append(File(path, one.size, sha256))
        else:
            bad.append(path)
            file.unlink(missing_ok=True)
    if bad:
        raise IntegrityError(
            f"{checkpoint.name}: {len(bad)} files are not what the hub says: {', '.join(bad[:3])}. They were removed.",
            "Run the same again.",
        )
    return _artefact(checkpoint, tuple(good))


def _git_sha1(path: Path) -> str:
    digest = hashlib.sha1(f"blob {size_of(path)}\0".encode(), usedforsecurity=False)
    read_into(path, digest.update)
    return digest.hexdigest()


def _inspect(folder: Path, progress: Progress) -> None:
    """Look whether it can be loaded, where there is what loads it."""
    try:
        from sayso.models.step_audio2.checkpoint import inspect
    except ModuleNotFoundError as error:
        progress.note(f"To run it, install sayso[step-audio]: the package {error.name} is missing")
        return
    try:
        inspect(folder)
    except UsageError as error:
        raise IntegrityError(f"What the hub has cannot be loaded. {error}") from error
