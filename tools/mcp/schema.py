"""A server's JSON Schema: compiled once, bounded, and unable to reach out or to run away.

Whoever writes a schema decides what validating costs. A regular expression can take years over thirty characters,
references can double at every level, and a reference can name a URL. So nothing is fetched, patterns are shown to
the model but left for the server to check, and the number of references followed is counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

from sayso.items import JsonObject
from sayso.tools.schema import InvalidArguments, Validate
from sayso.tools.text import neutralise

MAX_SCHEMA_BYTES = 64 << 10
MAX_SCHEMA_DEPTH = 40
MAX_REFERENCES = 10_000
"""Followed while one call's arguments are checked."""

MAX_PROBLEMS = 4
"""Told to the model at once."""

_PROSE = ("description", "title", "$comment", "pattern", "format")
"""Keywords whose text only informs."""


class BadSchema(Exception):
    """A schema that cannot be used; the message says why."""


def compile_schema(schema: JsonObject) -> Validate:
    """A validator of call arguments: from what a model wrote to the same, or `InvalidArguments`.

    Raises:
        BadSchema: Not a schema of an object, too large, too deep, or with a reference to somewhere else.
    """
    import jsonschema
    import jsonschema.validators
    from referencing import Registry

    library: Any = jsonschema.validators
    nowhere: Any = Registry

    check(schema)
    base: Any = library.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        base.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise BadSchema(f"it is no JSON Schema: {error.message[:100]}") from None
    followed = 0

    def reference(validator: Any, ref: Any, instance: Any, schema: Any) -> Iterator[Any]:
        nonlocal followed
        followed += 1
        if followed > MAX_REFERENCES:
            raise BadSchema("its references never end")
        return cast("Iterator[Any]", base.VALIDATORS["$ref"](validator, ref, instance, schema))

    def additional(validator: Any, extra: Any, instance: Any, schema: Any) -> Any:
        if "patternProperties" in schema:
            return ()
        return base.VALIDATORS["additionalProperties"](validator, extra, instance, schema)

    left_out = dict.fromkeys(("pattern", "patternProperties", "unevaluatedProperties"), _nothing)
    bounded: Any = library.extend(base, {"$ref": reference, "additionalProperties": additional, **left_out})
    validator: Any = bounded(schema, registry=nowhere())

    def validate(arguments: JsonObject) -> dict[str, Any]:
        nonlocal followed
        followed = 0
        try:
            problems = [_problem(error) for error in islice(validator.iter_errors(arguments), MAX_PROBLEMS)]
        except Exception as error:  # a reference that leads nowhere or never ends, a schema that breaks its keyword
            raise InvalidArguments(f"The arguments cannot be checked: {str(error)[:100]}.") from None
        if problems:
            raise InvalidArguments(f"Wrong arguments. {' '.join(problems)}")
        return dict(arguments)

    return validate


def check(schema: Any) -> None:
    """Refuse what is too large, too deep, not of an object, or refers to somewhere else.

    Raises:
        BadSchema: The message says which.
    """
    if not isinstance(schema, dict) or cast("JsonObject", schema).get("type", "object") != "object":
        raise BadSchema("it does not describe an object")
    try:
        size = len(json.dumps(schema))
    except RecursionError:
        raise BadSchema("it is too deep") from None
    if size > MAX_SCHEMA_BYTES:
        raise BadSchema(f"it has {size} bytes, and {MAX_SCHEMA_BYTES} are the limit")
    _visit(cast("JsonObject", schema), 0)


def _visit(node: Any, depth: int) -> None:
    if depth > MAX_SCHEMA_DEPTH:
        raise BadSchema("it is too deep")
    if isinstance(node, dict):
        for key, value in cast("JsonObject", node).items():
            if key in ("$dynamicRef", "$recursiveRef"):
                raise BadSchema(f"it uses {key}")
            if key == "$ref" and not (isinstance(value, str) and value.startswith("#")):
                raise BadSchema("it refers to another document")
            _visit(value, depth + 1)
    elif isinstance(node, list):
        for value in cast("list[Any]", node):
            _visit(value, depth + 1)


def for_model(schema: JsonObject) -> JsonObject:
    """``schema`` as a model is shown it: prose neutralised, without ``$schema``, and always with ``properties``.

    Raises:
        BadSchema: A name or a value in it looks like a model's control token.
    """
    shown = {key: value for key, value in schema.items() if key not in ("$schema", "$id", "title")}
    parameters: JsonObject = {"type": "object", "properties": {}}
    return parameters | cast("JsonObject", _clean(shown))


def _clean(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            _harmless(key): neutralise(value) if key in _PROSE and isinstance(value, str) else _clean(value)
            for key, value in cast("JsonObject", node).items()
        }
    if isinstance(node, list):
        return [_clean(value) for value in cast("list[Any]", node)]
    return _harmless(node) if isinstance(node, str) else node


def _harmless(text: str) -> str:
    if neutralise(text) != text:
        raise BadSchema("it holds control tokens")
    return text


def _nothing(validator: Any, value: Any, instance: Any, schema: Any) -> tuple[()]:
    """A keyword that is left for the server to check."""
    return ()


def _problem(error: Any) -> str:
    """One line: where, and what."""
    where = ".".join(str(part) for part in error.absolute_path)
    return neutralise(f"{where + ': ' if where else ''}{error.message[:150]}.")
