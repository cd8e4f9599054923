"""The tools of an agent by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from sayso.errors import ToolDefinitionError
from sayso.items import ToolSpec
from sayso.tools.tool import Tool

MAX_NAMES = 20
"""How many names a model is told that called one which does not exist."""


class Registry(Mapping[str, Tool]):
    """Tools by name, in the order given; immutable.

    Args:
        tools: What `@tool` made; methods bound to their object.

    Raises:
        ToolDefinitionError: Two of one name, a function that is no tool, a method without its object.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            self._add(tool)

    def _add(self, tool: Tool) -> None:
        if not isinstance(tool, Tool):  # pyright: ignore[reportUnnecessaryIsInstance] (callers may be untyped)
            label = getattr(tool, "__name__", repr(tool))
            raise ToolDefinitionError(f"{label} is not a tool.", "Decorate it with @tool.")
        if tool.receiver is not None:
            raise ToolDefinitionError(
                f"{tool.where}: tool '{tool.name}' is a method without its object.",
                f"Pass the bound one: `obj.{tool.__name__}`.",
            )
        other = self._tools.get(tool.name)
        if other is not None:
            raise ToolDefinitionError(
                f"Two tools are named '{tool.name}': {other.where} and {tool.where}.",
                "Rename one with @tool(name=...).",
            )
        self._tools[tool.name] = tool

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What a model is shown, in order."""
        return tuple(tool.spec for tool in self._tools.values())

    def unknown(self, name: str) -> str:
        """What to tell a model that called ``name``, which is not here."""
        if not self._tools:
            return f"There is no tool '{name[:64]}'; there are none at all."
        near = difflib.get_close_matches(name[:64].casefold(), self._tools, n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]}?" if near else ""
        names = list(self._tools)
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        return f"There is no tool '{name[:64]}'.{hint} The tools are: {', '.join(names[:MAX_NAMES])}{more}."

    def __getitem__(self, name: str) -> Tool:
        return self._tools[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)
