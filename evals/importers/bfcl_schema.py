"""Functions and accepted answers of BFCL as JSON Schema and `any_of`, and whether a request can be spoken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Final, Literal, TypeAlias, cast

from sayso.items import JsonObject

Speakable: TypeAlias = Literal["yes", "spell", "no"]

TYPES: Final = {
    "dict": "object",
    "float": "number",
    "tuple": "array",
    "list": "array",
    "bool": "boolean",
    "str": "string",
    "int": "integer",
    **{name: name for name in ("object", "number", "array", "boolean", "string", "integer", "null")},
}
MOST_FORMS: Final = 256
"""Accepted forms of one value that are written out at most."""
MOST_LETTERS: Final = 900
_UNSPEAKABLE: Final = re.compile(
    r"https?://|www\.|[\w-]+\.(?:com|org|net|io)\b|\b[\w-]+\.(?:txt|pdf|csv|py|json|jpe?g|png|xlsx?|docx?|md|log|js|html)\b"
    r"|(?:^|\s)[~.]{0,2}/[\w./-]+|\\|[{}\[\]<>|`]|\b\w+\(|==|->|\n\s*\n"
)
_CODES: Final = re.compile(r"\b(?=[A-Za-z-]*\d)(?=[\d-]*[A-Za-z])[A-Za-z\d][A-Za-z\d-]{3,}\b|\b\d{5,}\b|\b[A-Z]{4,}\b")


class Unusable(ValueError):
    """A function or an answer that cannot be a tool's; the message is the reason that is counted."""


def tool_name(name: str) -> str:
    """A function's name as that of a tool: dots become underscores, as BFCL does for models that ask for it."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return (plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}")[:64]


def schema_of(schema: JsonObject) -> JsonObject:
    """A schema with types of Python as JSON Schema.

    Raises:
        Unusable: It has a type of another language.
    """
    made: JsonObject = {}
    for key, value in schema.items():
        match key:
            case "type" if value == "any":
                continue
            case "type" if isinstance(value, str) and value in TYPES:
                made[key] = TYPES[value]
            case "type":
                raise Unusable("types of another language than Python")
            case "properties" if isinstance(value, dict):
                made[key] = {name: schema_of(inner) for name, inner in cast("JsonObject", value).items()}
            case "items" | "additionalProperties" if isinstance(value, dict):
                made[key] = schema_of(cast("JsonObject", value))
            case "optional":
                continue
            case _:
                made[key] = value
    return made


def accepted(values: Any) -> list[Any]:
    """The accepted values of a parameter; objects in every accepted form, each compared as a whole.

    Raises:
        Unusable: There are too many forms or none, or the answer is no list.
    """
    if not isinstance(values, list):
        raise Unusable("answers that are no lists of accepted values")
    if not values:
        raise Unusable("answers that no call fits")
    found: list[Any] = []
    for value in cast("list[Any]", values):
        if _has_objects(value):
            forms = list(_forms(value))
            if len(forms) > MOST_FORMS:
                raise Unusable("answers with too many accepted forms")
            found += [{"equals": form} for form in forms]
        else:
            found.append(value)
    return found


def speakable(text: str) -> Speakable:
    """Whether a request can be said: not with paths, addresses and code; codes are spelled."""
    if len(text) > MOST_LETTERS or _UNSPEAKABLE.search(text):
        return "no"
    return "spell" if _CODES.search(text) else "yes"


def spelled(text: str) -> str:
    """A request as it is said: codes letter by letter."""
    return _CODES.sub(lambda found: f"<spell>{found[0]}</spell>", text)


def _has_objects(value: Any) -> bool:
    if isinstance(value, list):
        return any(_has_objects(part) for part in cast("list[Any]", value))
    return isinstance(value, dict)


def _forms(value: Any) -> Iterator[Any]:
    """Every accepted form: of an object each key has a list of accepted values, of which "" is leaving it out."""
    if isinstance(value, dict):
        table = cast("JsonObject", value)
        choices = [_choices(one) for one in table.values()]
        _bounded([len(one) for one in choices])
        for picked in product(*choices):
            yield {key: part for key, part in zip(table, picked, strict=True) if part != ""}
    elif isinstance(value, list):
        rows = [list(_forms(part)) for part in cast("list[Any]", value)]
        _bounded([len(one) for one in rows])
        for picked in product(*rows):
            yield list(picked)
    else:
        yield value


def _choices(values: Any) -> list[Any]:
    listed = cast("list[Any]", values) if isinstance(values, list) else [values]
    return [form for value in listed for form in _forms(value)]


def _bounded(counts: Sequence[int]) -> None:
    total = 1
    for count in counts:
        total *= max(1, count)
    if total > MOST_FORMS:
        raise Unusable("answers with too many accepted forms")
