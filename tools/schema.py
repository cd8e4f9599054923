"""From a function to what a model may send it: a closed JSON Schema, and a validator compiled once.

The validator is pydantic-core's, made for a stand-in function that has the same parameters (without ``self`` and the
`Context`) and returns them by name. So pydantic does for arguments what it does everywhere else, at
under a microsecond a call.
"""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, cast

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sayso.errors import ToolDefinitionError, ToolError
from sayso.items import JsonObject
from sayso.tools.context import Context
from sayso.tools.docstrings import parse_docstring
from sayso.tools.json_schema import QuietGenerator, opens_objects, refine

Validate: TypeAlias = Callable[[JsonObject], dict[str, Any]]
"""Arguments as a model wrote them in, arguments for the function out; raises `InvalidArguments`."""

MAX_ERRORS = 5
"""How many faults of one call are told to the model."""


class InvalidArguments(ToolError):
    """A call's arguments do not fit the schema; the message is for the model."""


@dataclass(frozen=True, slots=True)
class FunctionSchema:
    """What a function's signature and docstring say.

    Attributes:
        description: The docstring up to its first section.
        parameters: The JSON Schema of the arguments.
        validate: The compiled validator.
        receiver: The name of the first parameter where it is an untyped ``self`` or ``cls``.
        context: The name of the `Context` parameter, if any.
        positional: Names that can only be passed by position, in order, `context` included.
        returns: The resolved return annotation, or `inspect.Signature.empty` where there is none.
    """

    description: str
    parameters: JsonObject
    validate: Validate
    receiver: str | None
    context: str | None
    positional: tuple[str, ...]
    returns: Any


def where(function: Callable[..., Any]) -> str:
    """``file:line`` of a function's definition."""
    code = cast("types.CodeType | None", getattr(inspect.unwrap(function), "__code__", None))
    return f"{code.co_filename}:{code.co_firstlineno}" if code else getattr(function, "__module__", "?")


def read_function(function: Callable[..., Any], local_names: Mapping[str, Any] | None = None) -> FunctionSchema:
    """Read a function's signature and docstring.

    Args:
        function: What will run; annotations may be strings.
        local_names: The names at the place of definition, for annotations of types that are local to a function.

    Raises:
        ToolDefinitionError: A parameter has no type, a type that is not defined or a type without a JSON Schema, or it
            is ``*args`` or ``**kwargs``.
    """
    label = f"'{function.__name__}'"
    parameters = list(inspect.signature(function).parameters.values())
    receiver = parameters.pop(0).name if parameters and _is_receiver(parameters[0]) else None
    for parameter in parameters:
        _refuse_untyped(function, parameter)
    hints = _hints(function, local_names)
    context = next((p.name for p in parameters if _is_context(hints[p.name])), None)
    docs = parse_docstring(function.__doc__)
    shown = [
        parameter.replace(
            kind=inspect.Parameter.KEYWORD_ONLY,
            annotation=_described(hints[parameter.name], docs.arguments.get(parameter.name, "")),
        )
        for parameter in parameters
        if parameter.name != context
    ]
    adapter = _compile(function, shown)
    try:
        raw = adapter.json_schema(schema_generator=QuietGenerator)
    except PydanticUserError as error:
        raise _no_schema(function, shown, error) from error
    schema = refine(raw)
    schema.setdefault("properties", {})
    return FunctionSchema(
        description=docs.description or f"{label[1:-1].replace('_', ' ').strip().capitalize()}.",
        parameters=schema,
        validate=_validator(function.__name__, adapter, tuple(p.name for p in shown), opens_objects(raw)),
        receiver=receiver,
        context=context,
        positional=tuple(p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY),
        returns=hints.get("return", inspect.Signature.empty),
    )


def _is_receiver(parameter: inspect.Parameter) -> bool:
    return parameter.name in ("self", "cls") and parameter.annotation is inspect.Parameter.empty


def _is_context(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, Context)
    return any(_is_context(part) for part in typing.get_args(annotation) if isinstance(part, type))


def _refuse_untyped(function: Callable[..., Any], parameter: inspect.Parameter) -> None:
    name = function.__name__
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        stars = "*" if parameter.kind is inspect.Parameter.VAR_POSITIONAL else "**"
        raise ToolDefinitionError(
            f"{where(function)}: tool '{name}' takes {stars}{parameter.name}, which a model cannot be told about.",
            "Name each parameter.",
        )
    if parameter.annotation is inspect.Parameter.empty:
        raise ToolDefinitionError(
            f"{where(function)}: parameter '{parameter.name}' of tool '{name}' has no type.",
            f"Annotate it, for example `{parameter.name}: str`.",
        )


