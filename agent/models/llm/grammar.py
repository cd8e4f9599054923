"""From tools to a grammar in which neither a name nor arguments can be wrong.

Takes the closed JSON Schemas that pydantic writes: ``$defs``/``$ref`` (also recursive), ``anyOf``/``oneOf``, ``allOf``,
``enum``, ``const``, bounds, lengths, patterns, formats, nested objects, dictionaries, arrays, tuples, optional keys,
anything. Everything gets an upper length, so that a model that loops is stopped by the grammar.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sayso.items import JsonObject, ToolSpec
from sayso.models.llm.nodes import Alt, Grammar, Leaf, Lit, Many, Node, Ref, Seq, Str

MAX_STRING_CHARS = 200
"""The longest string a model may write where the schema does not say otherwise."""

MAX_SPEECH_CHARS = 600
"""The longest reply."""

MAX_ITEMS = 8
"""The longest array where the schema does not say otherwise, and the most keys of a dictionary."""

SPEECH = "none"
"""The name that stands for "no call": its argument ``say`` is spoken."""

_INTEGER = Leaf("number", "/-?(0|[1-9][0-9]{0,11})/")
_NUMBER = Leaf("number", r"/-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,6})?/")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"})


def turn_grammar(tools: Sequence[ToolSpec], *, speech: bool = True, strict_strings: bool = True) -> Grammar:
    """The grammar of one answer, after the forced beginning ``{"tool":"``.

    Args:
        tools: What may be called.
        speech: Whether the answer may be words (the tool `SPEECH`).
        strict_strings: Write patterns and formats of strings into the grammar. The decoder does not know every regular
            expression; without, such a string is any string and validation has the last word.
    """
    rules: dict[str, Node] = {}
    branches = [
        _branch(tool.name, _Schema(tool.parameters, f"t{at}", rules, strict_strings).root())
        for at, tool in enumerate(tools)
    ]
    if speech:
        branches.append(_branch(SPEECH, Seq((Lit('{"say":'), Str(1, MAX_SPEECH_CHARS), Lit("}")))))
    return Grammar(Alt(tuple(branches)), rules)


def _branch(name: str, arguments: Node) -> Node:
    return Seq((Lit(name + '","arguments":'), arguments, Lit("}")))


def compact(value: object) -> str:
    """JSON as the grammar writes it: no blanks, nothing escaped that need not be."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Schema:
    """Translates the schemas of one tool; its rules are named ``{prefix}_...``."""

    def __init__(self, schema: JsonObject, prefix: str, rules: dict[str, Node], strict_strings: bool) -> None:
        self._schema = schema
        self._prefix = prefix
        self._rules = rules
        self._strict_strings = strict_strings
        self._named: dict[str, str] = {}

    def root(self) -> Node:
        return self.node({key: value for key, value in self._schema.items() if key not in ("$defs", "definitions")})

    def node(self, schema: Any) -> Node:
        if not isinstance(schema, dict) or not schema:
            return self._anything()
        schema = cast("JsonObject", schema)
        if "$ref" in schema:
            return self._ref(str(schema["$ref"]))
        if "const" in schema:
            return Lit(compact(schema["const"]))
        if "enum" in schema:
            return Alt(tuple(Lit(compact(value)) for value in schema["enum"]))
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return Alt(tuple(self.node(option) for option in schema[key]))
        if "allOf" in schema:
            return self.node(self._merged(schema))
        return self._typed(schema)

    def _typed(self, schema: JsonObject) -> Node:
        match schema.get("type", "object" if "properties" in schema else None):
            case list():
                types = cast("list[str]", schema["type"])
                return Alt(tuple(self._typed({**schema, "type": one}) for one in types))
            case "string":
                return self._string(schema)
            case "integer":
                return self._bounded(schema, _INTEGER)
            case "number":
                return self._bounded(schema, _NUMBER)
            case "boolean":
                return Alt((Lit("true"), Lit("false")))
            case "null":
                return Lit("null")
            case "array":
                return self._array(schema)
            case "object":
                return self._object(schema)
            case _:
                return self._anything()

    def _ref(self, pointer: str) -> Node:
        if pointer not in self._named:
            name = self._named[pointer] = self._new_rule()
            self._rules[name] = self.node(self._target(pointer))
        return Ref(self._named[pointer])

    def _target(self, pointer: str) -> Any:
        target: Any = self._schema
        for key in pointer.removeprefix("#").split("/")[1:]:
            target = target[key.replace("~1", "/").replace("~0", "~")]
        return target

    def _new_rule(self) -> str:
        name = f"{self._prefix}_{len(self._rules)}"
        self._rules[name] = Lit("")
        return name

    def _string(self, schema: JsonObject) -> Node:
        exact = {key: schema[key] for key in ("pattern", "minLength", "maxLength") if key in schema}
        if schema.get("format") in _FORMATS:
            exact["format"] = schema["format"]
        if self._strict_strings and not exact.keys() <= {"minLength", "maxLength"}:
            return _checked("string", {"type": "string", **exact})
        least = int(schema.get("minLength", 0))
        return Str(least, max(least, min(int(schema.get("maxLength", MAX_STRING_CHARS)), MAX_STRING_CHARS)))

    def _bounded(self, schema: JsonObject, free: Leaf) -> Node:
        bounds = {key: schema[key] for key in _BOUNDS if key in schema}
        return _checked("number", {"type": schema["type"], **bounds}) if bounds else free

    def _array(self, schema: JsonObject) -> Node:
        fixed = tuple(self.node(item) for item in schema.get("prefixItems", ()))
        least = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", max(MAX_ITEMS, least)))
        if fixed:
            return _array(fixed[:least], fixed[least:], 0, 0, Lit("null"))
        if schema.get("uniqueItems") and (values := self._values(schema.get("items"))):
            return Alt(tuple(self._distinct(values, count) for count in range(least, min(most, len(values)) + 1)))
        item = self.node(schema.get("items"))
        if schema.get("uniqueItems"):
            most = max(least, min(most, 1))  # no grammar can compare free values
        return _array((), (), least, most, item)

    def _distinct(self, values: Sequence[Any], count: int) -> Node:
        """``count`` different values, in the order of the enumeration."""
        if count == 0:
            return Lit("[]")
        known: dict[tuple[int, int], Node] = {}

        def choose(start: int, left: int) -> Node:
            """``left`` of the values from ``start`` on; a rule each, or there would be one text for each set."""
            if (start, left) not in known:
                options: list[Node] = []
                for at in range(start, len(values) - left + 1):
                    head = Lit(compact(values[at]))
                    options.append(head if left == 1 else Seq((head, Lit(","), choose(at + 1, left - 1))))
                known[start, left] = self._shared(Alt(tuple(options)))
            return known[start, left]

        return Seq((Lit("["), choose(0, count), Lit("]")))

    def _values(self, schema: Any) -> list[Any]:
        """The values of an enumeration, through one reference."""
        if isinstance(schema, dict) and "$ref" in schema:
            schema = self._target(str(cast("JsonObject", schema)["$ref"]))
        return list(cast("JsonObject", schema).get("enum", ())) if isinstance(schema, dict) else []

    def _object(self, schema: JsonObject) -> Node:
        properties: Mapping[str, Any] = schema.get("properties", {})
        required = set(schema.get("required", ()))
        if not properties:
            return self._dictionary(schema)
        pairs = [
            (Seq((Lit(compact(key) + ":"), self.node(value))), key in required) for key, value in properties.items()
        ]
        return Seq((Lit("{"), self._pairs(pairs), Lit("}")))

    def _dictionary(self, schema: JsonObject) -> Node:
        values = schema.get("additionalProperties", "properties" not in schema)
        if values is False:
            return Lit("{}")
        pair = Seq((Str(1, 40), Lit(":"), self._anything() if values is True else self.node(values)))
        least = int(schema.get("minProperties", 0))
        most = int(schema.get("maxProperties", max(MAX_ITEMS, least)))
        return Seq((Lit("{"), _separated(pair, least, most), Lit("}")))

    def _pairs(self, pairs: Sequence[tuple[Node, bool]]) -> Node:
        """Members in order, with commas between those that are there."""
        fresh: Node = Lit("")
        started: Node = Lit("")
        for pair, is_required in reversed(pairs):
            with_first, with_more = Seq((pair, started)), Seq((Lit(","), pair, started))
            fresh = with_first if is_required else Alt((with_first, fresh))
            started = self._shared(with_more if is_required else Alt((with_more, started)))
        return fresh

    def _shared(self, node: Node) -> Node:
        name = self._new_rule()
        self._rules[name] = node
        return Ref(name)

    def _merged(self, schema: JsonObject) -> JsonObject:
        """``allOf`` and its siblings as one schema; later parts win, members are joined."""
        whole: JsonObject = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            part = self._target(str(part["$ref"])) if "$ref" in part else part
            joined = {**whole.get("properties", {}), **part.get("properties", {})}
            required = [*whole.get("required", ()), *part.get("required", ())]
            whole = {**whole, **part, **({"properties": joined, "required": required} if joined else {})}
        return whole

    def _anything(self) -> Node:
        if "" not in self._named:
            name = self._named[""] = self._new_rule()
            scalar = Alt((Str(0, MAX_STRING_CHARS), _NUMBER, Lit("true"), Lit("false"), Lit("null")))
            pair = Seq((Str(1, 40), Lit(":"), scalar))
            array = Seq((Lit("["), _separated(scalar, 0, MAX_ITEMS), Lit("]")))
            self._rules[name] = Alt((scalar, array, Seq((Lit("{"), _separated(pair, 0, MAX_ITEMS), Lit("}")))))
        return Ref(self._named[""])


def _checked(kind: Any, schema: JsonObject) -> Leaf:
    """A value that llguidance checks by its own schema compiler."""
    return Leaf(kind, "%json " + compact({**schema, "x-guidance": {"whitespace_flexible": False}}))


def _separated(node: Node, least: int, most: int) -> Node:
    if most <= 0:
        return Lit("")
    some = Seq((node, Many(Seq((Lit(","), node)), max(0, least - 1), most - 1)))
    return some if least > 0 else Alt((Lit(""), some))


def _array(first: tuple[Node, ...], optional: tuple[Node, ...], least: int, most: int, item: Node) -> Node:
    """An array of ``first``, then a beginning of ``optional``; or, where both are empty, of repeated ``item``."""
    if not first and not optional:
        return Seq((Lit("["), _separated(item, least, most), Lit("]")))
    lengths = range(len(first), len(first) + len(optional) + 1)
    return Alt(tuple(_exactly((*first, *optional)[:count]) for count in lengths))


def _exactly(items: Sequence[Node]) -> Node:
    parts = [part for item in items for part in (Lit(","), item)][1:]
    return Seq((Lit("["), *parts, Lit("]")))
