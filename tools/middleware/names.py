"""`prefix`, `rename` and `keep`: what an agent calls its tools, and which of them it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from typing_extensions import ParamSpec, TypeVar

from sayso.tools.tool import Tool, check_name

P = ParamSpec("P")
R = TypeVar("R")


def rename(tool: Tool[P, R], name: str) -> Tool[P, R]:
    """``tool`` under another name; as a Python function it keeps its own.

    Raises:
        ToolDefinitionError: Models cannot call ``name``.
    """
    check_name(name, tool.where)
    return replace(tool, spec=replace(tool.spec, name=name))


def prefix(tools: Iterable[Tool], text: str) -> list[Tool]:
    """``tools`` with ``text`` before their names, such as ``home_``, so that those of two sources do not collide.

    Raises:
        ToolDefinitionError: Models cannot call a name that comes out.
    """
    return [rename(tool, text + tool.name) for tool in tools]


def keep(tools: Iterable[Tool], wanted: Callable[[Tool], bool]) -> list[Tool]:
    """Those of ``tools`` that are ``wanted``: ``keep(tools, lambda tool: not tool.effect.changes_something)``."""
    return [tool for tool in tools if wanted(tool)]