def _hints(function: Callable[..., Any], local_names: Mapping[str, Any] | None) -> dict[str, Any]:
    """Resolved annotations; a return annotation that cannot be resolved is left out."""
    plain = inspect.unwrap(function)
    module_names: dict[str, Any] = getattr(plain, "__globals__", {})
    annotations: dict[str, Any] = dict(getattr(plain, "__annotations__", {}))
    resolved: dict[str, Any] = {}
    for name, annotation in annotations.items():
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints = typing.get_type_hints(holder, module_names, dict(local_names or {}), include_extras=True)
        except Exception as error:
            if name == "return":
                continue
            raise ToolDefinitionError(
                f"{where(function)}: the type of parameter '{name}' of tool '{function.__name__}' "
                f"cannot be read: {error}.",
                "Define or import it before the tool.",
            ) from error
        resolved |= hints
    return resolved


def _described(annotation: Any, text: str) -> Any:
    """``annotation`` with the docstring's text, unless it brings its own."""
    own = (part.description for part in typing.get_args(annotation)[1:] if isinstance(part, FieldInfo))
    return annotation if not text or any(own) else Annotated[annotation, Field(description=text)]


def _compile(function: Callable[..., Any], shown: list[inspect.Parameter]) -> TypeAdapter[dict[str, Any]]:
    def collect(**arguments: Any) -> dict[str, Any]:
        return arguments

    collect.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    collect.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    try:
        return TypeAdapter(cast("Any", collect))
    except Exception as error:  # pydantic raises several kinds, and user types may raise their own
        raise _no_schema(function, shown, error) from error


def _no_schema(function: Callable[..., Any], shown: list[inspect.Parameter], error: Exception) -> ToolDefinitionError:
    """Say which parameter it was: the first whose type fails alone."""
    for parameter in shown:
        try:
            TypeAdapter(parameter.annotation).json_schema(schema_generator=QuietGenerator)
        except Exception as cause:
            reason = str(cause).splitlines()[0].rstrip(".")
            return ToolDefinitionError(
                f"{where(function)}: the type of parameter '{parameter.name}' of tool '{function.__name__}' "
                f"has no JSON Schema: {reason}.",
                "Use types that pydantic can validate.",
            )
    reason = str(error).splitlines()[0].rstrip(".")
    return ToolDefinitionError(f"{where(function)}: tool '{function.__name__}' has no JSON Schema: {reason}.")


def _validator(tool: str, adapter: TypeAdapter[dict[str, Any]], names: tuple[str, ...], is_open: bool) -> Validate:
    """The compiled check. Extra keys are refused at every depth, as the schema says."""
    check = adapter.validator.validate_python
    extra = None if is_open else "forbid"

    def validate(arguments: JsonObject) -> dict[str, Any]:
        if not isinstance(arguments, dict):  # pyright: ignore[reportUnnecessaryIsInstance] (a model wrote it)
            raise InvalidArguments(f"The arguments of {tool} must be one JSON object.")
        try:
            return check(arguments, extra=extra)
        except ValidationError:
            pass
        try:  # JSON mode is the rule; it also takes text for dates and the like where a field is strict
            return adapter.validate_json(json.dumps(arguments), extra=extra)
        except ValidationError as error:
            raise InvalidArguments(_explain(tool, error, names)) from None
        except (TypeError, ValueError):
            raise InvalidArguments(f"The arguments of {tool} are not JSON.") from None

    return validate


def _explain(tool: str, error: ValidationError, names: tuple[str, ...]) -> str:
    details = error.errors(include_url=False, include_context=False)
    faults = [_fault(detail, names) for detail in details[:MAX_ERRORS]]
    if len(details) > MAX_ERRORS:
        faults.append(f"and {len(details) - MAX_ERRORS} more")
    return f"Wrong arguments for {tool}: {'; '.join(faults)}."


def _fault(detail: ErrorDetails, names: tuple[str, ...]) -> str:
    path = _path(detail["loc"])
    match detail["type"]:
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            return f"{path} is missing"
        case "unexpected_keyword_argument":
            return f"there is no argument {path} (the arguments are: {', '.join(names) or 'none'})"
        case "extra_forbidden":
            return f"{path} is not a known field"
        case _:
            given = json.dumps(detail["input"], ensure_ascii=False, default=str)
            given = given if len(given) <= 60 else given[:60] + "..."
            reason = re.sub(r"^Value error, ", "", detail["msg"])
            return f"{path}: {reason[:200]} (you sent {given})"


def _path(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "arguments"
