"""What a docstring says: a description, and a line for each argument. Google, NumPy and Sphinx styles."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_WRAPPED_LINE = re.compile(r"(?<!\n)\n(?!\n|\s*(?:[-*•]|\d+[.)]))[ \t]*")
"""A line break inside a paragraph: not before a blank line or a list item."""


@dataclass(frozen=True, slots=True)
class Docs:
    """A parsed docstring.

    Attributes:
        description: What comes before the first section, unwrapped.
        arguments: Each described argument's text on one line, by name.
    """

    description: str = ""
    arguments: dict[str, str] = field(default_factory=dict[str, str])


def parse_docstring(text: str | None) -> Docs:
    """Read ``text``; where its sections cannot be read, all of it is the description."""
    if not text or not text.strip():
        return Docs()
    from docstring_parser import ParseError, parse  # 18 ms, needed only where tools are defined

    try:
        parsed = parse(text)
    except ParseError:
        return Docs(_unwrap(text))
    arguments: dict[str, str] = {}
    for param in parsed.params:
        for name in param.arg_name.split(","):  # NumPy style: "x, y : int"
            arguments[name.strip().lstrip("*")] = " ".join((param.description or "").split())
    short, long = parsed.short_description or "", parsed.long_description or ""
    joint = "\n\n" if parsed.blank_after_short_description else "\n"
    return Docs(_unwrap(f"{short}{joint}{long}"), arguments)


def _unwrap(text: str) -> str:
    return _WRAPPED_LINE.sub(" ", text.strip())
