"""`/healthz`, `/readyz` and `/metrics`: what an operator's machines ask."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from sayso.server.host import host_of

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Whether the models are warm: 200, or 503 with what is missing."""
    host = host_of(request)
    if host.is_draining:
        return JSONResponse({"status": "stopping"}, 503)
    if host.missing:
        return JSONResponse({"status": "starting", "missing": host.missing}, 503)
    return JSONResponse({"status": "ready", "agents": list(host.agents)})
