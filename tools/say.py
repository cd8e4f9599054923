"""What is spoken of a simple result without asking the model again: a template over the result's fields, or a function.

A template is `str.format` without its dangers: plain field names only, no attributes, no indexes, no conversions. The
values are data, so they are made speakable and neutralised; where one cannot be spoken (a list, nothing, a long text)
nothing is said and the model phrases the answer.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import string
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias, cast

from pydantic import BaseModel
from typing_extensions import is_typeddict

from sayso.errors import ToolDefinitionError
from sayso.items import JsonObject
from sayso.settings import redact
from sayso.tools.policy import Question
from sayso.tools.text import as_text, neutralise

Speak: TypeAlias = Callable[[Any], str | None]
"""From a tool's result to the words to say, or None where the model should phrase it."""

MAX_SAY_CHARS = 400
"""A longer line is not spoken as it stands (half a minute of speech): the model sums it up."""

MAX_VALUE_CHARS = 120
"""Of one argument in a question: who listens longer has forgotten what they were asked (8 s of speech)."""

_ENDS_A_SENTENCE = re.compile(r"\s*(?:[.!?;…]+(?=\s|$)|[。！？；]+)\s*")
_QUOTES = re.compile(r"[\"“”„‟«»「」『』〝〞]")

_log = logging.getLogger(__name__)
_SCALARS: tuple[type, ...] = (str, int, float, Decimal, bool, date, time, Enum)


class _Unspeakable(Exception):
    """A value has no plain spoken form."""


def compile_say(say: str | Speak, returns: Any, place: str) -> Speak:
    """A safe function from a result to what is said; it never raises.

    Args:
        say: A template such as ``"It is {time} in {place}."``, or a function of the result.
        returns: The tool's return annotation; where its fields are known, the template's are checked against them.
        place: Who is defined and where, for errors.

    Raises:
        ToolDefinitionError: The template is malformed or names a field that the result does not have.
    """
    if callable(say):
        return _guarded(say, place)
    parts = _parse(say, f"{place}: the say template", "say=lambda result: ...")
    known = known_fields(returns)
    for _, name, _ in parts:
        if name is not None and known is not None and name not in known:
            raise ToolDefinitionError(
                f"{place}: the say template names {{{name}}}, which the result does not have.",
                f"Its fields are: {', '.join(sorted(known))}.",
            )

    def render(result: Any) -> str | None:
        fields = _fields(result)
        return "".join(text + ("" if name is None else _speakable(fields[name], spec)) for text, name, spec in parts)

    return _guarded(render, place)


def compile_question(confirm: str | Callable[[dict[str, Any]], str], parameters: JsonObject, place: str) -> Question:
    """A safe function from validated arguments to the question that a person is asked before a call.

    Args:
        confirm: A template over the arguments, whose texts go through `read_back`, or a function of them, which
            should do the same with text that the model may have taken from outside.
        parameters: The tool's JSON Schema.
        place: Who is defined and where, for errors.

    Raises:
        ToolDefinitionError: The template is malformed or names a parameter that the tool does not have.
    """
    if callable(confirm):
        ask: Callable[[dict[str, Any]], str] = confirm
    else:
        parts = _parse(confirm, f"{place}: the confirm template", "confirm=lambda arguments: ...")
        for _, name, _ in parts:
            if name is not None and name not in parameters["properties"]:
                raise ToolDefinitionError(
                    f"{place}: the confirm template names {{{name}}}, which is no parameter.",
                    f"The parameters are: {', '.join(parameters['properties']) or 'none'}.",
                )

        def ask(arguments: dict[str, Any]) -> str:
            return "".join(text + ("" if name is None else _asked(arguments[name], spec)) for text, name, spec in parts)

    guarded = _guarded(ask, place)

    def question(arguments: dict[str, Any]) -> str:
        return guarded(arguments) or ""

    return question


def plain_question(name: str, arguments: Mapping[str, Any]) -> str:
    """The question for a tool that declares none: its name and every argument, in words."""
    action = name.replace("_", " ").replace("-", " ")
    values: list[str] = []
    for key, value in arguments.items():
        try:
            values.append(f"{key.replace('_', ' ')} {_asked(value, '')}")
        except _Unspeakable:
            values.append(f"{key.replace('_', ' ')} {read_back(as_text(value, 10 * MAX_VALUE_CHARS))}")
    return f"Shall I do this: {action}{', with ' if values else ''}{', '.join(values)}?"


