"""A SearXNG instance of one's own: https://docs.searxng.org/dev/search_api.html. It must serve the JSON format."""

from __future__ import annotations

from collections.abc import Sequence

from sayso import http
from sayso.tools.search.provider import Hit, SearchError, check_status, rows, text_of


class SearXNG:
    """Asks a SearXNG instance.

    Args:
        url: Of the instance, such as ``https://search.example.org``.
        timeout_s: For a request.
    """

    name = "SearXNG"
    offline = False

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s

    async def search(self, query: str, count: int, region: str, language: str) -> Sequence[Hit]:
        """See `Provider`. SearXNG has no region of its own; it is part of the language."""
        del count  # a page is what the instance says it is
        answer = await http.request(
            "GET",
            f"{self._url}/search",
            params={"q": query, "format": "json", "language": f"{language}-{region.upper()}", "safesearch": 1},
            timeout_s=self._timeout_s,
        )
        if answer.status == 403:
            raise SearchError("SearXNG does not serve JSON (its setting search.formats)")
        check_status(answer, self.name)
        return [
            Hit(text_of(row, "title"), text_of(row, "url"), text_of(row, "content"), text_of(row, "publishedDate"))
            for row in rows(answer, "results")
        ]
