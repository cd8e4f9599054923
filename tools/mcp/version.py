"""How sayso introduces itself to the other side."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mcp_types as types


@cache
def sayso_version() -> str:
    """Of the package that is installed, or ``0`` where it runs from a bare folder."""
    try:
        return version("sayso")
    except PackageNotFoundError:
        return "0"


def implementation() -> types.Implementation:
    """Name and version."""
    import mcp_types as types

    return types.Implementation(name="sayso", version=sayso_version())
