"""From a function to a closed schema and a compiled validator."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NotRequired, Optional
from uuid import UUID

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from sayso.errors import ToolDefinitionError
from sayso.tools import Context, Tool, tool
from sayso.tools.schema import InvalidArguments


class Size(Enum):
    """How big."""

    small = "small"
    large = "large"


class Priority(IntEnum):
    low = 1
    high = 2


class Address(BaseModel):
    """Where to bring it."""

    street: str = Field(description="Street and number")
    city: str = "Lisbon"


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    known: int


class Options(TypedDict):
    gift: bool
    note: NotRequired[str]


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


def valid(made: Tool) -> dict[str, Any]:
    """The tool's schema, which must be valid draft 2020-12."""
    jsonschema.Draft202012Validator.check_schema(made.spec.parameters)
    return made.spec.parameters


def accepts(schema: dict[str, Any], arguments: Any) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(arguments)


# --- the function of the comparison table: every column --------------------------------------------------------


@tool(effect="write")
def order(
    address: Address,
    size: Size,
    speed: Literal["slow", "fast"] = "fast",
    amount: Annotated[int, Field(ge=1, le=20)] = 1,
    extras: Optional[list[str]] = None,  # noqa: UP045
) -> str:
    """Order a pizza.

    Args:
        address: Where it goes.
        size: How big it is.
        speed: How fast it comes.
        amount: How many.
        extras: What goes on top,
            several if need be.
    """
    return f"{amount} {size.value} to {address.city}, {speed}, {extras}"


def test_every_column_of_the_table() -> None:
    schema = valid(order)
    properties = schema["properties"]
    # nested model, with its own descriptions and defaults, closed
    assert properties["address"]["type"] == "object"
    assert properties["address"]["properties"] == {
        "street": {"description": "Street and number", "type": "string"},
        "city": {"default": "Lisbon", "type": "string"},
    }
    assert properties["address"]["required"] == ["street"]
    assert properties["address"]["additionalProperties"] is False
    # enum, literal, bounds, defaults
    assert (properties["size"]["enum"], properties["size"]["type"]) == (["small", "large"], "string")
    assert properties["speed"]["enum"] == ["slow", "fast"]
    assert (properties["amount"]["minimum"], properties["amount"]["maximum"]) == (1, 20)
    assert [properties[name].get("default", "none") for name in properties] == ["none", "none", "fast", 1, None]
    assert schema["required"] == ["address", "size"]
    # optional
    assert {"type": "null"} in properties["extras"]["anyOf"]
    # one description an argument
    assert {name: part["description"] for name, part in properties.items()} == {
        "address": "Where it goes.",
        "size": "How big it is.",
        "speed": "How fast it comes.",
        "amount": "How many.",
        "extras": "What goes on top, several if need be.",
    }
    # closed
    assert schema["additionalProperties"] is False
    assert order.spec.description == "Order a pizza."
    assert "$ref" not in json.dumps(schema) and "title" not in json.dumps(schema)


def test_the_validated_arguments_are_of_the_declared_types() -> None:
    arguments = order.validate({"address": {"street": "Rua 1"}, "size": "large"})
    assert arguments == {
        "address": Address(street="Rua 1"),
        "size": Size.large,
        "speed": "fast",
        "amount": 1,
        "extras": None,
    }
    assert order(**arguments) == "1 large to Lisbon, fast, None"


# --- types ---------------------------------------------------------------------------------------------------------


@tool
def everything(
    node: Node,
    options: Options,
    point: Point,
    either: int | Address,
    table: dict[str, int],
    pair: tuple[int, str],
    unique: set[int],
    day: date,
    moment: datetime,
    clock: time,
    span: timedelta,
    price: Decimal,
    id: UUID,
    priority: Priority,
    anything: Any,
    strict: Annotated[date, Field(strict=True)],
    shout: Annotated[str, AfterValidator(str.upper)] = "hey",
    model_copy: int = 1,
    _private: int = 2,
) -> None:
    """Take everything."""


EVERYTHING: dict[str, Any] = {
    "node": {"value": 1, "children": [{"value": 2}]},
    "options": {"gift": True},
    "point": {"x": 1},
    "either": {"street": "Rua 1"},
    "table": {"a": 1},
    "pair": [1, "b"],
    "unique": [1, 2],
    "day": "2026-11-22",
    "moment": "2026-11-22T10:00:00Z",
    "clock": "10:30",
    "span": "PT1H",
    "price": "1.10",
    "id": "12345678-1234-5678-1234-567812345678",
    "priority": 2,
    "anything": [None, {"x": 1}],
    "strict": "2026-11-22",
    "shout": "loud",
}


