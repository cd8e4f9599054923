"""The web pages that a session has found, by number: "open the second one" needs no address."""

from __future__ import annotations

from sayso.tools.context import Context

STATE_KEY = "found_pages"
MAX_PAGES = 100


def number_of(ctx: Context, url: str) -> int:
    """The page's number in this session: the one it has, or the next. The oldest pages are forgotten."""
    pages: dict[int, str] = ctx.state.setdefault(STATE_KEY, {})
    for number, known in pages.items():
        if known == url:
            return number
    number = max(pages, default=0) + 1
    pages[number] = url
    if len(pages) > MAX_PAGES:
        del pages[min(pages)]
    return number


def page_at(ctx: Context, number: int) -> str | None:
    """The address of page ``number``, or None where there is none."""
    return ctx.state.get(STATE_KEY, {}).get(number)


def was_found(ctx: Context, url: str) -> bool:
    """Whether a search of this session found ``url``."""
    return url in ctx.state.get(STATE_KEY, {}).values()
