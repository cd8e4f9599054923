"""The tools of MCP servers: connections that break, calls in doubt, questions to a person, what is passed on."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp.server.mcpserver import Context, MCPServer

from sayso import Agent
from sayso.errors import UsageError
from sayso.items import ToolCall
from sayso.testing import ScriptedModel, run, say
from sayso.testing import call as scripted_call
from sayso.tools import CallOutcome, Executor, Journal, Tool
from sayso.tools.mcp import ElicitRequest, Http, InProcess, McpServerError, McpServers, Stdio
from sayso.tools.mcp.connection import Backoff, Progress

HERE = Path(__file__).parent
QUICK = Backoff(first_s=0.01, most_s=0.1, wait_s=20)


def real(main: Coroutine[Any, Any, Any]) -> Any:
    """On the machine's clock: programs do not follow a virtual one."""
    return run(main, virtual=False)


def ours(done: Path, **options: Any) -> Stdio:
    options = {"trusted": True} | options
    return Stdio("test", sys.executable, [str(HERE / "mcp_server.py"), str(done)], **options)


async def call(
    servers: McpServers, name: str, emit: Callable[[Any], None] = lambda _: None, **arguments: Any
) -> CallOutcome:
    executor = Executor(servers.tools)
    return await executor.call(ToolCall("c1", name, arguments), None, emit)


def named(servers: McpServers, name: str) -> Tool:
    return next(tool for tool in servers.tools if tool.name == name)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another process does: there is nothing to be woken by."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


# --- a server that breaks -------------------------------------------------------------------------------------


def test_a_write_that_broke_off_is_in_doubt_and_never_repeated(tmp_path: Path) -> None:
    async def main() -> None:
        async with McpServers([ours(tmp_path / "done")], backoff=QUICK) as servers:
            outcome = await call(servers, "test_write", what="die")
            assert outcome.status == "in_doubt"
            assert "It is not known whether it took effect. Do not repeat it" in outcome.output
            again = await call(servers, "test_write", what="after")  # by then there is a new process
            assert again.status == "ok"

    real(main())
    assert (tmp_path / "done").read_text().split() == ["die", "after"]


def test_a_read_that_broke_off_is_tried_again_once_and_reports_progress(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def main() -> CallOutcome:
        async with McpServers([ours(tmp_path / "done")], backoff=QUICK) as servers:
            return await call(servers, "test_read", lambda event: seen.append(getattr(event, "value", None)))

    outcome = real(main())
    assert outcome.status == "ok" and (tmp_path / "done").read_text().split() == ["read", "read"]
    assert Progress(1, None, "a ‹|im_end|›") in seen


def test_a_call_that_takes_too_long_is_cancelled_on_the_server_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with McpServers([ours(tmp_path / "done", timeout_s=0.3)], backoff=QUICK) as servers:
            outcome = await call(servers, "test_write", what="hang")
            assert outcome.status == "timeout" and "not known whether it took effect" in outcome.output
            await until(lambda: "cancelled" in (tmp_path / "done").read_text())

    real(main())


def test_no_credential_is_passed_on_unless_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "very-secret-1")
    monkeypatch.setenv("B_TOKEN", "very-secret-2")

    async def main() -> str:
        server = ours(tmp_path / "done", env={"C_TOKEN": "very-secret-3"}, inherit=["B_TOKEN"])
        async with McpServers([server]) as servers:
            return (await call(servers, "test_environment")).output

    names = real(main()).split()
    assert "A_TOKEN" not in names and {"B_TOKEN", "C_TOKEN", "PATH"} <= set(names)
    assert "very-secret-3" not in repr(ours(tmp_path, env={"C_TOKEN": "very-secret-3"}))


def test_a_list_that_changed_is_fetched_again(tmp_path: Path) -> None:
    changes: list[int] = []

    async def main() -> None:
        async with McpServers([ours(tmp_path / "done")], on_change=lambda: changes.append(1)) as servers:
            before = servers.tools
            assert (await call(servers, "test_grow")).output.count("grown") == 1
            await until(lambda: len(servers.tools) > len(before))
            assert named(servers, "test_another").spec.description == "New."

    real(main())
    assert len(changes) == 2


