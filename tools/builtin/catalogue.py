"""The built-in tools by name and by group, for the command line and for settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sayso.errors import UsageError
from sayso.tools import builtin
from sayso.tools.tool import Tool


def _documents() -> Iterable[Tool]:
    from sayso.tools.builtin.search_documents import search_documents

    return (search_documents,)


def _voices() -> Iterable[Tool]:
    from sayso.tools.builtin.audio_search import audio_search

    return (audio_search,)


GROUPS: dict[str, Callable[[], Iterable[Tool]]] = {
    "default": lambda: builtin.BUILTIN_TOOLS,
    "calls": lambda: builtin.CALL_TOOLS,
    "dates": lambda: (builtin.find_date, builtin.days_between, builtin.convert_time),
    "documents": _documents,
    "home": lambda: builtin.HOME_TOOLS,
    "notes": lambda: builtin.NOTE_TOOLS,
    "units": lambda: (builtin.convert_units,),
    "voices": _voices,
    "weather": lambda: (builtin.get_weather,),
    "web": lambda: (builtin.web_search, builtin.read_page),
}


def named(name: str) -> list[Tool]:
    """The tools of a group, or the one tool of that name.

    Raises:
        UsageError: There is no such group or tool.
    """
    if name in GROUPS:
        return list(GROUPS[name]())
    every = {tool.name: tool for group in GROUPS.values() for tool in group()}
    if name in every:
        return [every[name]]
    raise UsageError(
        f"There is no built-in tool {name!r}.", f"Groups are: {', '.join(GROUPS)}. Or give the path of a .py file."
    )
