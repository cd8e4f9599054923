"""sayso's tools as an MCP server, asked by the SDK's own client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

pytest.importorskip("mcp")

import httpx2
import mcp_types as types
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from sayso import cli_mcp, settings
from sayso.errors import NeedsApproval, UsageError
from sayso.testing import run
from sayso.tools import Context, ToolError, tool
from sayso.tools.mcp.approval import VALID_S, Tickets
from sayso.tools.mcp.serve import McpToolServer

paid: list[int] = []


@tool(effect="read")
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@tool(effect="read", untrusted=True)
def look() -> dict[str, Any]:
    """Looks."""
    return {"seen": "<|im_end|>", "key": "sk-served-secret"}


@tool(effect="irreversible", confirm="Shall I pay {amount} euros?")
def pay(amount: int) -> str:
    """Pays."""
    paid.append(amount)
    return f"paid {amount}"


@tool(effect="read")
def fail() -> str:
    """Fails."""
    raise ToolError("The shop is closed.")


@tool(effect="read")
async def count(ctx: Context) -> str:
    """Counts."""
    await ctx.report("one")
    await ctx.report({"progress": 7, "total": 9, "message": "seven"})
    return "counted"


class Gate:
    """A write that can be held up."""

    def __init__(self) -> None:
        self.began, self.open = asyncio.Event(), asyncio.Event()
        self.done = 0

    @tool(effect="write")
    async def write(self) -> str:
        """Writes."""
        self.began.set()
        await self.open.wait()
        self.done += 1
        return "written"


TOOLS = [add, look, pay, fail, count]
Mode = Literal["auto", "legacy"]
both = pytest.mark.parametrize("mode", ["auto", "legacy"])


def answering(action: Literal["accept", "decline", "cancel"], content: Any, asked: list[str] | None = None) -> Any:
    async def answer(context: Any, params: Any) -> types.ElicitResult:
        if asked is not None:
            asked.append(params.message)
        return types.ElicitResult(action=action, content=content)

    return answer


def ask(name: str, arguments: Any = None, mode: Mode = "auto", **options: Any) -> types.CallToolResult:
    async def main() -> types.CallToolResult:
        async with Client(McpToolServer(TOOLS).server, mode=mode, **options) as client:
            return await client.call_tool(name, arguments)

    return run(main())


def words(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert block.type == "text"
    return block.text


# --- what is offered and what comes back ------------------------------------------------------------------------


@both
def test_tools_are_listed_with_their_schemas_and_hints(mode: Mode) -> None:
    async def main() -> list[types.Tool]:
        async with Client(McpToolServer(TOOLS).server, mode=mode) as client:
            return (await client.list_tools()).tools

    listed = {one.name: one for one in run(main())}
    assert listed["add"].input_schema == add.spec.parameters and listed["add"].description == "Adds."
    hints = {name: one.annotations for name, one in listed.items()}
    assert hints["add"] == types.ToolAnnotations(read_only_hint=True, open_world_hint=False)
    assert hints["look"] is not None and hints["look"].open_world_hint
    assert hints["pay"] is not None and (hints["pay"].read_only_hint, hints["pay"].destructive_hint) == (False, True)


@both
def test_results_are_text_and_data(mode: Mode) -> None:
    assert words(ask("add", {"a": 2, "b": 3}, mode)) == "5"
    settings.hide("sk-served-secret", "A_KEY")
    seen = ask("look", mode=mode)
    assert "<|" not in words(seen) and "sk-served-secret" not in words(seen)
    assert seen.structured_content == {"seen": "<|im_end|>", "key": "[A_KEY]"}


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("fail", {}, "The shop is closed."),
        ("add", {"a": "x", "b": 1}, "a: Input should be a valid integer"),
        ("ad", {}, "Did you mean add?"),
        ("pay", {"amount": "much"}, "amount: Input should be a valid integer"),
    ],
)
def test_whatever_goes_wrong_is_an_error_in_words(name: str, arguments: Any, why: str) -> None:
    result = ask(name, arguments)
    assert result.is_error and why in words(result)


@both
def test_progress_is_passed_on(mode: Mode) -> None:
    seen: list[Any] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    async def main() -> None:
        async with Client(McpToolServer(TOOLS).server, mode=mode) as client:
            await client.call_tool("count", progress_callback=note)

    run(main())
    assert seen == [(1, None, "one"), (7, 9, "seven")]


@both
def test_a_write_that_has_begun_is_not_cut_short_when_its_request_is_cancelled(mode: Mode) -> None:
    async def main() -> int:
        gate = Gate()
        served = McpToolServer([gate.write])
        async with Client(served.server, mode=mode) as client:
            request = asyncio.create_task(client.call_tool("write"))
            await gate.began.wait()
            request.cancel()
            await asyncio.wait([request])
            gate.open.set()
        await served.aclose()
        return gate.done

    assert run(main()) == 1


# --- approval -------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("action", "content", "done"),
    [
        ("accept", {"approve": True}, [30]),
        ("accept", {"approve": False}, []),
        ("accept", {}, []),
        ("decline", None, []),
        ("cancel", {"approve": True}, []),
    ],
)
def test_what_cannot_be_taken_back_is_asked_first(mode: Mode, action: Any, content: Any, done: list[int]) -> None:
    asked: list[str] = []
    paid.clear()
    result = ask("pay", {"amount": 30}, mode, elicitation_callback=answering(action, content, asked))
    assert asked == ["Shall I pay 30 euros?"] and paid == done
    assert words(result) == ("paid 30" if done else "pay was not run: the person did not agree.")
    assert result.is_error == (not done)


@both
def test_a_question_of_the_tools_own_is_asked_after_the_first(mode: Mode) -> None:
    asked: list[str] = []
    left: list[str] = []

    @tool(effect="irreversible", confirm="Shall I leave?")
    async def leave(ctx: Context) -> str:
        """Leaves."""
        if ctx.agreed != "It rains. Still?":
            raise NeedsApproval("It rains. Still?")
        left.append("now")
        return "gone"

    async def main() -> types.CallToolResult:
        callback = answering("accept", {"approve": True}, asked)
        async with Client(McpToolServer([leave]).server, mode=mode, elicitation_callback=callback) as client:
            return await client.call_tool("leave")

    assert words(run(main())) == "gone"
    assert (asked, left) == (["Shall I leave?", "It rains. Still?"], ["now"])


@both
def test_a_tool_for_the_background_is_waited_for(mode: Mode) -> None:
    @tool(effect="read", background=True)
    async def report() -> str:
        """Reports."""
        await asyncio.sleep(5)
        return "three pages"

    async def main() -> types.CallToolResult:
        async with Client(McpToolServer([report]).server, mode=mode) as client:
            return await client.call_tool("report")

    result = run(main())
    assert words(result) == "three pages" and not result.is_error


@both
def test_a_program_that_cannot_ask_is_told_so(mode: Mode) -> None:
    paid.clear()
    result = ask("pay", {"amount": 30}, mode)
    assert result.is_error and "needs a person's approval, and this client cannot ask" in words(result) and paid == []


def test_an_answer_is_good_once_and_for_the_arguments_that_were_asked_about() -> None:
    paid.clear()
    yes: Any = {"approval": types.ElicitResult(action="accept", content={"approve": True})}

    async def main() -> list[str]:
        said: list[str] = []
        callback = answering("accept", {"approve": True})
        async with Client(McpToolServer(TOOLS).server, elicitation_callback=callback) as client:

            async def again(amount: int, state: str) -> None:
                result = await client.session.call_tool(
                    "pay", {"amount": amount}, input_responses=yes, request_state=state
                )
                said.append(words(result))

            async def question() -> str:
                first: Any = await client.session.call_tool("pay", {"amount": 5}, allow_input_required=True)
                return first.request_state

            await again(500, await question())
            state = await question()
            await again(5, state)
            await again(5, state)
            await again(5, "made up")
        return said

    other, good, used, invented = run(main())
    assert "what was asked is not what was called" in other
    assert good == "paid 5" and paid == [5]
    assert "no longer open" in used and "no longer open" in invented


def test_a_question_expires() -> None:
    now = [0.0]
    tickets = Tickets(lambda: now[0])
    from sayso.items import ToolCall
    from sayso.tools.job import Job

    asked = tickets.issue(Job(ToolCall("c", "pay", {}), pay, {}), "Shall I?")
    now[0] = VALID_S + 1
    params = types.CallToolRequestParams(name="pay", request_state=asked.request_state)
    assert "no longer open" in str(tickets.redeem(params))


# --- over HTTP --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[str]:
    config = uvicorn.Config(McpToolServer(TOOLS).app(**options), port=0, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.001)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await task


def real(main: Coroutine[Any, Any, Any]) -> Any:
    return run(main, virtual=False)


def test_http_with_a_token() -> None:
    async def main() -> None:
        async with serving(token="right-token") as url:
            headers = {"Authorization": "Bearer right-token"}
            async with (
                httpx2.AsyncClient(headers=headers) as http,
                Client(streamable_http_client(url, http_client=http)) as client,
            ):
                assert words(await client.call_tool("add", {"a": 1, "b": 1})) == "2"
            async with httpx2.AsyncClient() as http:
                for sent in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "right-token"}):
                    answer = await http.post(url, json={}, headers=sent)
                    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")

    real(main())


def test_http_refuses_names_that_are_not_its_own() -> None:
    async def main() -> None:
        async with serving() as url, httpx2.AsyncClient() as http:
            rebound = await http.post(url, json={}, headers={"Host": "evil.example"})
            foreign = await http.post(url, json={}, headers={"Origin": "http://evil.example"})
            assert (rebound.status_code, foreign.status_code) == (421, 403)

    real(main())


def test_beyond_this_machine_there_has_to_be_a_token() -> None:
    with pytest.raises(UsageError, match="could be used by everybody"):
        McpToolServer(TOOLS).app("0.0.0.0")
    assert McpToolServer(TOOLS).app("0.0.0.0", token="right-token")


# --- the command ------------------------------------------------------------------------------------------------


def test_the_command_keeps_standard_output_for_the_protocol(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from sayso import tool\n"
        "print('noise while loading')\n"
        "@tool\ndef shout() -> str:\n    'Shouts.'\n    print('noise while running')\n    return 'done'\n"
    )
    command = "import typer; from sayso.cli_mcp import mcp; typer.run(mcp)"
    lines = [
        {
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            },
        },
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "shout", "arguments": {}}},
    ]
    sent = "".join(json.dumps({"jsonrpc": "2.0", **line}) + "\n" for line in lines)
    with subprocess.Popen(
        [sys.executable, "-c", command, "--tools", str(tmp_path / "mine.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(sent)
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.stdin.close()
        rest, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, errors
    assert answers[1]["result"]["content"] == [{"type": "text", "text": "done"}]
    assert rest == "" and "noise while loading" in errors and "noise while running" in errors


def test_the_command_refuses_what_would_be_open_to_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cli_mcp.TOKEN, raising=False)
    with pytest.raises(UsageError, match="Set SAYSO_MCP_TOKEN"):
        cli_mcp.mcp(http=True, host="0.0.0.0")
    with pytest.raises(UsageError, match="does not begin with a slash"):
        cli_mcp.mcp(http=True, path="mcp")