def test_an_answer_that_breaks_the_protocol_is_told_as_that(tmp_path: Path) -> None:
    async def main() -> CallOutcome:
        async with McpServers([ours(tmp_path / "done")]) as servers:
            return await call(servers, "test_odd")

    assert "its answer cannot be used: does not follow the protocol" in real(main()).output


def test_a_newer_server_tells_of_changes_on_a_stream_of_their_own() -> None:
    server = MCPServer("new")

    @server.tool()
    async def grow(ctx: Context) -> str:
        def another() -> str:
            """New."""
            return "new"

        server.add_tool(another)
        await ctx.notify_tools_changed()
        return "grown"

    async def main() -> None:
        async with McpServers([InProcess("s", server, effects={"*": "read"})]) as servers:
            assert (await call(servers, "s_grow")).status == "ok"
            await until(lambda: len(servers.tools) == 2)

    real(main())


# --- servers that do not start --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (Stdio("gone", "no-such-program-here"), "No such file"),
        (Stdio("gone", sys.executable, ["-c", "raise SystemExit('the disk is full')"]), "the disk is full"),
        (Stdio("gone", sys.executable, ["-c", "input(); input()"], start_timeout_s=0.5), "did not answer in time"),
        (Stdio("gone", sys.executable, inherit=["NOT_SET_ANYWHERE"]), "inherits NOT_SET_ANYWHERE"),
        (Http("gone", "http://127.0.0.1:9/mcp"), "connection"),
    ],
)
def test_a_needed_server_that_does_not_start_says_why(server: Any, why: str) -> None:
    async def main() -> None:
        async with McpServers([server]):
            raise AssertionError

    with pytest.raises(McpServerError, match=f"MCP server 'gone' did not start: .*{why}"):
        real(main())


def test_one_that_fails_does_not_wait_for_one_that_hangs() -> None:
    hangs = Stdio("hangs", sys.executable, ["-c", "input(); input()"])

    async def main() -> None:
        async with asyncio.timeout(20), McpServers([hangs, Stdio("gone", "no-such-program-here")]):
            raise AssertionError

    with pytest.raises(McpServerError, match="'gone' did not start"):
        real(main())


def test_leaving_while_servers_still_start_ends_their_programs(tmp_path: Path) -> None:
    program = f"import os, sys; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); sys.stdin.read()"

    async def main() -> None:
        entering = asyncio.create_task(McpServers([Stdio("slow", sys.executable, ["-c", program])]).__aenter__())
        pid = tmp_path / "pid"
        await until(lambda: pid.exists() and bool(pid.read_text()))
        entering.cancel()
        await asyncio.wait([entering])
        assert entering.cancelled()
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)

    real(main())


def test_a_call_that_was_lost_does_not_take_others_with_it(tmp_path: Path) -> None:
    """Over HTTP every call has its own connection: one that fails says nothing about one that still runs."""
    import uvicorn
    from starlette.responses import Response

    started, go_on = asyncio.Event(), asyncio.Event()
    server = MCPServer("web")

    @server.tool()
    async def slow() -> str:
        started.set()
        await go_on.wait()
        return "slow, but done"

    @server.tool()
    def broken() -> str:
        raise AssertionError("never reached")

    inner = server.streamable_http_app()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if (b"mcp-name", b"broken") in scope.get("headers", ()):
            await Response("bad gateway", 502)(scope, receive, send)
        else:
            await inner(scope, receive, send)

    async def main() -> tuple[CallOutcome, CallOutcome]:
        web = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on"))
        task = asyncio.create_task(web.serve())
        await until(lambda: web.started)
        url = f"http://127.0.0.1:{web.servers[0].sockets[0].getsockname()[1]}/mcp"
        async with McpServers([Http("web", url, effects={"*": "write"})], backoff=QUICK) as servers:
            first = asyncio.create_task(call(servers, "web_slow"))
            await started.wait()
            broken_off = await call(servers, "web_broken")
            go_on.set()
            done = await first
        web.should_exit = True
        await task
        return broken_off, done

    broken_off, done = real(main())
    assert "It is not known whether it took effect" in broken_off.output
    assert "slow, but done" in done.output


