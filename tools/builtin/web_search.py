"""`web_search`: pages about a question, with a passage of each that can be spoken."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pydantic import BaseModel, Field

from sayso import settings
from sayso.errors import SaysoError, ToolError
from sayso.tools.builtin.found_pages import number_of
from sayso.tools.context import Context
from sayso.tools.search import Chain, Hit, Provider, UnreachableError, configured
from sayso.tools.tool import tool

MAX_QUERY_CHARS = 300
_SCRIPTS = (
    (re.compile(r"[\u3040-\u30ff]"), "ja", "jp"),
    (re.compile(r"[\uac00-\ud7af]"), "ko", "kr"),
    (re.compile(r"[\u4e00-\u9fff]"), "zh", "cn"),
    (re.compile(r"[\u0400-\u04ff]"), "ru", "ru"),
)
"""Queries that are not in the user's own language, by their letters; the first that fits counts."""


class WebResult(BaseModel):
    """A page that was found.

    Attributes:
        number: What `read_page` takes; 0 for what has no address.
        title: Without the site's name.
        site: Such as "who.int".
        date: When it was published, as an ISO date; empty where that is not known.
        passage: Some sentences of it.
        url: For code; the model is not shown it.
    """

    number: int
    title: str
    site: str
    date: str
    passage: str
    url: str = Field(exclude=True)


class WebResults(BaseModel):
    """What a search found.

    Attributes:
        results: Best first.
        source: "web", or "documents on this machine" where only those had an answer.
        provider: Who found them; for code.
    """

    results: list[WebResult]
    source: str
    provider: str = Field(exclude=True)


def _say(found: WebResults) -> str | None:
    return None if found.results else "I found nothing about that."


class WebSearch:
    """Makes the tool: ``WebSearch(providers=[...]).web_search``.

    Args:
        providers: Whom to ask, best first, or a function that makes them at the first search. The default is what the
            settings say (`sayso.tools.search.registry.configured`).
        count: Most results.
        timeout_s: For each provider; then the next one is asked.
        cache_s: How long results are kept for the same query.
    """

    def __init__(
        self,
        providers: Sequence[Provider] | Callable[[], Sequence[Provider]] = configured,
        *,
        count: int = 4,
        timeout_s: float = 5.0,
        cache_s: float = 600.0,
    ) -> None:
        self._chain = Chain(providers, timeout_s=timeout_s, cache_s=cache_s)
        self._count = count

    @tool(
        effect="read",
        timeout_s=30,
        untrusted=True,
        say=_say,
        filler="Let me look that up.",
        examples={
            "who won the cycling race yesterday": {"query": "cycling race winner yesterday"},
            "look up how long leftover rice keeps": {"query": "how long does leftover rice keep"},
        },
    )
    async def web_search(self, query: str, ctx: Context) -> WebResults:
        """Search the web for news, facts and what may have changed lately.

        Args:
            query: What to look for, in a few words.
            ctx: The session.
        """
        words = " ".join(query.split())
        if not words:
            raise ToolError("There is nothing to search for.", "Ask the user what to look up.")
        language, region = _language_of(words)
        try:
            found = await self._chain.search(words[:MAX_QUERY_CHARS], self._count, region, language, ctx.clock())
        except UnreachableError as error:
            raise ToolError(f"Search is unreachable: {error}.", _SAY_SO) from None
        except SaysoError as error:
            raise ToolError(f"Search is not set up: {error}", _SAY_SO) from None
        return WebResults(
            results=[_result(hit, ctx) for hit in found.hits],
            source="documents on this machine" if found.offline else "web",
            provider=found.provider,
        )


_SAY_SO = "Tell the user that you could not search; do not guess."


def _language_of(query: str) -> tuple[str, str]:
    """Language and region of a query: the user's own, unless its letters are of another language."""
    language, region = settings.locale()
    for letters, other, its_region in _SCRIPTS:
        if letters.search(query):
            return (language, region) if language == other else (other, its_region)
    return language, region


def _result(hit: Hit, ctx: Context) -> WebResult:
    number = number_of(ctx, hit.url) if hit.url else 0
    return WebResult(number=number, title=hit.title, site=hit.site, date=hit.date, passage=hit.passage, url=hit.url)


web_search = WebSearch().web_search
