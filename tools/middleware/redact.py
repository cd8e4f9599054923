"""`redact`: what must not leave a tool is blotted out of its results, progress and errors."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Generator, Iterable, Mapping
from enum import Enum
from typing import Any, TypeAlias, cast

from pydantic import BaseModel
from typing_extensions import ParamSpec, TypeVar

from sayso.errors import SaysoError, ToolDefinitionError, ToolError
from sayso.items import JsonObject
from sayso.tools.context import Context
from sayso.tools.middleware.around import around
from sayso.tools.schema import InvalidArguments
from sayso.tools.tool import Tool

P = ParamSpec("P")
R = TypeVar("R")
Clean: TypeAlias = Callable[[str], str]


def redact(tool: Tool[P, R], patterns: Iterable[str | re.Pattern[str]], mark: str = "[redacted]") -> Tool[P, R]:
    r"""``tool``, in whose results, progress and errors every match of a pattern reads ``mark``.

    Results keep their type: texts and numbers in dicts, lists, dataclasses and models are looked through. What is
    none of these is shown as the text that it has if that holds a match. An error keeps its type where its text can be
    changed, and otherwise becomes a `ToolError`.

    Args:
        tool: A function's, or a method's that is bound to its object.
        patterns: Regular expressions, such as ``r"\d{16}"``, or one.
        mark: What is put in the place of a match.

    Raises:
        ToolDefinitionError: A pattern is no regular expression, or the tool is a method without its object.
    """
    if isinstance(patterns, str):  # each of its letters would be a pattern
        patterns = [patterns]
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise ToolDefinitionError(f"{tool.where}: tool '{tool.name}' is redacted by a bad pattern: {error}.") from None

    def clean(text: str) -> str:
        for pattern in compiled:
            text = pattern.sub(lambda _: mark, text)
        return text

    def steps(arguments: dict[str, Any], ctx: Context) -> Generator[Context, Any, Any]:
        try:
            result = yield ctx.reporting(lambda value: cleaned(value, clean))
        except Exception as error:
            raise _cleaned_error(error, clean, tool.name) from None
        return cleaned(result, clean)

    def validate(arguments: JsonObject) -> dict[str, Any]:
        try:
            return tool.validate(arguments)
        except InvalidArguments as error:
            raise InvalidArguments(clean(str(error))) from None

    return dataclasses.replace(around(tool, steps), validate=validate)


def cleaned(value: Any, clean: Clean) -> Any:
    """``value`` with every text in it cleaned, at any depth; of the same type where that can be."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and not isinstance(value, Enum):
        return clean(value)
    if isinstance(value, Mapping):
        return {cleaned(key, clean): cleaned(item, clean) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: cleaned(item, clean) for name, item in value})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _cleaned_dataclass(value, clean)
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [cleaned(item, clean) for item in cast("Iterable[Any]", value)]
        kind = cast("Any", type(value))
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    text = str(value.value if isinstance(value, Enum) else value)
    return value if clean(text) == text else clean(text)


def _cleaned_dataclass(value: Any, clean: Clean) -> Any:
    copied = copy.copy(value)
    for field in dataclasses.fields(value):
        object.__setattr__(copied, field.name, cleaned(getattr(value, field.name), clean))  # it may be frozen
    return copied


def _cleaned_error(error: Exception, clean: Clean, name: str) -> Exception:
    """``error`` with its text changed where that works: its type decides whether a call is tried again."""
    text = clean(str(error))
    if text == str(error):
        return error
    error.args = tuple(cleaned(argument, clean) for argument in error.args)
    if isinstance(error, SaysoError):
        error.hint = clean(error.hint)
    if clean(str(error)) == str(error):
        return error
    return ToolError(f"{name} failed: {type(error).__name__}: {text}")
