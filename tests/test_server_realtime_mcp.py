"""MCP servers that a client of the Realtime protocol names: a real one on this machine, over HTTP."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("openai", reason="the package openai is not installed")
pytest.importorskip("mcp", reason="the extra mcp is not installed")

sys.path.insert(0, str(Path(__file__).parent))

from realtime_client import Client, agent_of, connected, kinds

from sayso.server.realtime.client_mcp import ClientMcp
from sayso.testing import ScriptedModel, call, run, say

LOOPBACK = (ip_network("127.0.0.0/8"),)


@asynccontextmanager
async def weather_server() -> AsyncIterator[str]:
    """The address of an MCP server with two tools."""
    import uvicorn
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("weather")

    @server.tool()
    def forecast(city: str) -> str:
        """The weather of a city."""
        return f"Rain in {city}."

    @server.tool()
    def make_rain(city: str) -> str:
        """Let it rain."""
        return f"It rains in {city}."

    config = uvicorn.Config(server.streamable_http_app(), host="127.0.0.1", port=0, log_config=None)
    web = uvicorn.Server(config)
    task = asyncio.create_task(web.serve())
    try:
        while not web.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{web.servers[0].sockets[0].getsockname()[1]}/mcp"
    finally:
        web.should_exit = True
        await task


def named(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": "weather", "server_url": url, "authorization": "secret", **more}


def test_tools_of_a_server_that_the_client_names() -> None:
    model = ScriptedModel(
        (None, call("weather_forecast", city="Oslo")),
        {"Rain in Oslo": say("Rain.")},
        (None, call("weather_forecast", city="Rome")),
        {"Rain in Rome": say("Rain there too.")},
        (lambda request: not request.tools, say("I cannot.")),
    )

    async def main() -> None:
        mcp = ClientMcp(allowed=True, networks=LOOPBACK)
        async with weather_server() as url, connected(agent_of(model), mcp=mcp) as client:
            tools = [named(url, allowed_tools=["forecast"], require_approval="never")]
            await client.send("session.update", session={"tools": tools})
            events = await client.until("mcp_list_tools.completed")
            events += await client.until("conversation.item.done")
            assert kinds(events) == [
                "session.updated",
                "conversation.item.added",
                "mcp_list_tools.in_progress",
                "mcp_list_tools.completed",
                "conversation.item.done",
            ]
            assert "authorization" not in events[0]["session"]["tools"][0]
            assert [tool["name"] for tool in events[-1]["item"]["tools"]] == ["forecast"]
            await client.say("The weather in Oslo?")
            await client.send("response.create")
            shown = (await client.done())["output"][0]
            assert (shown["server_label"], shown["name"]) == ("weather", "forecast")
            assert "Rain in Oslo." in shown["output"]
            await client.send("session.update", session={"tools": [named(url, require_approval="always")]})
            await client.until("mcp_list_tools.completed")
            await client.say("The weather in Rome?")
            await client.send("response.create")
            request = (await client.done())["output"][-1]
            assert (request["type"], request["server_label"]) == ("mcp_approval_request", "weather")
            item = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
            await client.send("conversation.item.create", item=item)
            assert "Rain in Rome." in (await client.done())["output"][0]["output"]
            await client.send("session.update", session={"tools": []})
            await client.say("The weather in Paris?")
            await client.send("response.create")
            await client.done()
        model.assert_finished()

    run(main(), virtual=False)


def test_a_server_that_is_not_there() -> None:
    async def main() -> None:
        mcp = ClientMcp(allowed=True, networks=LOOPBACK)
        async with connected(agent_of(ScriptedModel()), mcp=mcp) as client:
            await client.send("session.update", session={"tools": [named("http://127.0.0.1:9/mcp")]})
            assert kinds(await client.until("mcp_list_tools.failed"))[0] == "session.updated"

    run(main(), virtual=False)


def test_a_name_that_leads_to_this_machine_is_not_asked() -> None:
    async def main() -> None:
        async with weather_server() as url:
            local = url.replace("127.0.0.1", "localhost")
            async with connected(agent_of(ScriptedModel()), mcp=ClientMcp(allowed=True)) as client:
                await client.send("session.update", session={"tools": [named(local)]})
                await client.until("mcp_list_tools.failed")

    run(main(), virtual=False)


@pytest.mark.parametrize(
    ("tool", "field"),
    [
        (named("http://127.0.0.1/mcp"), "server_url"),
        (named("http://[::1]/mcp"), "server_url"),
        (named("http://169.254.169.254/latest"), "server_url"),
        (named("http://10.0.0.1/"), "server_url"),
        (named("file:///etc/passwd"), "server_url"),
        (named("http://user:word@example.org/"), "server_url"),
        (named("http://[x"), "server_url"),
        ({"type": "mcp", "server_label": "x"}, "server_url"),
        (named("https://example.org", server_label="a b"), "server_label"),
        (named("https://example.org", connector_id="connector_gmail"), "connector_id"),
        (named("https://example.org", require_approval={"never": {"read_only": True}}), "require_approval"),
    ],
)
def test_servers_that_may_not_be_named(tool: dict[str, Any], field: str) -> None:
    async def main() -> None:
        async with connected(agent_of(ScriptedModel()), mcp=ClientMcp(allowed=True)) as client:
            await client.send("session.update", session={"tools": [tool]})
            assert (await client.error())["param"] == f"session.tools[0].{field}"

    run(main())


def test_clients_may_name_none_unless_the_operator_says_so() -> None:
    async def script(client: Client) -> None:
        await client.send("session.update", session={"tools": [named("https://example.org")]})
        assert (await client.error())["code"] == "mcp_not_allowed"

    async def main() -> None:
        async with connected(agent_of(ScriptedModel())) as client:
            await script(client)

    run(main())
