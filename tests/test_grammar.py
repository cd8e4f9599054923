"""The grammar of an answer: everything that it lets pass is a valid call, and every valid call passes.

llguidance, the grammar engine inside llama.cpp, is asked byte by byte, so no model is needed.
"""

import json
import random
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from sayso.items import ToolSpec
from sayso.models.llm.constrained import natural_cut
from sayso.models.llm.grammar import SPEECH, compact, turn_grammar
from sayso.models.llm.nodes import Grammar, Walker, lark

llguidance = pytest.importorskip("llguidance")
HEADER = "%llguidance {}\n"


def matcher(grammar: Grammar) -> Any:
    tokenizer = llguidance.LLTokenizer("byte")
    text = lark(grammar)
    assert text.startswith(HEADER)
    made = llguidance.LLMatcher(tokenizer, text.removeprefix(HEADER))
    assert not made.get_error(), made.get_error()
    return made


def accepts(grammar: Grammar, text: str) -> bool:
    made = matcher(grammar)
    data = list(text.encode())
    return made.try_consume_tokens(data) == len(data) and made.is_accepting()


def tool(parameters: dict[str, Any], name: str = "act") -> ToolSpec:
    return ToolSpec(name, "", parameters)


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def call(arguments: Any, name: str = "act") -> str:
    return f'{name}","arguments":{compact(arguments)}}}'