def read_back(text: str) -> str:
    """``text`` as a value inside a question: it can neither end the question nor ask another, nor bury it.

    An argument may have been copied from a web page: "Ann. Shall I read you the news" would make a person say yes to
    something else. So a text of several sentences becomes one, in quotation marks, and a long one is cut audibly.
    """
    line = _QUOTES.sub("", " ".join(redact(neutralise(text)).split())).rstrip(" .!。！…")
    several = _ENDS_A_SENTENCE.search(line)
    line = _ENDS_A_SENTENCE.sub(", ", line).strip(", ")
    if len(line) > MAX_VALUE_CHARS:
        line = f"{line[:MAX_VALUE_CHARS]} … and {len(line) - MAX_VALUE_CHARS} more characters"
    return f"“{line}”" if several else line


def _asked(value: Any, spec: str) -> str:
    words = _speakable(value, spec)
    return read_back(words) if isinstance(value, (str, Enum)) else words


def _guarded(speak: Speak, place: str) -> Speak:
    def guarded(result: Any) -> str | None:
        try:
            words = speak(result)
        except (_Unspeakable, KeyError):
            return None
        except Exception:
            _log.exception("%s: the say template failed", place)
            return None
        if not isinstance(words, str) or not words.strip() or len(words) > MAX_SAY_CHARS:
            return None
        return " ".join(redact(neutralise(words)).split())

    return guarded


def _parse(template: str, what: str, function: str) -> list[tuple[str, str | None, str]]:
    """(literal text, field name, format spec) triples.

    Args:
        template: To be taken apart.
        what: Which template, for the message.
        function: How a function is given in its place.

    Raises:
        ToolDefinitionError: Malformed, or more than plain fields.
    """
    if not isinstance(template, str) or not template.strip():  # pyright: ignore[reportUnnecessaryIsInstance] (untyped)
        raise ToolDefinitionError(f"{what} is {template!r}.", f"Give words, or a function: {function}")
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ToolDefinitionError(
            f"{what} is malformed: {error}.", "Write {name} for a value, {{ for a brace."
        ) from None
    parts: list[tuple[str, str | None, str]] = []
    for text, name, spec, conversion in pieces:
        if name is not None and (not name.isidentifier() or conversion or "{" in (spec or "")):
            raise ToolDefinitionError(
                f"{what} may use plain field names only, not {{{name}}}.",
                f"Use a function for anything more: {function}",
            )
        parts.append((text, name, spec or ""))
    return parts


def known_fields(returns: Any) -> frozenset[str] | None:
    """The field names of results annotated ``returns``, or None where they cannot be known before a call."""
    origin, parts = typing.get_origin(returns), typing.get_args(returns)
    if origin is typing.Annotated:
        return known_fields(parts[0])
    if origin in (typing.Union, types.UnionType):
        some = [part for part in parts if part is not type(None)]
        return known_fields(some[0]) if len(some) == 1 else None
    if not isinstance(returns, type):
        return None
    if issubclass(returns, BaseModel):
        return frozenset(returns.model_fields) | frozenset(returns.model_computed_fields)
    if dataclasses.is_dataclass(returns):
        return frozenset(field.name for field in dataclasses.fields(returns))
    if is_typeddict(returns) or hasattr(returns, "_fields"):
        return frozenset(typing.get_type_hints(returns))
    return frozenset({"result"}) if issubclass(returns, _SCALARS) else None


def _fields(result: Any) -> Mapping[str, Any]:
    """The declared fields of a result; a plain value is its own single field ``result``."""
    if isinstance(result, Mapping):
        return cast("Mapping[str, Any]", result)
    if isinstance(result, BaseModel):
        computed = type(result).model_computed_fields
        return result.__dict__ | {name: getattr(result, name) for name in computed} if computed else result.__dict__
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    if isinstance(result, tuple) and hasattr(result, "_asdict"):
        return cast("Any", result)._asdict()
    return {"result": result}


def _speakable(value: Any, spec: str) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if spec and isinstance(value, _SCALARS):
        return format(value, spec)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.10g}"
    if isinstance(value, (str, int, Decimal, date, time)):
        return str(value)
    raise _Unspeakable
