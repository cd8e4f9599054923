"""The static files of the page, with headers that let them do what they need and no more."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from sayso.server.errors import NotFound

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # no text can become HTML or a script: the browser refuses it, whatever the page's code does
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), display-capture=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class File:
    """A file of the page, read once."""

    data: bytes = field(repr=False)
    media_type: str
    etag: str


@router.get("/")
async def index(request: Request) -> Response:
    """The page."""
    return _answer(request, files()["index.html"])


@router.get("/page/{name}")
async def part(name: str, request: Request) -> Response:
    """What it is made of: scripts, styles, the icon."""
    found = files().get(name)
    if found is None or name == "index.html":
        raise NotFound("There is nothing at this address.")
    return _answer(request, found)


@cache
def files() -> dict[str, File]:
    """The page's files by name."""
    found: dict[str, File] = {}
    for path in sorted(STATIC.iterdir()):
        if (media_type := TYPES.get(path.suffix)) is not None:
            data = path.read_bytes()
            found[path.name] = File(data, media_type, f'"{hashlib.sha256(data).hexdigest()[:32]}"')
    return found


def _answer(request: Request, file: File) -> Response:
    headers = HEADERS | {"ETag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.data, headers=headers, media_type=file.media_type)
