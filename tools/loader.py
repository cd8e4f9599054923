"""Loading a user's tools from a Python file."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from sayso.errors import ToolDefinitionError
from sayso.tools.registry import Registry
from sayso.tools.tool import Tool


def load_tools(path: str | Path) -> list[Tool]:
    """The tools in a Python file: its list ``TOOLS`` where it has one, else every tool among its names, in order.

    The file is run as a module of its own (never as ``tools``), and may import its neighbours.

    Raises:
        ToolDefinitionError: No such file, a file that cannot be run (the message has the line and the cause), two
            tools of one name, or no tool at all.
    """
    file, module = Path(path).expanduser(), load_module(path)
    listed = getattr(module, "TOOLS", None)
    if listed is not None and not isinstance(listed, (list, tuple)):
        raise ToolDefinitionError(f"{file}: TOOLS is a {type(listed).__name__}.", "Make it a list: TOOLS = [my_tool]")
    tools = list(cast("list[Any]", listed)) if listed is not None else _defined(module)
    if not tools:
        raise ToolDefinitionError(f"{file} defines no tools.", "Decorate a function with @tool.")
    return list(Registry(tools).values())


def load_module(path: str | Path) -> ModuleType:
    """Run a Python file of a user as a module of its own; it may import its neighbours.

    Raises:
        ToolDefinitionError: No such file, or one that cannot be run (the message has the line and the cause).
    """
    file = Path(path).expanduser()
    if not file.is_file() or file.suffix != ".py":
        what = "is no Python file" if file.exists() else "does not exist"
        raise ToolDefinitionError(f"{file} {what}.", "Give the path of a .py file.")
    return _run(file.resolve())


def _defined(module: ModuleType) -> list[Tool]:
    found = [value for value in vars(module).values() if isinstance(value, Tool)]
    return list(dict.fromkeys(cast("list[Tool]", found)))


def _run(file: Path) -> ModuleType:
    name = f"sayso_user_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # a .py file always has one
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic resolves annotations through it
    sys.path.append(str(file.parent))  # last: a neighbour may not hide an installed package
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _broken(file, error) from error
    finally:
        sys.path.remove(str(file.parent))
    return module


def _broken(file: Path, error: BaseException) -> ToolDefinitionError:
    if isinstance(error, ToolDefinitionError):
        return error
    if isinstance(error, SyntaxError) and error.filename:
        return ToolDefinitionError(f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}.")
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(file)), 1)
    cause = (str(error).splitlines() or [""])[0].rstrip(".")
    return ToolDefinitionError(f"{file}:{line}: {type(error).__name__}{': ' if cause else ''}{cause}.")
