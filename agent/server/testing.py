"""A server inside a test: real sockets on loopback, in the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from sayso.server.host import Host
from sayso.server.run import DrainingServer, address, config_of, listening


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncGenerator[str]:
    """Inside, ``app`` is served on a free port of this machine; yields its address.

    Args:
        app: From `sayso.server.app.create_app`.
    """
    host: Host = app.state.host
    started = asyncio.Event()
    with listening("127.0.0.1", 0) as bound:
        server = DrainingServer(config_of(app, host.settings), host, started.set)
        task = asyncio.create_task(server.serve([bound]))
        try:
            waiting = asyncio.create_task(started.wait())
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if task.done():
                task.result()
            yield address(bound, host.settings)
        finally:
            server.should_exit = True
            await asyncio.wait([task])