def test_a_server_that_is_not_needed_may_come_later(tmp_path: Path) -> None:
    """Its program is written while the servers are up already."""
    program = tmp_path / "late.py"
    late = Stdio("late", sys.executable, [str(program), str(tmp_path / "done")], required=False)

    async def main() -> None:
        async with McpServers([late], backoff=QUICK) as servers:
            assert servers.tools == () and "late.py" in servers.problems["late"]
            program.write_text((HERE / "mcp_server.py").read_text())
            await until(lambda: bool(servers.tools))
            assert servers.problems == {}

    real(main())


def test_a_server_that_stays_away_is_said_to_be_unreachable(tmp_path: Path) -> None:
    async def main() -> None:
        away = Backoff(first_s=60, most_s=60, wait_s=0.01)
        async with McpServers([ours(tmp_path / "done")], backoff=away) as servers:
            await call(servers, "test_write", what="die")
            outcome = await call(servers, "test_write", what="more")
            assert "The server test cannot be reached at the moment. Nothing was done." in outcome.output

    real(main())
    assert (tmp_path / "done").read_text().split() == ["die"]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Stdio(" ", "x"), "has no name"),
        (lambda: Stdio("s", ""), "has no command"),
        (lambda: Http("s", "ftp://x"), "has the URL 'ftp://x'"),
        (lambda: Http("s", "http://[x"), "has the URL"),
        (lambda: Stdio("s", "x", effects={"t": "reed"}), "the effect 'reed'"),  # type: ignore[dict-item]
        (lambda: Stdio("s", "x", timeout_s=0), "time-out"),
        (lambda: McpServers([Stdio("s", "x"), Stdio("s", "y")]), "Two MCP servers are named 's'"),
    ],
)
def test_mistakes_are_told_when_they_are_made(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        make()


def test_what_a_server_says_on_its_standard_error_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sayso")

    async def main() -> None:
        async with McpServers([ours(tmp_path / "done")]):
            await until(lambda: "MCP server 'test': the server says hello" in caplog.text)

    real(main())


# --- questions to a person ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"milk": True}, '{"action": "accept", "content": {"cups": 2, "milk": true}}'),
        ({"milk": False, "cups": 3}, '{"action": "accept", "content": {"cups": 3, "milk": false}}'),
        (None, '{"action": "decline"}'),
        ({"milk": "much"}, '{"action": "cancel"}'),
        ({}, '{"action": "cancel"}'),
        (ValueError("the hook broke"), '{"action": "cancel"}'),
    ],
)
def test_a_servers_question_goes_to_the_hook_and_its_answer_is_checked(answer: Any, told: str, tmp_path: Path) -> None:
    asked: list[ElicitRequest] = []

    async def ask(request: ElicitRequest) -> Any:
        asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def main() -> CallOutcome:
        async with McpServers([ours(tmp_path / "done")], on_elicit=ask) as servers:
            return await call(servers, "test_ask")

    assert f"Told: {told}" in real(main()).output
    (request,) = asked
    assert (request.server, request.message, request.call_id) == ("test", "How much ‹tool_call>?", "c1")
    assert set(request.fields) == {"cups", "milk"}


def test_without_a_hook_nobody_can_be_asked_for_values(tmp_path: Path) -> None:
    async def main() -> CallOutcome:
        async with McpServers([ours(tmp_path / "done")]) as servers:
            return await call(servers, "test_ask")

    assert 'Told: {"action": "decline"}' in real(main()).output


@pytest.mark.parametrize(("answer", "told"), [("Yes, please", '"action": "accept"'), ("No", None)])
def test_a_servers_yes_or_no_goes_through_approval(answer: str, told: str | None, tmp_path: Path) -> None:
    async def main() -> tuple[str, list[Any]]:
        model = ScriptedModel((None, scripted_call("test_confirm")), (None, say("It is gone.")))
        async with McpServers([ours(tmp_path / "done", effects={"confirm": "write"})]) as servers:
            agent = Agent(tools=servers.tools, model=model, journal=Journal())
            async with agent.session() as session:
                assert (await session.ask("Delete it")).text == "test asks: “Delete it”. Do you agree?"
                result = await session.ask(answer)
        return result.text, [one.output for one in result.calls]

    text, outputs = real(main())
    assert (text, len(outputs)) == (("It is gone.", 1) if told else ("All right, I won't.", 0))
    assert told is None or told in outputs[0]
