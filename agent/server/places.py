"""A place beside the sessions, for requests that keep a model busy without a conversation."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sayso.server.auth import Caller
from sayso.server.errors import Unavailable
from sayso.server.host import Host


@asynccontextmanager
async def a_place(host: Host, caller: Caller) -> AsyncGenerator[None]:
    """Inside, the caller has a session more, as far as limits and the queue go.

    Raises:
        LimitReached: The caller has too many, or used up the day's speech; `Busy`: all together have too many.
        Unavailable: The server is stopping.
    """
    if host.is_draining:
        raise Unavailable("The server is stopping.", "Try again soon.", code="server_stopping", retry_after_s=5)
    with host.usage.session(caller):
        async with host.places.one(lambda position: None):
            yield
