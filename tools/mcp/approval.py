"""A person behind another program agrees to a call, or does not.

The program is asked with the protocol's elicitation. Older programs are asked while the call waits; newer ones answer
by sending the call again, so the question carries a ticket that is good for one call, with exactly the arguments that
were asked about.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sayso.tools.job import Job

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.context import ServerRequestContext

MAX_WAITING = 1000
VALID_S = 600.0
KEY = "approval"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Yes, do it", "default": False}},
    "required": ["approve"],
}
"""A box to tick: a program that accepts every form with its defaults approves nothing."""


class Tickets:
    """The questions that are open.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, tuple[Job, float]] = {}

    def issue(self, job: Job, question: str) -> types.InputRequiredResult:
        """The question about ``job``, to be answered with the call sent again."""
        import mcp_types as types

        while len(self._open) >= MAX_WAITING:
            del self._open[next(iter(self._open))]
        ticket = secrets.token_urlsafe(32)
        self._open[ticket] = (job, self._clock() + VALID_S)
        params = types.ElicitRequestFormParams(message=question, requested_schema=_SCHEMA)
        return types.InputRequiredResult(input_requests={KEY: types.ElicitRequest(params=params)}, request_state=ticket)

    def redeem(self, params: types.CallToolRequestParams) -> Job | str:
        """What a call that was sent again may run, or why it may not. A ticket is good once, whatever comes of it."""
        job, until_s = self._open.pop(params.request_state or "", (None, 0.0))
        if job is None or self._clock() > until_s:
            return "the question is no longer open. Call again to be asked again."
        if (job.call.name, job.call.arguments) != (params.name, params.arguments or {}):
            return "what was asked is not what was called."
        return job if agreed((params.input_responses or {}).get(KEY)) else "the person did not agree."


async def ask(ctx: ServerRequestContext[Any, Any], question: str) -> bool:
    """Ask an older program, while the call waits."""
    return agreed(await ctx.session.elicit_form(question, _SCHEMA, ctx.request_id))


def agreed(answer: Any) -> bool:
    """Whether the box was ticked and the form sent."""
    ticked: Any = getattr(answer, "content", None) or {}
    return getattr(answer, "action", None) == "accept" and ticked.get("approve") is True


def can_ask(ctx: ServerRequestContext[Any, Any]) -> bool:
    """Whether the program shows forms. An empty capability is one: older programs know no other kind."""
    capabilities = ctx.session.client_capabilities
    asks = capabilities.elicitation if capabilities is not None else None
    return asks is not None and (asks.form is not None or asks.url is None)
