"""Items that an app puts in, takes out and answers by itself; settings of one turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from sayso import Agent, tool
from sayso.errors import UsageError
from sayso.events import Event, RoundDone, TurnDone
from sayso.items import AssistantReply, Instruction, ToolCall, ToolOutput, UserInput
from sayso.models.base import ModelRequest, Text
from sayso.testing import ScriptedModel, call, run
from sayso.tools.journal import Journal
from sayso.turn_options import TurnOptions


@tool(effect="read")
def price(item: str) -> str:
    """The price of an item."""
    return f"{item} costs three euros"


@tool(effect="read")
def weather() -> str:
    """The weather."""
    return "sunny"


def agent(*steps: Any, **settings: Any) -> tuple[Agent, ScriptedModel]:
    model = ScriptedModel(*steps)
    return Agent(model=model, tools=[price, weather], journal=Journal(), **settings), model


async def whole(stream: AsyncGenerator[Event, None]) -> list[Event]:
    return [event async for event in stream]


def test_added_items_are_shown_to_the_model_and_answered() -> None:
    async def main() -> None:
        one, model = agent({"How much is it?": [Text("Three euros.")]})
        async with one.session() as session:
            session.add(Instruction("Be brief.", id="note"), UserInput("I like it."), UserInput("How much is it?"))
            events = await whole(session.respond())
        shown = model.requests[0].items
        assert [type(item) for item in shown] == [Instruction, UserInput, UserInput]
        assert isinstance(events[-1], TurnDone)
        assert session.history[-1] == AssistantReply("Three euros.")
        assert [item.text for item in session.history[:3]] == ["Be brief.", "I like it.", "How much is it?"]

    run(main())


def test_a_conversation_may_end_with_a_result() -> None:
    async def main() -> None:
        one, _ = agent({"three euros": [Text("It costs three euros.")]})
        async with one.session() as session:
            session.add(UserInput("Bread?"), ToolCall("a", "price", {}), ToolOutput("a", "price", "three euros"))
            await whole(session.respond())
        assert session.history[-1] == AssistantReply("It costs three euros.")

    run(main())


def test_the_agent_may_speak_first() -> None:
    async def main() -> None:
        one, model = agent((None, [Text("Welcome.")]))
        async with one.session() as session:
            await whole(session.respond(options=TurnOptions(instructions="Greet.")))
        assert model.requests[0].items == () and model.requests[0].instructions == "Greet."
        assert session.history == (AssistantReply("Welcome."),)

    run(main())


def test_what_cannot_be_added() -> None:
    async def main() -> None:
        one, _ = agent()
        async with one.session() as session:
            with pytest.raises(UsageError, match="call a has no output"):
                session.add(ToolCall("a", "price", {}))
            with pytest.raises(UsageError, match="no call 'b'"):
                session.add(ToolOutput("b", "price", "nothing"))
            assert session.history == ()

    run(main())


def test_items_are_removed_by_their_id() -> None:
    async def main() -> None:
        one, _ = agent()
        async with one.session() as session:
            session.add(UserInput("One", id="a"), ToolCall("c", "price", {}), ToolOutput("c", "price", "x"))
            assert session.remove("c") and session.history == (UserInput("One"),)
            assert session.remove("a") and session.history == ()
            assert not session.remove("a")

    run(main())


def test_settings_of_one_turn() -> None:
    async def main() -> None:
        one, model = agent((None, [Text("Yes.")]), (None, [Text("No.")]), instructions="Usual.")
        async with one.session() as session:
            options = TurnOptions(instructions="Other.", speak=False, tools=["weather"], max_tokens=5, seed=3)
            await session.ask("One", options=options)
            await session.ask("Two")
        first, second = model.requests
        assert (first.instructions, first.speak, first.max_tokens, first.seed) == ("Other.", False, 5, 3)
        assert [spec.name for spec in first.tools] == ["weather"]
        assert (second.instructions, second.speak, second.max_tokens) == ("Usual.", True, None)
        assert [spec.name for spec in second.tools] == ["price", "weather"]

    run(main())


def test_a_tool_that_is_out_of_play_is_not_run() -> None:
    async def main() -> None:
        one, model = agent((None, [*call("price", item="bread")]), ("cannot be called", [Text("I cannot tell.")]))
        async with one.session() as session:
            result = await session.ask("Bread?", options=TurnOptions(tools=["weather"]))
        assert result.text == "I cannot tell."
        model.assert_finished()

    run(main())


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", [(["price", "weather"], True, False)]),
        ("none", [(["price", "weather"], False, False)]),
        ("required", [(["price", "weather"], True, True)]),
        ("price", [(["price"], True, True)]),
    ],
)
def test_tool_choice(choice: str, expected: list[tuple[list[str], bool, bool]]) -> None:
    async def main() -> None:
        one, model = agent((None, [Text("Yes.")]))
        async with one.session() as session:
            await session.ask("Bread?", options=TurnOptions(tool_choice=choice))
        assert [_choice(request) for request in model.requests] == expected

    run(main())


def _choice(request: ModelRequest) -> tuple[list[str], bool, bool]:
    return [spec.name for spec in request.tools], request.allow_calls, request.force_call


def test_an_unknown_tool_or_voice_is_named() -> None:
    async def main() -> None:
        one, _ = agent()
        async with one.session() as session:
            with pytest.raises(UsageError, match=r"no tool 'prize'.*price, weather"):
                await session.ask("Bread?", options=TurnOptions(tools=["prize"]))

    run(main())


def test_every_round_tells_its_calls() -> None:
    async def main() -> None:
        one, _ = agent((None, [*call("price", item="bread"), *call("weather")]), (None, [Text("Done.")]))
        async with one.session() as session:
            events = await whole(session.stream("Both?"))
        rounds = [event.calls for event in events if isinstance(event, RoundDone)]
        assert rounds == [("call_1_1", "call_1_2"), ()]

    run(main())


def test_an_agent_is_changed_in_the_middle() -> None:
    async def main() -> None:
        one, model = agent((None, [Text("A.")]), (None, [Text("B.")]), instructions="First.")
        async with one.session() as session:
            await session.ask("One")
            session.update(instructions="Second.", tools=[weather])
            await session.ask("Two")
        assert [request.instructions for request in model.requests] == ["First.", "Second."]
        assert [spec.name for spec in model.requests[1].tools] == ["weather"]
        assert one.instructions == "First."

    run(main())
