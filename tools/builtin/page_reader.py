"""A page's text by way of a process of its own: see `sayso.tools.builtin.page_text`."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sayso.errors import ToolError
from sayso.http import Answer
from sayso.public_web import media_type
from sayso.settings import child_environment
from sayso.tools.invoke import in_thread
from sayso.tools.search import clean
from sayso.tools.search.dates import to_iso

PAGE_TYPES = ("text/html", "application/xhtml+xml", "text/plain", "application/pdf")
"""The media types that can be read."""

TIMEOUT_S = 8.0
_log = logging.getLogger(__name__)
_PROGRAM = Path(__file__).with_name("page_text.py")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.I)


@dataclass(frozen=True, slots=True)
class PageText:
    """What a page says.

    Attributes:
        title: Without the site's name; may be empty.
        site: The name that the page gives its site, or its server's.
        date: ISO, or empty where it is not known.
        paragraphs: The main text, cleaned.
    """

    title: str
    site: str
    date: str
    paragraphs: tuple[str, ...]


async def extract(answer: Answer, today: date) -> PageText:
    """The text of a page that was fetched.

    Args:
        answer: With a body of one of `PAGE_TYPES`.
        today: For dates such as "2 days ago".

    Raises:
        ToolError: It cannot be read, or there is no text in it.
    """
    if importlib.util.find_spec("resiliparse") is None:
        raise ToolError("Pages cannot be read here: the package resiliparse is missing.", "pip install 'sayso[web]'")
    found = _CHARSET.search(answer.headers.get("content-type", ""))
    command = [sys.executable, "-P", str(_PROGRAM), media_type(answer.headers), found[1] if found else ""]
    parts, paragraphs = await in_thread(lambda: _run(command, answer.body), "read_page")
    if "error" in parts:
        raise ToolError(f"{parts['error']}.", "Try another page.")
    site = clean.plain(parts["site"])[:60] or clean.site_of(answer.url)
    if not paragraphs:
        raise ToolError("There is no text on that page.", "It may need a browser; try another page.")
    title = clean.title(parts["title"], f"{site} {clean.site_of(answer.url)}")
    if clean.same_text(paragraphs[0]) == clean.same_text(title):
        paragraphs = paragraphs[1:] or paragraphs
    return PageText(title, site, to_iso(parts["date"], today), tuple(paragraphs))


def in_parts(paragraphs: tuple[str, ...], limit_bytes: int) -> list[str]:
    """The paragraphs in parts of at most ``limit_bytes`` of UTF-8, cut between sentences where that is possible."""
    parts: list[str] = []
    rest = "\n".join(paragraphs)
    while len(rest.encode()) > limit_bytes:
        part = clean.cut(rest, limit_bytes) or rest[: limit_bytes // 4]
        parts.append(part)
        rest = rest[len(part) :].lstrip()
    return [*parts, rest] if rest else parts


def _run(command: list[str], page: bytes) -> tuple[dict[str, str], list[str]]:
    """The page's parts, and its text by paragraphs; or an error alone."""
    try:
        done = subprocess.run(
            command,
            input=page,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            env=child_environment(),
            check=True,
        )
        parts: dict[str, str] = json.loads(done.stdout)
    except OSError as error:
        _log.warning("no process for a page: %s", error)
        return {"error": "Pages cannot be read here: no process can be started"}, []
    except (subprocess.SubprocessError, ValueError) as error:
        _log.warning("a page could not be read: %s", type(error).__name__)
        return {"error": "That page is too large or too broken to read"}, []
    lines = (clean.line(line) for line in parts.get("text", "").splitlines())
    return parts, [line for line in lines if any(sign.isalnum() for sign in line)]
