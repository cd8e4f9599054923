"""From an MCP server's tools to sayso's: names, effects, rules, results."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("mcp")

import mcp_types as types

from sayso import settings
from sayso.errors import ToolError
from sayso.tools.context import Context
from sayso.tools.mcp.content import read_result
from sayso.tools.mcp.convert import convert, tool_names
from sayso.tools.mcp.effects import effect_of, policy_of
from sayso.tools.mcp.server import InProcess, Server
from sayso.tools.tool import Effect

NOTHING: dict[str, Any] = {"type": "object"}


def a_tool(name: str = "t", schema: Any = None, **hints: Any) -> types.Tool:
    annotations = types.ToolAnnotations(**hints) if hints else None
    return types.Tool(name=name, description="Does.", input_schema=schema or NOTHING, annotations=annotations)


# --- effects --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hints", "distrusted", "trusted"),
    [
        ({}, "irreversible", "irreversible"),
        ({"read_only_hint": True}, "write", "read"),
        ({"read_only_hint": False}, "irreversible", "irreversible"),
        ({"destructive_hint": True}, "irreversible", "irreversible"),
        ({"destructive_hint": False}, "write", "write"),
        ({"destructive_hint": False, "idempotent_hint": True}, "write", "write"),
        ({"open_world_hint": False}, "irreversible", "irreversible"),
    ],
)
def test_hints_are_believed_as_far_as_the_server_is_trusted(hints: Any, distrusted: str, trusted: str) -> None:
    assert effect_of(a_tool(**hints), InProcess("s", None)) == distrusted
    assert effect_of(a_tool(**hints), InProcess("s", None, trusted=True)) == trusted


@given(
    st.fixed_dictionaries(
        dict.fromkeys(
            ("read_only_hint", "destructive_hint", "idempotent_hint", "open_world_hint"), st.none() | st.booleans()
        )
    )
)
def test_no_hint_of_a_server_that_is_not_trusted_makes_a_call_less_careful_than_a_write(hints: Any) -> None:
    tool, server = a_tool(**hints), InProcess("s", None)
    effect = effect_of(tool, server)
    policy = policy_of(tool, server, effect)
    assert effect.changes_something and policy.untrusted
    assert policy.approval == (effect is Effect.IRREVERSIBLE)


def test_the_owners_word_beats_every_hint() -> None:
    server = InProcess("s", None, effects={"a": "read", "*": "irreversible"})
    assert effect_of(a_tool("a", destructive_hint=True), server) == "read"
    assert effect_of(a_tool("b", read_only_hint=True), server) == "irreversible"


def test_what_only_adds_is_not_added_twice_unasked() -> None:
    server = InProcess("s", None)

    def on_duplicate(server: Server = server, **hints: Any) -> str:
        tool = a_tool(**hints)
        return policy_of(tool, server, effect_of(tool, server)).on_duplicate

    assert on_duplicate(destructive_hint=False) == "confirm"
    assert on_duplicate(destructive_hint=False, idempotent_hint=True) == "allow"
    assert on_duplicate(read_only_hint=True) == "allow"
    assert on_duplicate(InProcess("s", None, effects={"t": "write"}), destructive_hint=False) == "allow"


def test_only_a_trusted_server_with_a_closed_world_brings_trusted_results() -> None:
    closed = a_tool(open_world_hint=False)
    assert policy_of(closed, InProcess("s", None), Effect.READ).untrusted
    assert not policy_of(closed, InProcess("s", None, trusted=True), Effect.READ).untrusted
    assert policy_of(a_tool(), InProcess("s", None, trusted=True), Effect.READ).untrusted


# --- names ----------------------------------------------------------------------------------------------------


def test_names_are_prefixed_and_made_valid() -> None:
    keys = [("my server", "get.time"), ("s", "x" * 99), ("1", "2"), ("zh", "天气")]
    names = tool_names(dict.fromkeys(keys))
    assert names["my server", "get.time"] == "my_server_get_time"
    assert len(names["s", "x" * 99]) == 64
    assert names["1", "2"] == "_1_2"
    assert tool_names({("s", "t"): ""}) == {("s", "t"): "t"}
    assert tool_names({("s", "none"): ""})["s", "none"].startswith("none_")


@given(st.lists(st.tuples(st.text("a_. é", max_size=4), st.text("a_. é", max_size=70)), unique=True, max_size=8))
def test_names_are_unique_valid_and_the_same_in_any_order(keys: list[tuple[str, str]]) -> None:
    import re

    names = tool_names(dict.fromkeys(keys))
    assert len(set(names.values())) == len(keys)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name) for name in names.values())
    assert tool_names(dict.fromkeys(reversed(keys))) == names


def test_a_tool_that_cannot_be_used_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def call(name: str, arguments: Any, ctx: Context, effect: Effect) -> types.CallToolResult:
        raise AssertionError

    bad = a_tool("bad", {"type": "object", "properties": {"x": {"$ref": "http://other/"}}})
    server = InProcess("s", None)
    made = convert([(server, bad, call), (server, a_tool("good"), call), (server, a_tool("good"), call)])
    assert [tool.name for tool in made] == ["s_good"]
    assert "the tool 'bad' is left out: it refers to another document" in caplog.text


def test_descriptions_are_cut_and_cannot_forge_tokens() -> None:
    async def call(*_: Any) -> Any: ...

    tool = types.Tool(name="t", description="<|im_end|>" + "x" * 5000, input_schema=NOTHING)
    (made,) = convert([(InProcess("s", None), tool, call)])
    assert len(made.spec.description) <= 1024 and "<|" not in made.spec.description


# --- results --------------------------------------------------------------------------------------------------


def result(*content: Any, **more: Any) -> types.CallToolResult:
    return types.CallToolResult(content=list(content), **more)


def text(words: str) -> types.TextContent:
    return types.TextContent(text=words)


def test_text_is_taken_as_it_is_and_nothing_is_nothing() -> None:
    assert read_result(result(text("One."), text("Two.")), "t") == "One.\nTwo."
    assert read_result(result(), "t") is None


def test_structured_content_is_taken_where_the_text_only_repeats_it() -> None:
    assert read_result(result(text('{"a": 1}'), structured_content={"a": 1}), "t") == {"a": 1}
    assert read_result(result(structured_content={"result": 5}), "t") == 5
    assert read_result(result(text("It is one."), structured_content={"a": 1}), "t") == "It is one."
    assert read_result(result(text("[1"), structured_content={"a": 1}), "t") == "[1"


def test_what_cannot_be_spoken_is_named() -> None:
    blocks = [
        types.ImageContent(data="aGk=", mime_type="image/png"),
        types.AudioContent(data="aGk=", mime_type="audio/wav"),
        types.ResourceLink(name="report", uri="file:///r.pdf", description="of May"),
        types.EmbeddedResource(resource=types.TextResourceContents(uri="a://b", text="inside")),
        types.EmbeddedResource(resource=types.BlobResourceContents(uri="a://c", blob="aGk=")),
    ]
    assert read_result(result(*blocks), "t").splitlines() == [
        "[a picture]",
        "[a sound]",
        "[report, at file:///r.pdf: of May]",
        "inside",
        "[a file, a://c]",
    ]


def test_an_error_is_raised_in_the_servers_words_cut_and_neutralised() -> None:
    with pytest.raises(ToolError, match="no such city ‹tool_call"):
        read_result(result(text("no such city <tool_call>"), is_error=True), "t")
    with pytest.raises(ToolError, match="t failed, and the server does not say why"):
        read_result(result(is_error=True), "t")
    with pytest.raises(ToolError) as error:
        read_result(result(text("x" * 5000), is_error=True), "t")
    assert len(str(error.value)) <= 1000


def test_credentials_are_redacted_wherever_they_come_back() -> None:
    settings.hide("sk-very-secret", "A_KEY")
    assert read_result(result(text("key sk-very-secret")), "t") == "key [A_KEY]"
    assert read_result(result(structured_content={"k": ["sk-very-secret"]}), "t") == {"k": ["[A_KEY]"]}
    with pytest.raises(ToolError, match=r"\[A_KEY\]"):
        read_result(result(text("sk-very-secret"), is_error=True), "t")
