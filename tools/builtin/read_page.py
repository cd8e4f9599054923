"""`read_page`: the main text of a web page."""

from __future__ import annotations

import re

from pydantic import BaseModel, Field

from sayso.errors import ToolError
from sayso.http import NetworkError
from sayso.public_web import PublicWeb, RefusedError
from sayso.tools.builtin.found_pages import page_at, was_found
from sayso.tools.builtin.page_reader import PAGE_TYPES, PageText, extract, in_parts
from sayso.tools.context import Context
from sayso.tools.search.memory import Memory
from sayso.tools.tool import tool

_NUMBER = re.compile(r"(?:(?:result|page|number|no\.?|#)\s*)*(\d{1,4})\.?", re.I)
_STATUS = {
    401: "wants a login",
    402: "wants to be paid",
    403: "does not let programs in",
    404: "is not there",
    410: "is not there any more",
    429: "was asked too often",
    451: "may not be shown for legal reasons",
}


class Page(BaseModel):
    """A part of a page.

    Attributes:
        title: May be empty.
        site: Who publishes it.
        date: When, as an ISO date; empty where that is not known.
        text: Main text, without menus and advertisements.
        part: Which part of the text this is, from 1.
        parts: How many there are.
        url: Where it came from in the end; for code.
    """

    title: str
    site: str
    date: str
    text: str
    part: int
    parts: int
    url: str = Field(exclude=True)


class PageReader:
    """Makes the tool: ``PageReader(only_found=True).read_page``.

    Args:
        web: Fetches; the default reads the public internet and nothing else.
        part_bytes: Of text at once, in UTF-8: about four bytes are a token.
        only_found: Read nothing but what a search of the same session found. A page's address is a message to its
            server: without this, words hidden in one page can ask the model to send what it knows to another.
    """

    def __init__(self, web: PublicWeb | None = None, *, part_bytes: int = 4000, only_found: bool = False) -> None:
        self._web = web or PublicWeb()
        self._part_bytes = part_bytes
        self._only_found = only_found
        self._memory: Memory[tuple[str, PageText]] = Memory(16, 600.0)

    @tool(
        effect="read",
        timeout_s=25,
        untrusted=True,
        max_output_tokens=1500,
        filler="Let me read that page.",
        examples={
            "what does the second one say": {"page": "2"},
            "read me example.org slash news": {"page": "https://example.org/news"},
        },
    )
    async def read_page(self, page: str, ctx: Context, part: int = 1) -> Page:
        """Read a web page: one that was just found, or one whose address the user gave.

        Args:
            page: The number of a search result, or an address.
            ctx: The session.
            part: Which part of a long page, from 1.
        """
        url = self._address(page, ctx)
        where, text = await self._text(url, ctx)
        parts = in_parts(text.paragraphs, self._part_bytes)
        if not 1 <= part <= len(parts):
            raise ToolError(f"That page has {len(parts)} part{'s' if len(parts) > 1 else ''}.")
        return Page(
            title=text.title,
            site=text.site,
            date=text.date,
            text=parts[part - 1],
            part=part,
            parts=len(parts),
            url=where,
        )

    def _address(self, page: str, ctx: Context) -> str:
        named = _NUMBER.fullmatch(page.strip())
        if named is None:
            if self._only_found and not was_found(ctx, page.strip()):
                raise ToolError("Only pages that a search found can be read.", "Search first.")
            return page
        found = page_at(ctx, int(named[1]))
        if found is None:
            raise ToolError(f"There is no search result {named[1]}.", "Search first, or give an address.")
        return found

    async def _text(self, url: str, ctx: Context) -> tuple[str, PageText]:
        now_s = ctx.clock()
        known = self._memory.get(url, now_s)
        if known is not None:
            return known
        try:
            answer = await self._web.get(url, PAGE_TYPES)
        except RefusedError as error:
            raise ToolError(str(error)) from None
        except NetworkError as error:
            raise ToolError(f"The page cannot be read: {error}", "Try another page, or say so.") from None
        if not 200 <= answer.status < 300:
            what = _STATUS.get(answer.status, f"cannot be had now (HTTP status {answer.status})")
            raise ToolError(f"The page {what}.", "Try another page, or say so.")
        read = (answer.url, await extract(answer, ctx.now().date()))
        self._memory.put(url, read, now_s)
        return read


read_page = PageReader().read_page
