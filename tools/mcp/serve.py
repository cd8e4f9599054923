"""sayso's tools as an MCP server: `McpToolServer`, over standard input and output or HTTP.

Calls run through an `Executor`, as an agent's do: validated, timed, writes one at a time and never cut short, under
the same rules. What the executor wants a person to agree to is asked by elicitation.
One server has one executor and one `Context`: whoever may connect is one user.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import sys
import uuid
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from sayso.errors import UsageError
from sayso.events import CallProgress
from sayso.items import ToolCall
from sayso.settings import redact
from sayso.tools.context import Context
from sayso.tools.executor import Executor
from sayso.tools.job import Job
from sayso.tools.mcp.approval import Tickets, ask, can_ask
from sayso.tools.mcp.server import need_sdk
from sayso.tools.mcp.version import sayso_version
from sayso.tools.outcome import CallOutcome
from sayso.tools.registry import Registry
from sayso.tools.round import CallEvent, Round
from sayso.tools.text import as_text
from sayso.tools.tool import Effect, Tool

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server import Server
    from mcp.server.context import ServerRequestContext
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
DISAGREED = "the person did not agree."
_log = logging.getLogger(__name__)


class McpToolServer:
    """Serves tools to other programs.

    Args:
        tools: What may be called. Those for the background are waited for: nobody could be told later.
        name: What the server calls itself.
        ctx: What the tools may know; by default as in a new session.

    Attributes:
        server: The SDK's server, for transports other than those here.

    Raises:
        ToolDefinitionError: See `Registry`.
        UsageError: The `mcp` package is not installed.
    """

    def __init__(self, tools: Iterable[Tool], *, name: str = "sayso", ctx: Context | None = None) -> None:
        need_sdk()
        from mcp.server import Server

        self._registry = Registry(_in_the_foreground(tool) for tool in tools)
        self._executor = Executor(self._registry.values())
        self._context = ctx or Context()
        self._tickets = Tickets()
        self._running: set[asyncio.Task[Any]] = set()
        self.server: Server[Any] = Server(
            name, version=sayso_version(), on_list_tools=self._list, on_call_tool=self._call
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tools."""
        return tuple(self._registry)

    async def stdio(self) -> None:
        """Serve the program at the other end of standard input and output until it hangs up.

        While it runs, what is printed goes to standard error.
        """
        from mcp.server.stdio import stdio_server

        try:
            # prints are buffered: without the second line they would come out when the SDK gives the wire back
            async with stdio_server() as (reading, writing):
                with redirect_stdout(sys.stderr):
                    await self.server.run(reading, writing, self.server.create_initialization_options())
        finally:
            await self.aclose()

    async def http(self, host: str, port: int, **options: Any) -> None:
        """Serve over HTTP until stopped.

        Args:
            host: To listen on.
            port: To listen on.
            options: As `app`.
        """
        import uvicorn

        config = uvicorn.Config(
            self.app(host, **options), host=host, port=port, log_level="warning", access_log=False, lifespan="on"
        )
        try:
            await uvicorn.Server(config).serve()
        finally:
            await self.aclose()

    def app(
        self,
        host: str = LOOPBACK[0],
        *,
        path: str = "/mcp",
        token: str | None = None,
        allowed_hosts: Iterable[str] = (),
    ) -> ASGIApp:
        """An ASGI app that speaks streamable HTTP.

        Requests whose ``Host`` or ``Origin`` is another than ``host`` and ``allowed_hosts`` are refused: a web page
        could otherwise reach a server on its visitor's machine (DNS rebinding).

        Args:
            host: What it will listen on.
            path: Of the endpoint.
            token: Programs have to send this as ``Authorization: Bearer``.
            allowed_hosts: Further names (``tools.example.org``, with ``:port`` or ``:*``) that it is reached by.

        Raises:
            UsageError: Beyond this machine without a token.
        """
        from mcp.server.transport_security import TransportSecuritySettings

        if host not in LOOPBACK and not token:
            raise UsageError(
                f"An MCP server on {host} could be used by everybody who reaches it.",
                "Set SAYSO_MCP_TOKEN, or listen on 127.0.0.1.",
            )
        names = ["127.0.0.1:*", "localhost:*", "[::1]:*", *allowed_hosts]
        names += [] if host in (*LOOPBACK, "0.0.0.0", "::") else [host, f"{host}:*"]
        security = TransportSecuritySettings(
            allowed_hosts=names, allowed_origins=[f"{scheme}://{one}" for one in names for scheme in ("http", "https")]
        )
        app = self.server.streamable_http_app(streamable_http_path=path, host=host, transport_security=security)
        return app if token is None else BearerToken(app, token)

    async def aclose(self) -> None:
        """Let the writes that still run end. Idempotent."""
        if self._running:
            await asyncio.wait(self._running)
        await self._executor.aclose()

    async def _list(
        self, ctx: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        import mcp_types as types

        return types.ListToolsResult(tools=[describe(tool) for tool in self._registry.values()])

    async def _call(
        self, ctx: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        from mcp_types.version import MODERN_PROTOCOL_VERSIONS

        if params.request_state is not None:
            approved = self._tickets.redeem(params)
            if isinstance(approved, str):
                return _refused(params, approved)
            outcome, held = await self._run(ctx, lambda calls: calls.resume(approved))
        else:
            call = ToolCall(f"mcp-{uuid.uuid4().hex}", params.name, params.arguments or {})
            outcome, held = await self._run(ctx, lambda calls: calls.start(call))
        while held is not None:  # a tool may have a question of its own after the first
            job, question = held
            if not can_ask(ctx):
                return _refused(params, "it needs a person's approval, and this client cannot ask (elicitation).")
            if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
                return self._tickets.issue(job, question)
            if not await ask(ctx, question):
                return _refused(params, DISAGREED)
            outcome, held = await self._run(ctx, lambda calls, job=job: calls.resume(job))
        return _result(outcome)

    async def _run(
        self, ctx: ServerRequestContext[Any, Any], begin: Callable[[Round], None]
    ) -> tuple[CallOutcome, tuple[Job, str] | None]:
        """Run a call in a task of its own, and pass on its progress: the outcome, and what a person is asked first.

        The SDK cancels a request again at every await, which would take a write apart; the task is told once.
        """
        events: asyncio.Queue[CallProgress | None] = asyncio.Queue()

        def emit(event: CallEvent) -> None:
            if isinstance(event, CallProgress):
                events.put_nowait(event)

        task = asyncio.create_task(self._round(begin, emit))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            count = 0
            while (event := await events.get()) is not None:
                count += 1
                await ctx.session.report_progress(*_progress(event.value, count))
        except BaseException:
            task.cancel()
            raise
        return task.result()

    async def _round(
        self, begin: Callable[[Round], None], emit: Callable[[CallEvent], None]
    ) -> tuple[CallOutcome, tuple[Job, str] | None]:
        async with self._executor.round(self._context, emit) as calls:
            begin(calls)
            outcome = (await calls.outcomes())[0]
            return outcome, calls.waiting[0] if calls.waiting else None


class BearerToken:
    """Middleware that lets through requests with one token.

    Args:
        app: What it guards.
        token: What is to be sent.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it with 401."""
        if scope["type"] == "http":
            sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if not hmac.compare_digest(sent, self._expected):
                from starlette.responses import PlainTextResponse

                refusal = PlainTextResponse("A token is needed.\n", 401, {"WWW-Authenticate": "Bearer"})
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def describe(tool: Tool) -> types.Tool:
    """A tool as other programs see it: its effect is written as hints."""
    import mcp_types as types

    harmless = not tool.effect.changes_something
    return types.Tool(
        name=tool.name,
        description=tool.spec.description,
        input_schema=dict(tool.spec.parameters),
        annotations=types.ToolAnnotations(
            read_only_hint=harmless,
            destructive_hint=None if harmless else tool.effect is Effect.IRREVERSIBLE,
            idempotent_hint=None if harmless else False,
            open_world_hint=tool.policy.untrusted,
        ),
    )


def _in_the_foreground(tool: Tool) -> Tool:
    if not isinstance(tool, Tool) or not tool.policy.background:  # pyright: ignore[reportUnnecessaryIsInstance] (untyped)
        return tool
    return replace(tool, policy=replace(tool.policy, background=False))


def _result(outcome: CallOutcome) -> types.CallToolResult:
    """What other programs get: the text that a model would be shown, and data as data."""
    if outcome.status != "ok":
        return _text(outcome.output, is_error=True)
    result = _text(outcome.output)
    try:
        value = to_jsonable_python(outcome.value, inf_nan_mode="strings", bytes_mode="base64")
        if isinstance(value, dict):
            result.structured_content = json.loads(redact(json.dumps(value)))
    except (ValueError, TypeError, RecursionError):
        _log.debug("the result of '%s' is no data", outcome.name)
    return result


def _refused(params: types.CallToolRequestParams, why: str) -> types.CallToolResult:
    return _text(f"{params.name[:64]} was not run: {why}", is_error=True)


def _text(text: str, *, is_error: bool = False) -> types.CallToolResult:
    import mcp_types as types

    return types.CallToolResult(content=[types.TextContent(text=redact(text))], is_error=is_error)


def _progress(value: Any, count: int) -> tuple[float, float | None, str]:
    """Progress, total and message: a tool's own numbers where it reports any, else how often it reported."""
    fields: Any = to_jsonable_python(value, fallback=lambda _: None, inf_nan_mode="strings")
    if isinstance(fields, dict):
        done, total = fields.get("progress"), fields.get("total")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if isinstance(done, int | float):
            return done, total if isinstance(total, int | float) else None, redact(str(fields.get("message") or ""))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return count, None, redact(as_text(value, 200))
