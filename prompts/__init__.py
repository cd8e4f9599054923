"""The prompts: one text file each, by language, with ``$name`` where something is filled in."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from string import Template

from sayso.errors import UsageError

_MACRO = {"cmn": "zh", "yue": "zh"}  # languages that read what is written for another


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
    spoken = language.replace("_", "-").partition("-")[0].lower()
    for tag in (_MACRO.get(spoken, spoken), "en"):
        file = folder / family / tag / f"{prompt}.txt"
        if file.is_file():
            return Template(file.read_text(encoding="utf-8").rstrip("\n"))
    raise UsageError(f"There is no prompt {name!r}.", f"Look for {prompt}.txt in prompts/{family}/en.")


def fixed_line(name: str, answering: str, language: str | None = None) -> str:
    """A line that the agent says by itself, in the language of the words that it answers.

    Args:
        name: Of a file in ``lines``.
        answering: What the user said; Chinese characters tell the language where nothing else does.
        language: BCP 47 tag of what the user said, where it is known.
    """
    return load(f"lines/{name}", language or ("zh" if re.search("[\u4e00-\u9fff]", answering) else "en")).template