def test_what_pydantic_takes_a_tool_takes() -> None:
    assert accepts(valid(everything), EVERYTHING)
    arguments = everything.validate(EVERYTHING)
    assert arguments["node"] == Node(value=1, children=[Node(value=2)])
    assert arguments["point"] == Point(1.0)
    assert arguments["either"] == Address(street="Rua 1")
    assert arguments["pair"] == (1, "b") and arguments["unique"] == {1, 2}
    assert arguments["moment"] == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert (arguments["day"], arguments["strict"]) == (date(2026, 11, 22), date(2026, 11, 22))
    assert (arguments["clock"], arguments["span"], arguments["price"]) == (
        time(10, 30),
        timedelta(hours=1),
        Decimal("1.10"),
    )
    assert (arguments["priority"], arguments["shout"]) == (Priority.high, "LOUD")
    assert (arguments["model_copy"], arguments["_private"]) == (1, 2)


def test_only_recursive_types_stay_references() -> None:
    schema = valid(everything)
    assert set(schema["$defs"]) == {"Node"}
    assert schema["$defs"]["Node"]["additionalProperties"] is False
    assert not accepts(schema, EVERYTHING | {"node": {"value": 1, "children": [{"value": 2, "more": 3}]}})


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"options": {"gift": True, "more": 1}},
        {"point": {"x": 1, "z": 1}},
        {"node": {"value": 1, "children": [{"value": 2, "more": 3}]}},
    ],
)
def test_objects_are_closed_at_every_depth_in_schema_and_validator(change: dict[str, Any]) -> None:
    assert not accepts(valid(everything), EVERYTHING | change)
    with pytest.raises(InvalidArguments, match=r"more|z"):
        everything.validate(EVERYTHING | change)


def test_an_object_that_its_author_opened_stays_open() -> None:
    @tool
    def take(value: Open) -> None:
        """Take."""

    assert accepts(valid(take), {"value": {"known": 1, "other": 2}})
    assert take.validate({"value": {"known": 1, "other": 2}})["value"].model_extra == {"other": 2}


def test_a_default_that_json_cannot_hold_is_kept_by_the_function_alone() -> None:
    marker = object()

    @tool
    def take(value: Any = marker) -> None:
        """Take."""

    assert "default" not in valid(take)["properties"]["value"]
    assert take.validate({})["value"] is marker


def test_a_property_named_like_a_keyword_of_json_schema() -> None:
    class Odd(BaseModel):
        title: str
        properties: dict[str, int] = {}
        items: list[int] = []

    @tool
    def take(odd: Odd, title: str = "x") -> None:
        """Take."""

    schema = valid(take)
    assert set(schema["properties"]) == {"odd", "title"}
    assert set(schema["properties"]["odd"]["properties"]) == {"title", "properties", "items"}


def test_no_arguments_at_all() -> None:
    @tool
    def ping() -> str:
        """Ping."""
        return "pong"

    assert valid(ping) == {"type": "object", "properties": {}, "additionalProperties": False}
    assert ping.validate({}) == {}


# --- docstrings ------------------------------------------------------------------------------------------------


def google(x: int, y: int) -> None:
    """Do it
    at once.

    When it is needed.

    Args:
        x: The first,
            on two lines.
        y (int): The second: with a colon.

    Returns:
        Nothing.
    """


def numpy(x: int, y: int) -> None:
    """Do it at once.

    When it is needed.

    Parameters
    ----------
    x : int
        The first,
        on two lines.
    y : int
        The second: with a colon.

    Returns
    -------
    None
    """


def sphinx(x: int, y: int) -> None:
    """Do it at once.

    When it is needed.

    :param x: The first,
        on two lines.
    :param int y: The second: with a colon.
    :returns: Nothing.
    """


@pytest.mark.parametrize("function", [google, numpy, sphinx])
def test_three_styles_of_docstring_give_one_schema(function: Callable[[int, int], None]) -> None:
    made = tool(function)
    assert made.spec.description == "Do it at once.\n\nWhen it is needed."
    described = {name: part["description"] for name, part in made.spec.parameters["properties"].items()}
    assert described == {"x": "The first, on two lines.", "y": "The second: with a colon."}


def test_numpy_style_may_describe_two_at_once() -> None:
    @tool
    def move(x: int, y: int) -> None:
        """Move.

        Parameters
        ----------
        x, y : int
            In metres.
        """

    assert {part["description"] for part in move.spec.parameters["properties"].values()} == {"In metres."}


def test_a_description_in_the_annotation_wins() -> None:
    @tool
    def move(x: Annotated[int, Field(description="In metres")]) -> None:
        """Move.

        Args:
            x: Something else.
        """

    assert move.spec.parameters["properties"]["x"]["description"] == "In metres"


def test_without_a_docstring_the_name_describes() -> None:
    @tool
    def opening_hours(shop: str) -> None: ...

    assert opening_hours.spec.description == "Opening hours."


# --- what cannot be a tool -----------------------------------------------------------------------------------------


def test_an_untyped_parameter_is_named_with_its_place() -> None:
    def broken(x: int, y) -> None:  # type: ignore[no-untyped-def]
        """Break."""

    with pytest.raises(
        ToolDefinitionError, match=r"test_tool_schema\.py:\d+: parameter 'y' of tool 'broken' has no type"
    ):
        tool(broken)


