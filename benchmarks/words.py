"""Numbers in words, for comparing what was said with what was written."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal, cast

_num2words = cast("Any", import_module("num2words")).num2words  # has no types


def in_words(number: str | int, to: Literal["cardinal", "ordinal", "year"] = "cardinal") -> str:
    """``number`` spelled out in English."""
    return str(_num2words(number, to=to))
