"""The prompts: one text file each, by language, with ``$name`` where something is filled in."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from string import Template

from sayso.errors import UsageError


@lru_cache
def load(name: str, language: str = "en") -> Template:
    """The prompt ``FAMILY/NAME`` in ``language``; English where there is no other.

    Args:
        name: For example ``embedded/system``.
        language: BCP 47 tag; its first part counts.

    Raises:
        UsageError: There is no such prompt.
    """
    family, _, prompt = name.partition("/")
    folder = files("sayso.prompts")
    for tag in (language.partition("-")[0].lower(), "en"):
        file = folder / family / tag / f"{prompt}.txt"
        if file.is_file():
            return Template(file.read_text(encoding="utf-8").rstrip("\n"))
    raise UsageError(f"There is no prompt {name!r}.", f"Look for {prompt}.txt in prompts/{family}/en.")
