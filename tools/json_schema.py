"""From pydantic's JSON Schema to the one a model is shown: closed, without titles, without references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic.json_schema import GenerateJsonSchema

from sayso.items import JsonObject

_MAPS = ("properties", "patternProperties", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_REF = "#/$defs/"


class QuietGenerator(GenerateJsonSchema):
    """Leaves out a default that JSON cannot hold, without a warning: the function keeps it."""

    ignored_warning_kinds: ClassVar = {"skipped-choice", "non-serializable-default"}


def refine(schema: JsonObject) -> JsonObject:
    """``schema`` as a model should see it, a new object.

    - Every object with declared properties is closed (``additionalProperties: false``) unless its author opened it.
    - Titles go: they repeat the names.
    - References are inlined (small models read that better); recursive types stay in ``$defs``.
    """
    defs: JsonObject = schema.get("$defs", {})
    recursive = _recursive(defs)
    body = _Refiner(defs, recursive).node({key: value for key, value in schema.items() if key != "$defs"})
    kept = {name: _Refiner(defs, recursive).node(defs[name]) for name in sorted(recursive)}
    return body | {"$defs": kept} if kept else body


def opens_objects(schema: JsonObject) -> bool:
    """Whether an object with declared properties takes others beside them (``extra="allow"``)."""
    found = False

    def visit(node: JsonObject) -> None:
        nonlocal found
        found = found or ("properties" in node and node.get("additionalProperties", False) is not False)

    _walk(schema, visit)
    return found


class _Refiner:
    def __init__(self, defs: JsonObject, recursive: set[str]) -> None:
        self._defs = defs
        self._recursive = recursive

    def node(self, node: Any) -> Any:
        if not isinstance(node, dict):  # true and false are schemas too
            return node
        fields: JsonObject = dict(node)  # pyright: ignore[reportUnknownArgumentType]
        name = _referred(fields)
        if name is not None and name not in self._recursive:
            target: JsonObject = self._defs[name]
            beside = {key: value for key, value in fields.items() if key != "$ref"}
            return self.node(target | beside)
        fields.pop("title", None)
        fields.pop("discriminator", None)  # OpenAPI's, and it points into $defs
        for key in _MAPS:
            if key in fields:
                fields[key] = {inner: self.node(value) for inner, value in fields[key].items()}
        for key in _LISTS:
            if key in fields:
                fields[key] = [self.node(value) for value in fields[key]]
        for key in _SINGLE:
            if key in fields:
                fields[key] = self.node(fields[key])
        if "properties" in fields:
            fields.setdefault("additionalProperties", False)
        return fields


def _referred(node: JsonObject) -> str | None:
    ref = node.get("$ref")
    return ref.removeprefix(_REF) if isinstance(ref, str) else None


def _walk(node: Any, visit: Callable[[JsonObject], None]) -> None:
    """Visit every schema in ``node``, and no value that only looks like one (a default, an enum)."""
    if not isinstance(node, dict):
        return
    fields: JsonObject = node  # pyright: ignore[reportUnknownVariableType]
    visit(fields)
    for key in (*_MAPS, "$defs"):
        for inner in fields.get(key, {}).values():
            _walk(inner, visit)
    for key in _LISTS:
        for inner in fields.get(key, ()):
            _walk(inner, visit)
    for key in _SINGLE:
        _walk(fields.get(key), visit)


def _recursive(defs: JsonObject) -> set[str]:
    """The definitions that reach themselves."""
    direct: dict[str, set[str]] = {}
    for name, schema in defs.items():
        refs: set[str] = set()

        def note(node: JsonObject, refs: set[str] = refs) -> None:
            referred = _referred(node)
            if referred is not None:
                refs.add(referred)

        _walk(schema, note)
        direct[name] = refs
    return {name for name in defs if name in _reachable(direct, direct[name])}


def _reachable(direct: dict[str, set[str]], start: set[str]) -> set[str]:
    seen: set[str] = set()
    todo = list(start)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(direct.get(name, ()))
    return seen
