"""`Connection`: one server, owned by one task, which connects again when the server goes away.

The SDK's contexts have to be left by the task that entered them, so a task of ours enters them, lists the tools,
waits until the connection ends or is no longer wanted, and leaves them. Calls come from the tasks of sessions; they
use the client that is there, and cancelling one tells the server (the SDK does that).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sayso.errors import CallInDoubt, NeedsApproval, ToolError, UsageError
from sayso.settings import redact
from sayso.tools.context import Context
from sayso.tools.mcp.elicit import ElicitAnswer, ElicitRequest, OnElicit, answer, read_request
from sayso.tools.mcp.server import McpServerError, Server
from sayso.tools.mcp.transport import open_transport
from sayso.tools.text import safe_text
from sayso.tools.tool import Effect

if TYPE_CHECKING:
    import mcp_types as types
    from mcp import Client

MAX_TOOLS = 500
"""Taken from one server."""

MAX_PAGES = 50
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Call:
    """A call under way.

    Attributes:
        ctx: Its context.
        question: What the server asked in it and nobody has agreed to yet.
    """

    ctx: Context
    question: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a server reports while a call runs.

    Attributes:
        progress: Grows; in units of the server's choice.
        total: What it will be in the end, or None where unknown.
        message: The server's words, neutralised.
    """

    progress: float
    total: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts to connect: ``first_s``, doubling up to ``most_s``.

    Attributes:
        first_s: Seconds before the first attempt after a connection ended.
        most_s: Seconds at most.
        wait_s: Seconds that a call waits for the connection to come back.
    """

    first_s: float = 0.5
    most_s: float = 30.0
    wait_s: float = 5.0


class Connection:
    """See the module's docstring.

    Args:
        server: What to connect to.
        changed: Called when there are other tools than before.
        on_elicit: Asks a person; None: a question of yes or no goes through the session's approval.
        backoff: Pauses between attempts.
    """

    def __init__(
        self, server: Server, changed: Callable[[], None], on_elicit: OnElicit | None, backoff: Backoff
    ) -> None:
        self.server = server
        self.tools: tuple[types.Tool, ...] = ()
        self.error = ""
        self._changed = changed
        self._on_elicit = on_elicit
        self._backoff = backoff
        self._client: Client | None = None
        self._calls: list[_Call] = []
        self._connecting = False
        self._up, self._ended, self._refresh = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._idle = asyncio.Event()
        self._stop, self._tried = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pause_s = backoff.first_s

    async def start(self) -> None:
        """Start the owner and wait for its first attempt.

        Raises:
            McpServerError: It failed, and the server is required.
        """
        self._task = asyncio.create_task(self._own(), name=f"mcp {self.server.name}")
        await self._tried.wait()
        if self.error and self.server.required:
            raise McpServerError(
                f"MCP server '{self.server.name}' did not start: {self.error}.",
                "Correct its command or URL, or give required=False to start without it.",
            )

    async def aclose(self) -> None:
        """End the connection (and the program behind it). Idempotent."""
        self._stop.set()
        if self._task is not None:
            if self._connecting:  # a server that is slow to start does not hold up the end
                self._task.cancel()
            try:
                await asyncio.wait([self._task])
            except asyncio.CancelledError:
                self._task.cancel()
                await asyncio.wait([self._task])
                raise

    # --- the owner ---------------------------------------------------------------------------------------------

    async def _own(self) -> None:
        while not self._stop.is_set():
            try:
                await self._live()
                self.error = "the connection ended"
            except UsageError as error:
                self.error = str(error)
            except Exception as error:  # whatever a server, its transport or the SDK does
                self.error = _reason(error)
            finally:
                self._tried.set()
            if not self._stop.is_set():
                _log.warning("MCP server '%s': %s; again in %g s", self.server.name, self.error, self._pause_s)
                await _either(self._pause_s, self._stop)
                self._pause_s = min(self._pause_s * 2, self._backoff.most_s)

    async def _live(self) -> None:
        """Connect, and stay until the connection ends or is no longer wanted."""
        self._ended.clear()
        async with AsyncExitStack() as stack:
            self._connecting = True
            try:
                async with asyncio.timeout(self.server.start_timeout_s):
                    client = await stack.enter_async_context(self._open())
                    self._take(await _list(client))
            finally:
                self._connecting = False
            self.error, self._client, self._pause_s = "", client, self._backoff.first_s
            self._up.set()
            self._tried.set()
            try:
                await self._follow(client)
            finally:
                self._client = None
                self._up.clear()
            if self._calls:  # where one call was lost, others may still get their answers
                self._idle.clear()
                await _either(self.server.timeout_s, self._idle, self._stop)

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Client]:
        from mcp import Client

        from sayso.tools.mcp.version import implementation

        async with (
            open_transport(self.server, self._ended) as transport,
            Client(
                transport,
                cache=None,
                client_info=implementation(),
                message_handler=self._heard,
                elicitation_callback=self._elicit,
            ) as client,
        ):
            yield client

    async def _follow(self, client: Client) -> None:
        """Keep the list of tools fresh until the end."""
        capability = client.server_capabilities.tools
        listener: asyncio.Task[None] | None = None
        if capability is not None and capability.list_changed:
            listener = asyncio.create_task(self._listen(client))
        try:
            while not (self._stop.is_set() or self._ended.is_set()):
                if self._refresh.is_set():
                    self._refresh.clear()
                    async with asyncio.timeout(self.server.start_timeout_s):
                        self._take(await _list(client))
                await _either(None, self._stop, self._ended, self._refresh)
        finally:
            if listener is not None:
                listener.cancel()
                await asyncio.wait([listener])

    async def _listen(self, client: Client) -> None:
        """Newer servers tell of changes only on a stream that was asked for; it may break and has to be renewed."""
        from mcp.client.subscriptions import ListenNotSupportedError

        pause_s = self._backoff.first_s
        while True:
            try:
                async with client.listen(tools_list_changed=True) as events:
                    pause_s = self._backoff.first_s
                    async for _ in events:
                        self._refresh.set()
            except ListenNotSupportedError:  # an older server: it sends notifications anyway
                return
            except Exception as error:  # lost, refused, or not answered: what it was makes no difference
                _log.debug("MCP server '%s': listening ended: %s", self.server.name, error)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._backoff.most_s)
            self._refresh.set()  # nobody told what changed meanwhile

    async def _heard(self, message: Any) -> None:
        import mcp_types as types

        if isinstance(message, types.ToolListChangedNotification):
            self._refresh.set()

    def _take(self, tools: list[types.Tool]) -> None:
        before, self.tools = self.tools, tuple(tools)
        if before != self.tools:
            self._changed()

    async def _elicit(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        call = self._calls[0] if len(self._calls) == 1 else None
        request, schema = read_request(self.server.name, params, call.ctx.call_id if call else "")
        return await answer(request, schema, self._on_elicit or partial(_ask_first, call))

    # --- calls -------------------------------------------------------------------------------------------------

    async def call(self, tool: str, arguments: dict[str, Any], ctx: Context, effect: Effect) -> types.CallToolResult:
        """Call a tool. A read is tried again once where the connection broke; a write never is.

        Raises:
            CallInDoubt: The connection broke while a write was under way.
            ToolError: The server cannot be reached, or refused, or answered with nonsense.
        """
        attempts = 1 if effect.changes_something else 2
        while True:
            attempts -= 1
            try:
                return await self._call_once(tool, arguments, ctx)
            except _Lost as lost:
                if attempts:
                    continue
                raise lost.error(tool, self.server.name, effect) from None

    async def _call_once(self, tool: str, arguments: dict[str, Any], ctx: Context) -> types.CallToolResult:
        from mcp.shared.exceptions import MCPError
        from pydantic import ValidationError

        client = await self._ready()

        async def report(progress: float, total: float | None, message: str | None) -> None:
            await ctx.report(Progress(progress, total, safe_text(redact(message or ""), 200)))

        call = _Call(ctx)
        self._calls.append(call)
        try:
            result = await client.call_tool(tool, arguments, progress_callback=report)
            if call.question:
                raise NeedsApproval(call.question)
            return result
        except MCPError as error:
            if (lost := _lost(error)) is not None:
                if self._client is client:  # HTTP has no connection that could end by itself
                    self._up.clear()
                    self._ended.set()
                raise lost from None
            raise ToolError(f"{tool}: {_words(error)}") from None
        except (ValidationError, RuntimeError) as error:
            reason = "does not follow the protocol" if isinstance(error, ValidationError) else _words(error)
            raise ToolError(f"{tool} ran, but its answer cannot be used: {reason}") from None
        finally:
            self._calls.remove(call)
            if not self._calls:
                self._idle.set()

    async def _ready(self) -> Client:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._backoff.wait_s):
                await self._up.wait()
        if self._client is None or not self._up.is_set():
            raise ToolError(f"The server {self.server.name} cannot be reached at the moment. Nothing was done.")
        return self._client


async def _ask_first(call: _Call | None, request: ElicitRequest) -> ElicitAnswer:
    """Without a hook a person is asked by the session: no for now, and the call is made again after their yes."""
    if call is None or not request.is_plain:
        return None  # nobody can be asked for values, or it is not known what for
    if call.ctx.agreed == request.question:
        return {}
    call.question = request.question
    return None


class _Lost(Exception):
    """The answer of a call will never come.

    Args:
        refused: The server did not take the call: it is sure that nothing was done.
    """

    def __init__(self, refused: bool) -> None:
        super().__init__()
        self.refused = refused

    def error(self, tool: str, server: str, effect: Effect) -> ToolError:
        """What the model is told."""
        if self.refused:
            return ToolError(f"{server} had ended the session, so {tool} was not run. Try again.")
        if effect.changes_something:
            return CallInDoubt(
                f"The connection to {server} broke while {tool} ran. It is not known whether it took effect. "
                "Do not repeat it; say so, or look whether it happened."
            )
        return ToolError(f"The connection to {server} broke while {tool} ran. Try again later.")


def _lost(error: Any) -> _Lost | None:
    """Whether an error says that the answer will never come."""
    from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_REQUEST

    if (error.code, error.message) == (INVALID_REQUEST, "Session terminated"):  # HTTP 404: a session it has forgotten
        return _Lost(refused=True)
    http_error = (error.code, error.message) == (INTERNAL_ERROR, "Server returned an error response")  # 400 to 599
    return _Lost(refused=False) if http_error or error.code == CONNECTION_CLOSED else None


async def _list(client: Client) -> list[types.Tool]:
    found: list[types.Tool] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if not cursor or len(found) >= MAX_TOOLS:
            break
    return found[:MAX_TOOLS]


async def _either(timeout_s: float | None, *events: asyncio.Event) -> None:
    """Wait for the first of ``events``, or for ``timeout_s``."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _words(error: BaseException) -> str:
    return safe_text(redact(str(error)), 300).rstrip(".") + "."


def _reason(error: BaseException) -> str:
    """The innermost cause, in a line: transports wrap it in groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    text = safe_text(redact(str(error)), 300).strip()  # pyright: ignore[reportUnknownArgumentType]
    return text.rstrip(".") or type(error).__name__  # pyright: ignore[reportUnknownArgumentType]
