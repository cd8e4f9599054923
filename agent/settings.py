"""What the environment says: the one place that reads sayso's variables.

| variable | meaning |
|---|---|
| `SAYSO_CACHE` | folder of models and caches (default: the user's cache folder) |
| `SAYSO_DATA` | folder of what cannot be fetched again: journal, notes, libraries (default: the user's data folder) |
| `SAYSO_MODEL_<NAME>` | file or folder to use for the artefact NAME, as it stands |
| `SAYSO_MIRROR` | folder with artefacts, wheels or tarballs to take before asking any registry |
| `SAYSO_HUB` | `1`: ask the upstream project first; `0`: never; unset: after the registries |
| `SAYSO_..._KEY`, `SAYSO_..._TOKEN` | credentials of a service; read by `secret`, and blotted out by `redact` |
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, TypeAlias

from sayso.errors import UsageError

HubOrder: TypeAlias = Literal["first", "last", "never"]

_secrets: dict[str, str] = {}  # value -> variable


def cache_root() -> Path:
    """The folder for everything that can be fetched or made again."""
    return _path("SAYSO_CACHE") or _default_cache()


def models_root() -> Path:
    """The folder that holds one folder per artefact."""
    return cache_root() / "models"


def data_root() -> Path:
    """The folder for what tools and sessions keep: it cannot be fetched or made again."""
    return _path("SAYSO_DATA") or _default_data()


def secret(variable: str) -> str | None:
    """A credential, or None where it is not set. From then on `redact` knows its value.

    Args:
        variable: The environment variable that holds it, such as ``SAYSO_BRAVE_KEY``.
    """
    value = os.environ.get(variable, "").strip()
    if not value:
        return None
    _secrets[value] = variable
    return value


def redact(text: str) -> str:
    """``text`` with the name of the variable in place of every credential that was read."""
    for value, variable in _secrets.items():
        if value in text:
            text = text.replace(value, f"[{variable}]")
    return text


def mirror() -> Path | None:
    """The local mirror, or None where none is set.

    Raises:
        UsageError: `SAYSO_MIRROR` names no folder.
    """
    folder = _path("SAYSO_MIRROR")
    if folder is not None and not folder.is_dir():
        raise UsageError(f"SAYSO_MIRROR names {folder}, which is no folder.", "Correct it or unset it.")
    return folder


def model_variable(name: str) -> str:
    """The variable that overrides artefact ``name``: `SAYSO_MODEL_WHISPER_TINY_EN` for `whisper-tiny.en`."""
    return "SAYSO_MODEL_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def model_override(name: str) -> Path | None:
    """The file or folder that the user wants for artefact ``name``, or None.

    Raises:
        UsageError: The variable names a path that does not exist.
    """
    path = _path(model_variable(name))
    if path is not None and not path.exists():
        raise UsageError(f"{model_variable(name)} names {path}, which does not exist.", "Correct it or unset it.")
    return path


def hub_order() -> HubOrder:
    """When the upstream projects' own download sites are asked, relative to the package registries.

    Raises:
        UsageError: `SAYSO_HUB` is neither 0 nor 1.
    """
    orders: dict[str, HubOrder] = {"": "last", "1": "first", "0": "never"}
    value = os.environ.get("SAYSO_HUB", "")
    if value not in orders:
        raise UsageError(f"SAYSO_HUB is {value!r}.", "Set it to 1 (ask first) or 0 (never), or unset it (ask last).")
    return orders[value]


def _path(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value).expanduser().absolute() if value else None


def _default_cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("sayso", appauthor=False))


def _default_data() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("sayso", appauthor=False))
