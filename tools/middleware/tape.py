"""`record` and `replay`: what a tool answered, kept in a file, and answered again without the tool."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from pydantic_core import to_jsonable_python
from typing_extensions import ParamSpec, TypeVar

from sayso import settings
from sayso.errors import ToolError, UsageError
from sayso.tools.context import Context
from sayso.tools.journal import canonical
from sayso.tools.middleware.around import around, check_bound
from sayso.tools.middleware.redact import cleaned
from sayso.tools.tool import Mode, Tool

P = ParamSpec("P")
R = TypeVar("R")
Line: TypeAlias = dict[str, Any]

_log = logging.getLogger(__name__)
_WRITING = threading.Lock()
"""Tools of one tape write from several threads."""


def record(tool: Tool[P, R], tape: str | Path) -> Tool[P, R]:
    """``tool``, whose calls are added to a file as they end: a line of JSON with name, arguments, and result or error.

    A cancelled call is not recorded, nor is progress. Credentials that sayso read from its settings are blotted out;
    wrap `redact` first for anything else.

    Args:
        tool: A function's, or a method's that is bound to its object.
        tape: The file; several tools may share it.
    """
    path = Path(tape)

    def steps(arguments: dict[str, Any], ctx: Context) -> Generator[Context, Any, Any]:
        line: Line = {"tool": tool.name, "arguments": json.loads(_canonical(arguments))}
        try:
            result = yield ctx
        except Exception as error:
            text = (
                str(error) if isinstance(error, ToolError) else f"{tool.name} failed: {type(error).__name__}: {error}"
            )
            _append(path, {**line, "error": text})
            raise
        _append(path, {**line, "result": result})
        return result

    return around(tool, steps)


def replay(tool: Tool[P, R], tape: str | Path) -> Tool[P, R]:
    """``tool`` as `record` heard it: its function never runs.

    Equal calls are answered in the order in which they were recorded; the last answer stays. Results are JSON: a
    dataclass comes back as a dict. A recorded error is raised as a `ToolError` of the same words. A call that is not on
    the tape fails with a `UsageError` that shows it.

    Args:
        tool: As it was recorded, under the same name.
        tape: The file.

    Raises:
        UsageError: The file cannot be read, or is no tape.
        ToolDefinitionError: The tool is a method without its object.
    """
    check_bound(tool)
    path = Path(tape)
    answers = _read(path, tool.name)

    def play(arguments: dict[str, Any], ctx: Context) -> Any:
        wanted = _canonical(arguments)
        left = answers.get(wanted)
        if left is None:
            raise UsageError(f"The tape {path} has no call of {tool.name} with {wanted}.", "Record it again.")
        line = left.popleft() if len(left) > 1 else left[0]
        if "error" in line:
            raise ToolError(line["error"])
        return line["result"]

    async def play_soon(arguments: dict[str, Any], ctx: Context) -> Any:
        return play(arguments, ctx)

    if tool.mode is Mode.INLINE:
        return replace(tool, handler=play)
    return replace(tool, mode=Mode.ASYNC, handler=play_soon)


def _canonical(arguments: dict[str, Any]) -> str:
    """Of arguments from a call, and of arguments from a tape: equal where they are."""
    return canonical(cleaned(json.loads(canonical(arguments)), settings.redact))


def _append(path: Path, line: Line) -> None:
    try:
        plain = cleaned(to_jsonable_python(line, fallback=str), settings.redact)
        with _WRITING, path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain, ensure_ascii=False, separators=(",", ":")) + "\n")
    except (OSError, ValueError):  # the call is over: what it did may not be reported as failed
        _log.exception("a call of '%s' could not be recorded in %s", line["tool"], path)


def _read(path: Path, name: str) -> dict[str, deque[Line]]:
    answers: dict[str, deque[Line]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The tape {path} cannot be read: {error}.", "Make one with `record`.") from None
    for number, text in enumerate(lines, 1):
        line = _parse(text, f"{path}:{number}")
        if line["tool"] == name:
            answers.setdefault(canonical(line["arguments"]), deque()).append(line)
    return answers


def _parse(text: str, place: str) -> Line:
    try:
        line = cast("Any", json.loads(text))
        if (
            isinstance(line["tool"], str)
            and isinstance(line["arguments"], dict)
            and ("result" in line or "error" in line)
        ):
            return cast("Line", line)
    except (ValueError, TypeError, KeyError):
        pass
    raise UsageError(f"{place} is no line of a tape.", "Take the line out, or record again.")
