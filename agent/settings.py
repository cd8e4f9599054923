"""What the environment says: the one place that reads sayso's variables.

| variable | meaning |
|---|---|
| `SAYSO_CACHE` | folder of models and caches (default: the user's cache folder) |
| `SAYSO_DATA` | folder of what cannot be fetched again: journal, notes, libraries (default: the user's data folder) |
| `SAYSO_MODEL_<NAME>` | file or folder to use for the artefact NAME, as it stands |
| `SAYSO_MIRROR` | folder with artefacts, wheels or tarballs to take before asking any registry |
| `SAYSO_HUB` | `1`: ask the upstream project first; `0`: never; unset: after the registries |
| `SAYSO_PLACE` | where the user is when nothing else is said, such as `Lisbon, Portugal` (weather) |
| `SAYSO_UNITS` | `metric` or `imperial` (default: by the country of the user's time zone) |
| `SAYSO_HOME_URL` | address of Home Assistant, such as `http://homeassistant.local:8123` |
| `SAYSO_LOCALE` | the user's language and country, such as `en-GB` (default: the system's; web search) |
| `SAYSO_SEARCH_PROVIDERS` | whom `web_search` asks, in order, such as `searxng,ddgs` (default: all that are set up) |
| `SAYSO_SEARXNG_URL` | address of a SearXNG instance |
| `SAYSO_DOCUMENTS` | folders that `search_documents` searches, separated as in `PATH` |
| `SAYSO_..._KEY`, `SAYSO_..._TOKEN` | credentials of a service; read by `secret`, and blotted out by `redact` |
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Literal, TypeAlias

from sayso.errors import UsageError

HubOrder: TypeAlias = Literal["first", "last", "never"]
Measures: TypeAlias = Literal["metric", "imperial"]

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


def variable(name: str) -> str | None:
    """An environment variable that the user's own configuration names (``${HOME}`` in a file), or None where unset."""
    return os.environ.get(name)


def hide(value: str, name: str) -> None:
    """Let `redact` know a credential that came from elsewhere than a variable, such as a header in a file.

    Args:
        value: The credential; one under 6 characters is left alone, since it would blot out words.
        name: What `redact` puts in its place, in brackets.
    """
    if len(value) >= 6:
        _secrets[value] = name


def redact(text: str) -> str:
    """``text`` with the name of the variable in place of every credential that was read."""
    for value in sorted(_secrets, key=len, reverse=True):  # one may be a part of another
        if value in text:
            text = text.replace(value, f"[{_secrets[value]}]")
    return text


def default_place() -> str:
    """Where the user is when nothing else is said, or an empty string."""
    return os.environ.get("SAYSO_PLACE", "").strip()


def measures() -> Measures | None:
    """The measures that the user wants, or None where nothing is set.

    Raises:
        UsageError: `SAYSO_UNITS` is neither metric nor imperial.
    """
    match os.environ.get("SAYSO_UNITS", "").strip().casefold():
        case "":
            return None
        case "metric" | "imperial" as system:
            return system
        case other:
            raise UsageError(f"SAYSO_UNITS is {other!r}.", "Set it to metric or imperial, or unset it.")


def home_url() -> str:
    """The address of Home Assistant, or an empty string."""
    return os.environ.get("SAYSO_HOME_URL", "").strip()


def locale() -> tuple[str, str]:
    """The user's language (ISO 639-1) and country (ISO 3166-1), in lower case: ``("en", "us")``."""
    for name in ("SAYSO_LOCALE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if found := re.match(r"([A-Za-z]{2})[-_]([A-Za-z]{2})(?![A-Za-z])", os.environ.get(name, "").strip()):
            return found[1].lower(), found[2].lower()
    return "en", "us"


def search_providers() -> tuple[str, ...]:
    """The names of the search providers to ask, in order; empty where nothing is set."""
    names = os.environ.get("SAYSO_SEARCH_PROVIDERS", "").lower().split(",")
    return tuple(name.strip() for name in names if name.strip())


def searxng_url() -> str:
    """The address of a SearXNG instance, or an empty string."""
    return os.environ.get("SAYSO_SEARXNG_URL", "").strip()


def child_environment() -> dict[str, str]:
    """For a process that reads data from outside: the same modules, and nothing else; no credentials."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def mirror() -> Path | None:
    """The local mirror, or None where none is set.

    Raises:
        UsageError: `SAYSO_MIRROR` names no folder.
    """
    folder = _path("SAYSO_MIRROR")
    if folder is not None and not folder.is_dir():
        raise UsageError(f"SAYSO_MIRROR names {folder}, which is no folder.", "Correct it or unset it.")
    return folder


def document_folders() -> tuple[Path, ...]:
    """The folders with the user's documents; none where nothing is set."""
    value = os.environ.get("SAYSO_DOCUMENTS", "")
    return tuple(Path(part).expanduser().absolute() for part in value.split(os.pathsep) if part.strip())


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
