"""`create_app`: puts the routers together."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware

from sayso.agent import Agent
from sayso.server import errors
from sayso.server.gate import Gate
from sayso.server.host import DEFAULT_AGENT, Host
from sayso.server.settings import ServerSettings
from sayso.tools.mcp.version import sayso_version

ROUTERS = (
    "sayso.server.health",
    "sayso.server.realtime",
    "sayso.server.chat",
    "sayso.server.audio",
    "sayso.server.agents",
    "sayso.server.rtc",
    "sayso.server.page",
)
"""Modules that offer ``router``, an `fastapi.APIRouter`. The page is last: it may take every other address."""

ANSWERS = {"4XX": {"model": errors.ErrorBody}, "5XX": {"model": errors.ErrorBody}}


def create_app(agents: Agent | Mapping[str, Agent], settings: ServerSettings | None = None) -> FastAPI:
    """The ASGI app that serves agents.

    Args:
        agents: One, which is called ``sayso``, or several by name; the first is the default.
        settings: See `ServerSettings`.

    Raises:
        UsageError: The settings cannot be used.
    """
    by_name = {DEFAULT_AGENT: agents} if isinstance(agents, Agent) else agents
    host = Host(by_name, settings or ServerSettings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with host.running():
            yield

    app = FastAPI(
        title="sayso", version=sayso_version(), lifespan=lifespan, responses={**ANSWERS}, docs_url=None, redoc_url=None
    )
    app.state.host = host
    app.add_middleware(Gate, host=host)
    if host.settings.cors:  # outside of the gate: a page has to be able to read why it was refused
        app.add_middleware(
            CORSMiddleware,
            allow_origins=host.settings.cors,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    errors.install(app)
    paths: set[str] = set()
    for name in ROUTERS:
        if (found := importlib.util.find_spec(name)) is not None and found.origin is not None:
            router: APIRouter = importlib.import_module(name).router
            app.include_router(router)
            paths.update(getattr(route, "path", "") for route in router.routes)
    app.state.paths = frozenset(paths)
    return app