def sample(grammar: Grammar, seed: int) -> str:
    """A random text of the grammar; quotes and brackets are preferred so that it ends."""
    made, chance, written = matcher(grammar), random.Random(seed), bytearray()
    while not made.is_stopped() and len(written) < 4000:
        mask = made.compute_bitmask()
        allowed = [byte for byte in range(256) if mask[byte // 8] >> (byte % 8) & 1]
        if not allowed:
            break
        closing = [byte for byte in allowed if byte in b'"]}']
        plain = [byte for byte in allowed if byte < 128] or allowed
        byte = chance.choice(closing if closing and chance.random() < 0.5 else plain)
        written.append(byte)
        assert made.try_consume_tokens([byte]) == 1
        if made.is_accepting() and written.endswith(b"}"):
            break
    return written.decode()


# --- Schemas with a value that fits ---

names = st.sampled_from(["city", "day", "on", "count", "straße", 'quo"te', "a b"])
strings = st.text(st.characters(exclude_categories=("C",), exclude_characters="\x7f"), max_size=20)


@st.composite
def leaves(draw: st.DrawFn) -> tuple[dict[str, Any], Any]:
    match draw(st.integers(0, 8)):
        case 0:
            return {"type": "string"}, draw(strings)
        case 1:
            least = draw(st.integers(0, 4))
            text = draw(st.text("abcé☃", min_size=least, max_size=9))
            return {"type": "string", "minLength": least, "maxLength": 9}, text
        case 2:
            return {"type": "integer"}, draw(st.integers(-(10**12) + 1, 10**12 - 1))
        case 3:
            low, high = sorted(draw(st.tuples(st.integers(-500, 500), st.integers(-500, 500))))
            return {"type": "integer", "minimum": low, "maximum": high}, draw(st.integers(low, high))
        case 4:
            return {"type": "boolean"}, draw(st.booleans())
        case 5:
            values = draw(st.lists(st.one_of(strings, st.integers(), st.none()), min_size=1, max_size=4))
            return {"enum": values}, draw(st.sampled_from(values))
        case 6:
            value = draw(strings)
            return {"const": value}, value
        case 7:
            return {"type": "number", "exclusiveMinimum": 0, "maximum": 10}, draw(st.sampled_from([0.5, 2, 9.25, 10]))
        case _:
            return {"anyOf": [{"type": "integer"}, {"type": "null"}]}, draw(st.sampled_from([None, 7, -12]))


@st.composite
def containers(draw: st.DrawFn, inner: st.SearchStrategy[tuple[dict[str, Any], Any]]) -> tuple[dict[str, Any], Any]:
    if draw(st.booleans()):
        schema, value = draw(inner)
        return {"type": "array", "items": schema, "maxItems": 3}, [value] * draw(st.integers(0, 3))
    keys = draw(st.lists(names, unique=True, max_size=4))
    parts = {key: draw(inner) for key in keys}
    required = [key for key in keys if draw(st.booleans())]
    there = [key for key in keys if key in required or draw(st.booleans())]
    schema = closed(**{key: part[0] for key, part in parts.items()}) | {"required": required}
    return schema, {key: parts[key][1] for key in there}


pairs = st.recursive(leaves(), lambda inner: containers(inner), max_leaves=6)
tools = containers(pairs).filter(lambda pair: isinstance(pair[1], dict))


@settings(max_examples=60, deadline=None)
@given(tools)
def test_a_valid_call_passes(pair: tuple[dict[str, Any], Any]) -> None:
    schema, arguments = pair
    jsonschema.validate(arguments, schema)
    grammar = turn_grammar([tool(schema)])
    assert accepts(grammar, call(arguments))
    walker = Walker(grammar)
    walker.feed(call(arguments))
    assert walker.must_end


@settings(max_examples=60, deadline=None)
@given(tools, st.integers(0, 2**16))
def test_what_passes_is_a_valid_call(pair: tuple[dict[str, Any], Any], seed: int) -> None:
    schema, _ = pair
    grammar = turn_grammar([tool(schema)], speech=False)
    text = sample(grammar, seed)
    written = json.loads('{"tool":"' + text)
    assert written["tool"] == "act"
    jsonschema.Draft202012Validator(schema).validate(written["arguments"])
    assert text == call(written["arguments"]) or "E" in text.upper() or "." in text  # compact, no blanks
    walker = Walker(grammar)
    walker.feed(text)
    assert walker.must_end


@settings(max_examples=40, deadline=None)
@given(tools, st.integers(0, 60))
def test_certain_text_is_what_every_continuation_begins_with(pair: tuple[dict[str, Any], Any], cut: int) -> None:
    schema, arguments = pair
    text = call(arguments)
    walker = Walker(turn_grammar([tool(schema)]))
    walker.feed(text[:cut])
    assert text[cut:].startswith(walker.certain())


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: Annotated[float, Field(ge=-1, le=1)]
    label: str | None = None


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")
    corners: Annotated[list[Point], Field(min_length=1, max_length=3)]
    colour: Colour = Colour.RED
    parts: "list[Shape]" = []
    size: tuple[int, int] = (1, 1)
    tags: set[Literal["a", "b", "c"]] = set()
    notes: dict[str, int] = {}
    code: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "ABC"


@dataclass
class Cat:
    kind: Literal["cat"]
    lives: int


@dataclass
class Dog:
    kind: Literal["dog"]
    tricks: list[str]


class Zoo(BaseModel):
    model_config = ConfigDict(extra="forbid")
    animal: Annotated[Cat | Dog, Field(discriminator="kind")]
    shape: Shape | None


@pytest.mark.parametrize("seed", range(12))
def test_what_pydantic_writes(seed: int) -> None:
    schema = TypeAdapter(Zoo).json_schema()
    written = json.loads('{"tool":"' + sample(turn_grammar([tool(schema)], speech=False), seed))
    jsonschema.Draft202012Validator(schema).validate(written["arguments"])


@pytest.mark.parametrize(
    "text",
    [
        call({"city": "Paris"}, "get_wether"),
        call({"city": 3}),
        call({}),
        call({"city": "x", "extra": 1}),
        'act","arguments":{"city": "x"}}',
        call({"say": ""}, SPEECH),
        call({"city": "x" * 201}),
    ],
)
def test_wrong_calls_do_not_pass(text: str) -> None:
    grammar = turn_grammar([tool(closed(city={"type": "string"}))])
    assert not accepts(grammar, text)
    walker = Walker(grammar)
    walker.feed(text)
    assert not walker.may_end


def test_speech_is_the_only_way_where_calls_are_not_allowed_and_no_way_where_one_is_forced() -> None:
    weather = tool(closed(city={"type": "string"}))
    assert Walker(turn_grammar([])).certain() == 'none","arguments":{"say":"'
    assert Walker(turn_grammar([weather], speech=False)).certain() == 'act","arguments":{"city":"'


def test_a_tool_without_arguments_is_certain_when_its_name_is() -> None:
    walker = Walker(turn_grammar([tool(closed(), "list_timers"), tool(closed(), "lights")]))
    walker.feed("lis")
    assert walker.certain() == 't_timers","arguments":{}}'
    walker.feed(walker.certain())
    assert walker.must_end


def test_the_rest_of_a_text_is_a_grammar_of_its_own() -> None:
    schema = closed(room={"type": "string"}, on={"type": "boolean"}, level={"type": "integer", "minimum": 3})
    grammar = turn_grammar([tool(schema)])
    whole = call({"room": 'the "den"', "on": False, "level": 40})
    for cut in range(len(whole) - 4):  # inside the number there is no rest
        walker = Walker(grammar)
        walker.feed(whole[:cut])
        if whole[cut - 1 : cut] != "\\":
            assert accepts(walker.rest(), whole[cut:])


@pytest.mark.parametrize(
    ("certain", "string_follows", "kept"),
    [
        ('weather","arguments":{"city":"', True, 'weather","arguments":{"city":"'),
        ('timer","arguments":{', True, 'timer","arguments'),
        ('light","arguments":{"on":', False, 'light","arguments":{"on":'),
        ('light","arguments":{"at":', True, 'light","arguments":{"at'),
        ('day":"to', True, 'day":"'),
        ("et_", True, ""),
        ("", True, ""),
    ],
)
def test_a_cut_falls_where_a_token_ends(certain: str, string_follows: bool, kept: str) -> None:
    assert certain[: natural_cut(certain, string_follows)] == kept


def test_a_large_set_is_no_large_grammar() -> None:
    values = [f"value {number}" for number in range(40)]
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "uniqueItems": True, "items": {"enum": values}}},
        "required": ["a"],
    }
    grammar = turn_grammar([ToolSpec("pick", "Pick some.", schema)], speech=False)
    assert len(lark(grammar)) < 1_000_000
    for chosen, fits in ((values[:8], True), ([values[3], values[30]], True), ([values[3], values[3]], False)):
        walker = Walker(grammar)
        walker.feed('pick","arguments":' + compact({"a": chosen}) + "}")
        assert walker.dead != fits


@pytest.mark.parametrize("value", [{"type": "string", "format": "date"}, {"type": "string", "pattern": "^[A-Z]{2}$"}])
def test_what_is_certain_ends_where_decoding_can_go_on(value: dict[str, Any]) -> None:
    """The opening quote of a checked string is certain too, but there is no rule for what follows it."""
    tool = ToolSpec("find", "Find.", {"type": "object", "properties": {"day": value}, "required": ["day"]})
    walker = Walker(turn_grammar([tool], speech=False))
    walker.feed(walker.certain())
    assert not walker.may_end
    assert lark(walker.rest())
