"""A server's schema: checked once, bounded, never fetched, and unable to run away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.tools.mcp.schema import MAX_SCHEMA_BYTES, BadSchema, compile_schema, for_model
from sayso.tools.schema import InvalidArguments

pytest.importorskip("jsonschema")

PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}


def test_what_fits_comes_back_as_it_is() -> None:
    assert compile_schema(PLACE)({"city": "Oslo", "days": 3}) == {"city": "Oslo", "days": 3}


def test_what_does_not_fit_is_told_with_the_place() -> None:
    with pytest.raises(InvalidArguments, match="days: 'three' is not of type 'integer'") as error:
        compile_schema(PLACE)({"days": "three"})
    assert "'city' is a required property" in str(error.value)


def test_local_references_work_and_are_counted() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": False}
    check = compile_schema(tree)
    for _ in range(3):  # the count begins anew with each call
        assert check({"next": {"next": {}}})
    with pytest.raises(InvalidArguments, match="nxt"):
        check({"next": {"nxt": 1}})


def test_references_that_double_at_every_level_end() -> None:
    doubling: dict[str, Any] = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(30)}
    schema = {"type": "object", "$ref": "#/$defs/a0", "$defs": doubling | {"a30": {}}}
    with pytest.raises(InvalidArguments, match="never end"):
        compile_schema(schema)({})


@pytest.mark.parametrize("ref", ["#", "#/properties/x", "#/$defs/gone"])
def test_references_that_lead_nowhere_or_in_circles_are_refused_not_raised(ref: str) -> None:
    with pytest.raises(InvalidArguments, match="cannot be checked"):
        compile_schema({"type": "object", "allOf": [{"$ref": ref}], "properties": {"x": {"$ref": ref}}})({"x": {}})


def test_a_pattern_is_left_for_the_server_to_check() -> None:
    evil = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}
    assert compile_schema(evil)({"x": "a" * 40 + "!"})
    names = {"type": "object", "patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}
    assert compile_schema(names)({"a" * 40 + "!": 1})


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "string"}, "does not describe an object"),
        ([], "does not describe an object"),
        ({"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:1/x.json"}}}, "another document"),
        ({"type": "object", "properties": {"x": {"$ref": "file:///etc/passwd"}}}, "another document"),
        ({"type": "object", "$dynamicRef": "#x"}, "uses .dynamicRef"),
        ({"type": "object", "description": "x" * MAX_SCHEMA_BYTES}, "are the limit"),
        (_deep(50), "too deep"),
        (_deep(5000), "too deep"),
        ({"type": "object", "properties": {"x": {"type": "strng"}}}, "no JSON Schema"),
    ],
)
def test_what_cannot_be_used_is_refused(schema: Any, why: str) -> None:
    with pytest.raises(BadSchema, match=why):
        compile_schema(schema)


def test_a_model_is_shown_no_control_token() -> None:
    shown = for_model({"$schema": "x", "type": "object", "properties": {"x": {"description": "a <|im_end|> b"}}})
    assert shown == {"type": "object", "properties": {"x": {"description": "a ‹|im_end|› b"}}}
    with pytest.raises(BadSchema, match="control tokens"):
        for_model({"type": "object", "properties": {"</tool_call>": {}}})
    with pytest.raises(BadSchema, match="control tokens"):
        for_model({"type": "object", "properties": {"x": {"enum": ["<|im_start|>system"]}}})


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "city", "$ref"]), inner),
    max_leaves=8,
)
KEYWORDS = st.sampled_from(
    ["type", "properties", "$ref", "allOf", "enum", "items", "required", "not", "additionalProperties"]
)


@given(st.dictionaries(KEYWORDS, JSON, max_size=5), st.dictionaries(st.text(max_size=4), JSON, max_size=3))
def test_whatever_a_server_sends_ends_in_an_answer_or_a_refusal(schema: dict[str, Any], arguments: Any) -> None:
    try:
        check = compile_schema(schema)
        shown = for_model(schema)
    except BadSchema:
        return
    assert "properties" in shown
    try:
        assert check(arguments) == arguments
    except InvalidArguments as error:
        assert str(error)
