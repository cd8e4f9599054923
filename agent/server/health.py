"""`/healthz`, `/readyz` and `/metrics`: what an operator's machines ask."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from sayso.server.auth import Caller, operator_of
from sayso.server.host import host_of

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

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


@router.get("/metrics", response_class=Response, responses={200: {"content": {METRICS_TYPE: {}}}})
async def metrics(request: Request, caller: Annotated[Caller, Depends(operator_of)]) -> Response:
    """The figures, in Prometheus' text form; where the server has keys, for an operator's."""
    del caller
    return Response(host_of(request).metrics.exposition(), media_type=METRICS_TYPE)