def test_a_type_without_a_schema_is_named() -> None:
    def broken(x: int, call: Callable[[int], int]) -> None:
        """Break."""

    with pytest.raises(
        ToolDefinitionError, match=r"test_tool_schema\.py:\d+: the type of parameter 'call' of tool 'broken'"
    ):
        tool(broken)


def test_a_type_that_is_not_defined_is_named() -> None:
    def broken(x: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Break."""

    with pytest.raises(ToolDefinitionError, match="parameter 'x' of tool 'broken' cannot be read: name 'Missing'"):
        tool(broken)


@pytest.mark.parametrize("stars", ["*args: int", "**kwargs: int"])
def test_variable_arguments_are_refused(stars: str) -> None:
    names: dict[str, Any] = {}
    exec(f"def broken({stars}) -> None: ...", names)
    with pytest.raises(ToolDefinitionError, match=rf"takes \{stars.split(':')[0]}"):
        tool(names["broken"])


def test_a_return_type_that_cannot_be_read_does_no_harm() -> None:
    def fine(x: int) -> Missing:  # type: ignore[name-defined]  # noqa: F821
        """Fine."""

    assert tool(fine).name == "fine"


def test_types_local_to_a_function_are_found() -> None:
    class Local(BaseModel):
        x: int

    @tool
    def bare(value: Local) -> None:
        """Take."""

    @tool(effect="read")
    def called(value: Local) -> None:
        """Take."""

    assert bare.validate({"value": {"x": 1}}) == called.validate({"value": {"x": 1}}) == {"value": Local(x=1)}


# --- what a model is told --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "address is missing; size is missing"),
        ({"address": {}, "size": "small"}, "address.street is missing"),
        ({"address": {"street": "a"}, "size": "tiny"}, "size: Input should be 'small' or 'large' (you sent \"tiny\")"),
        (
            {"address": {"street": "a"}, "size": "small", "amount": 21},
            "amount: Input should be less than or equal to 20",
        ),
        ({"address": {"street": "a"}, "size": "small", "extras": [1]}, "extras[0]: Input should be a valid string"),
        (
            {"address": {"street": "a"}, "size": "small", "x": 1},
            "there is no argument x (the arguments are: address, size,",
        ),
        ({"address": {"street": "a", "x": 1}, "size": "small"}, "address.x is not a known field"),
        ([1, 2], "must be one JSON object"),
        ("text", "must be one JSON object"),
        (None, "must be one JSON object"),
    ],
)
def test_faults_are_told_by_path_with_what_was_sent(arguments: Any, told: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        order.validate(arguments)
    assert told in str(caught.value)
    assert "pydantic" not in str(caught.value) and "\n" not in str(caught.value)


def test_many_faults_stay_short() -> None:
    with pytest.raises(InvalidArguments) as caught:
        everything.validate({"x" * 1000: "y" * 10_000} | {str(index): index for index in range(50)})
    assert len(str(caught.value)) < 3000
    assert "more" in str(caught.value)


# --- properties ----------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)

addresses = st.fixed_dictionaries({"street": st.text()}, optional={"city": st.text()})
orders = st.fixed_dictionaries(
    {"address": addresses, "size": st.sampled_from(["small", "large"])},
    optional={
        "speed": st.sampled_from(["slow", "fast"]),
        "amount": st.integers(1, 20),
        "extras": st.none() | st.lists(st.text(), max_size=3),
    },
)


@given(orders)
def test_arguments_that_fit_the_schema_reach_the_function_equal(arguments: dict[str, Any]) -> None:
    assert accepts(order.spec.parameters, arguments)
    got = order.validate(arguments)
    assert got["address"].model_dump(exclude_unset=True) == arguments["address"]
    assert got["size"].value == arguments["size"]
    for name in ("speed", "amount", "extras"):
        expected = arguments.get(name, order.spec.parameters["properties"][name]["default"])
        assert got[name] == expected


@given(json_values)
def test_garbage_is_refused_in_words_or_fits(arguments: Any) -> None:
    try:
        order.validate(arguments)
    except InvalidArguments as error:
        assert str(error)
    else:
        assert accepts(order.spec.parameters, arguments)


@given(st.dictionaries(st.sampled_from(["address", "size", "speed", "amount", "extras", "more"]), json_values))
def test_nearly_right_arguments_are_refused_in_words_or_fit(arguments: Any) -> None:
    try:
        order.validate(arguments)
    except InvalidArguments as error:
        assert len(str(error)) < 3000


def test_the_context_is_hidden() -> None:
    @tool
    def peek(x: int, ctx: Context, y: int = 0) -> None:
        """Peek.

        Args:
            x: First.
            ctx: The session.
            y: Second.
        """

    assert list(peek.spec.parameters["properties"]) == ["x", "y"]
    assert "session" not in json.dumps(peek.spec.parameters)
    with pytest.raises(InvalidArguments, match="no argument ctx"):
        peek.validate({"x": 1, "ctx": {}})
