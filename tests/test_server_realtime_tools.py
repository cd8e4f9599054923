"""Tools in the Realtime protocol: those that the client runs, those that run here, approval, MCP servers."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("openai", reason="the package openai is not installed")

sys.path.insert(0, str(Path(__file__).parent))

from realtime_client import Client, Json, agent_of, connected, function, kinds

from sayso import tool
from sayso.items import AssistantReply, ToolCall, ToolOutput, UserInput
from sayso.testing import ScriptedModel, call, run, say
from sayso.tools import ToolError

LOOK = function("look", where="string")
ASK = function("ask", what="string")


@tool(effect="read")
def price(item: str) -> str:
    """The price of an item."""
    if item == "nothing":
        raise ToolError("There is no such item.")
    return f"{item} costs three euros"


@tool(effect="irreversible", confirm="Shall I buy {item}?")
def buy(item: str) -> str:
    """Buy an item."""
    return f"{item} is bought"


@tool(effect="read", background=True)
async def research(what: str) -> str:
    """Find something out."""
    await asyncio.sleep(20)
    return f"{what} is blue"


def talk(model: ScriptedModel, script: Any, *functions: Json, tools: Any = ()) -> Client:
    """Run ``script(client)`` with functions of the client's and tools of the server's."""

    async def main() -> Client:
        async with connected(agent_of(model, tools)) as client:
            if functions:
                await client.send("session.update", session={"type": "realtime", "tools": list(functions)})
                client.rest()
            await script(client)
            client.rest()
        model.assert_finished()
        return client

    return run(main())


async def answer(client: Client, call_id: str, output: str) -> None:
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    await client.send("conversation.item.create", item=item)


def test_the_client_runs_its_tools_and_the_turn_goes_on() -> None:
    async def script(client: Client) -> None:
        await client.say("Is it there?")
        client.rest()
        await client.send("response.create")
        events = await client.until("response.done")
        assert kinds(events) == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
        asked = events[-1]["response"]["output"][0]
        assert events[-1]["response"]["status"] == asked["status"] == "completed"
        assert (asked["name"], json.loads(asked["arguments"])) == ("look", {"where": "desk"})
        assert events[4]["name"] == "look" and events[4]["call_id"] == asked["call_id"]
        await asyncio.sleep(100)  # nothing goes on before the client says so
        await answer(client, asked["call_id"], "a hat")
        assert kinds(client.rest()) == ["conversation.item.added", "conversation.item.done"]
        await answer(client, asked["call_id"], "two hats")
        assert (await client.error())["param"] == "item.call_id"
        await client.send("response.create", response={"metadata": {"second": "yes"}})
        done = await client.done()
        assert done["metadata"] == {"second": "yes"} and done["output"][0]["content"][0]["transcript"] == "A hat."
        call_id = client.session.history[1].call_id
        assert client.session.history == (
            UserInput("Is it there?"),
            ToolCall(call_id, "look", {"where": "desk"}),
            ToolOutput(call_id, "look", "a hat"),
            AssistantReply("A hat."),
        )
        assert client.session.history[-1].id == done["output"][0]["id"]

    talk(ScriptedModel((None, call("look", where="desk")), {"a hat": say("A hat.")}), script, LOOK)


def test_words_and_parallel_calls() -> None:
    async def script(client: Client) -> None:
        await client.say("Look.")
        await client.send("response.create")
        done = await client.done()
        assert [item["type"] for item in done["output"]] == ["message", "function_call", "function_call"]
        first, second = (item["call_id"] for item in done["output"][1:])
        await answer(client, second, "a bed")
        await answer(client, first, "a hat")
        await client.send("response.create")
        assert (await client.done())["status"] == "completed"
        ids = [item["id"] for item in done["output"] if item["type"] == "message"]
        assert [item.id for item in client.session.history if isinstance(item, AssistantReply)][:1] == ids
        assert [item.output for item in client.session.history if isinstance(item, ToolOutput)] == ["a hat", "a bed"]

    calls = [*say("Let me see."), *call("look", where="desk"), *call("look", where="room")]
    talk(ScriptedModel((None, calls), {"a bed": say("A hat and a bed.")}), script, LOOK)


def test_an_output_that_never_comes() -> None:
    async def script(client: Client) -> None:
        await client.say("Look.")
        await client.send("response.create")
        first, second = (item["call_id"] for item in (await client.done())["output"])
        await answer(client, first, "a hat")
        await client.say("Never mind the room.")
        await client.send("response.create")
        assert (await client.done())["status"] == "completed"
        outputs = [item for item in client.session.history if isinstance(item, ToolOutput)]
        assert (outputs[0].output, outputs[0].status) == ("a hat", "ok")
        assert outputs[1].status == "running"
        await answer(client, second, "a bed")  # late, and kept
        assert client.session.history[-1] == ToolOutput(outputs[1].call_id, "look", "a bed")
        await client.send("response.create")
        assert (await client.done())["output"][0]["content"][0]["transcript"] == "And a bed."

    calls = [*call("look", where="desk"), *call("look", where="room")]
    steps = [(None, calls), {"Never mind": say("A hat.")}, {"a bed": say("And a bed.")}]
    talk(ScriptedModel(*steps), script, LOOK)


def test_another_instruction_for_what_follows_the_tools() -> None:
    async def script(client: Client) -> None:
        await client.say("Look.")
        await client.send("response.create")
        await answer(client, (await client.done())["output"][0]["call_id"], "a hat")
        await client.send("response.create", response={"instructions": "Rhyme.", "tool_choice": "none"})
        assert (await client.done())["output"][0]["content"][0]["transcript"] == "Hat, cat."

    def rhymes(request: Any) -> bool:
        return request.instructions == "Rhyme." and request.items[-1].output == "a hat" and not request.allow_calls

    talk(ScriptedModel((None, call("look", where="desk")), (rhymes, say("Hat, cat."))), script, LOOK)


def test_bad_arguments_and_unknown_tools_are_between_the_model_and_us() -> None:
    async def script(client: Client) -> None:
        await client.say("Look.")
        await client.send("response.create")
        done = await client.done()
        assert [item["type"] for item in done["output"]] == ["function_call"]
        assert json.loads(done["output"][0]["arguments"]) == {"where": "desk"}

    steps = [(None, call("look", place="desk")), (None, call("look", where="desk"))]
    talk(ScriptedModel(*steps), script, LOOK)


def test_the_servers_tools_run_here_and_are_shown() -> None:
    async def script(client: Client) -> None:
        await client.say("How much is bread?")
        client.rest()
        await client.send("response.create")
        events = await client.until("response.done")
        assert kinds(events)[:10] == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.mcp_call_arguments.delta",
            "response.mcp_call_arguments.done",
            "response.mcp_call.in_progress",
            "response.mcp_call.completed",
            "response.output_item.done",
            "conversation.item.done",
            "response.output_item.added",
        ]
        shown = events[-1]["response"]["output"][0]
        assert (shown["type"], shown["server_label"], shown["name"]) == ("mcp_call", "sayso", "price")
        assert shown["output"] == "bread costs three euros" and shown["error"] is None

    steps = [(None, call("price", item="bread")), {"three": say("Three euros.")}]
    talk(ScriptedModel(*steps), script, LOOK, tools=[price])


def test_a_tool_that_fails() -> None:
    async def script(client: Client) -> None:
        await client.say("How much is nothing?")
        await client.send("response.create")
        events = await client.until("response.done")
        assert "response.mcp_call.failed" in kinds(events)
        error = events[-1]["response"]["output"][0]["error"]
        assert error == {"type": "tool_execution_error", "message": "There is no such item."}

    steps = [(None, call("price", item="nothing")), {"no such": say("I do not know.")}]
    talk(ScriptedModel(*steps), script, tools=[price])


def test_both_sides_in_one_round() -> None:
    async def script(client: Client) -> None:
        await client.say("Look, and how much?")
        await client.send("response.create")
        done = await client.done()
        assert [item["type"] for item in done["output"]] == ["function_call", "mcp_call"]
        assert done["output"][1]["output"] == "bread costs three euros"
        await answer(client, done["output"][0]["call_id"], "a hat")
        await client.send("response.create")
        assert (await client.done())["output"][0]["content"][0]["transcript"] == "A hat for three euros."

    calls = [*call("look", where="desk"), *call("price", item="bread")]
    talk(ScriptedModel((None, calls), {"three": say("A hat for three euros.")}), script, LOOK, tools=[price])


def test_of_two_tools_with_one_name_the_clients_is_meant() -> None:
    async def script(client: Client) -> None:
        await client.say("How much?")
        await client.send("response.create")
        assert (await client.done())["output"][0]["type"] == "function_call"

    talk(ScriptedModel((None, call("price", item="bread"))), script, function("price", item="string"), tools=[price])


def test_tools_of_one_response() -> None:
    async def script(client: Client) -> None:
        await client.say("Ask.")
        await client.send("response.create", response={"tools": [ASK], "tool_choice": "required"})
        assert (await client.done())["output"][0]["name"] == "ask"
        await client.send("response.create", response={"tool_choice": {"type": "function", "name": "ask"}})
        assert (await client.error())["param"] == "response.tool_choice.name"
        await client.say("Go on.")
        await client.send("response.create")
        await client.done()

    def only_ask(request: Any) -> bool:
        return {spec.name for spec in request.tools} == {"price", "ask"} and request.force_call

    def without_ask(request: Any) -> bool:
        return {spec.name for spec in request.tools} == {"price", "look"}

    model = ScriptedModel((only_ask, call("ask", what="why")), (without_ask, say("Yes.")))
    talk(model, script, LOOK, tools=[price])


def test_a_call_waits_for_the_apps_agreement() -> None:
    async def script(client: Client) -> None:
        await client.say("Buy bread.")
        await client.send("response.create")
        done = await client.done()
        assert [item["type"] for item in done["output"]] == ["message", "mcp_approval_request"]
        request = done["output"][1]
        assert (request["name"], json.loads(request["arguments"])) == ("buy", {"item": "bread"})
        item = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
        await client.send("conversation.item.create", item=item, previous_item_id=request["id"])
        done = await client.done()
        assert done["output"][0]["approval_request_id"] == request["id"]
        assert done["output"][0]["output"] == "bread is bought"
        await client.send("conversation.item.create", item=item)
        assert (await client.error())["code"] == "approval_request_not_found"

    talk(ScriptedModel((None, call("buy", item="bread")), {"bought": say("Done.")}), script, tools=[buy])


def test_a_call_waits_and_is_refused_or_agreed_to_aloud() -> None:
    async def script(client: Client) -> None:
        for _ in range(2):
            await client.say("Buy bread.")
            await client.send("response.create")
            request = (await client.done())["output"][1]
        item = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": False}
        await client.send("conversation.item.create", item=item)
        assert kinds(client.rest()) == ["conversation.item.added", "conversation.item.done"]
        assert client.session.approval is None
        await client.say("Buy cake.")
        await client.send("response.create")
        request = (await client.done())["output"][1]
        await client.say("yes")
        await client.send("response.create")
        done = await client.done()
        assert done["output"][0]["approval_request_id"] == request["id"] and done["output"][0]["output"]

    steps = [(None, call("buy", item=item)) for item in ("bread", "bread", "cake")]
    talk(ScriptedModel(*steps, {"cake is bought": say("Done.")}), script, tools=[buy])


def test_what_comes_late_begins_a_response_of_its_own() -> None:
    async def script(client: Client) -> None:
        await client.say("What colour is it?")
        await client.send("response.create")
        assert (await client.done())["output"][0]["output"].startswith("Started")
        done = await client.done()
        assert done["output"][0]["content"][0]["transcript"] == "It is blue." and done["metadata"] is None

    steps = [(None, call("research", what="the sky")), (None, say("I look.")), {"blue": say("It is blue.")}]
    talk(ScriptedModel(*steps), script, tools=[research])


def test_a_slow_call_that_is_cut_off() -> None:
    @tool(effect="read")
    async def slow() -> str:
        """Takes its time."""
        await asyncio.sleep(60)
        return "never"

    async def script(client: Client) -> None:
        await client.say("Do it.")
        await client.send("response.create")
        await client.until("response.mcp_call.in_progress")
        await client.send("response.cancel")
        events = await client.until("response.done")
        assert "response.mcp_call.failed" in kinds(events) and events[-1]["response"]["status"] == "cancelled"

    talk(ScriptedModel((None, call("slow"))), script, tools=[slow])


def test_calls_beside_the_conversation_end_there() -> None:
    async def script(client: Client) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look."}]}
        await client.send("response.create", response={"conversation": "none", "input": [item]})
        done = await client.done()
        assert done["output"][0]["type"] == "function_call" and client.session.history == ()
        await answer(client, done["output"][0]["call_id"], "a hat")
        assert (await client.error())["param"] == "item.call_id"

    talk(ScriptedModel((None, call("look", where="desk"))), script, LOOK)


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{**LOOK, "parameters": {"type": "string"}}], "session.tools[0].parameters"),
        ([LOOK, {**ASK, "parameters": {"type": "object", "properties": {"x": {"$ref": "http://x/y"}}}}], None),
        ([LOOK, LOOK], "session.tools[1].name"),
        ([{**LOOK, "name": "a b"}], "session.tools[0].name"),
        ([{**LOOK, "name": 3}], "session.tools[0].name"),
        ([{"type": "function"}], "session.tools[0].name"),
        ([{"type": "shell"}], "session.tools[0].type"),
        ([{"type": "mcp", "server_label": "x", "server_url": "https://example.org"}], "session.tools[0].type"),
        ("look", "session.tools"),
    ],
)
def test_tools_that_cannot_be(tools: Any, param: str | None) -> None:
    async def script(client: Client) -> None:
        await client.send("session.update", session={"type": "realtime", "instructions": "x", "tools": tools})
        assert (await client.error())["param"] == (param or "session.tools[1].parameters")
        assert client.connection.config.instructions == ""  # all of the update, or nothing

    talk(ScriptedModel(), script)
