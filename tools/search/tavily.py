"""Tavily's search API: https://docs.tavily.com/documentation/api-reference/endpoint/search."""

from __future__ import annotations

from collections.abc import Sequence

from sayso import http
from sayso.tools.search.provider import Hit, check_status, rows, text_of


class Tavily:
    """Asks Tavily.

    Args:
        key: The API key.
        url: Of the service; another one in tests.
        timeout_s: For a request.
    """

    name = "Tavily"
    offline = False

    def __init__(self, key: str, *, url: str = "https://api.tavily.com", timeout_s: float = 5.0) -> None:
        self._key = key
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s

    async def search(self, query: str, count: int, region: str, language: str) -> Sequence[Hit]:
        """See `Provider`. Tavily takes the language from the query and knows no regions but whole countries."""
        del region, language
        answer = await http.request(
            "POST",
            f"{self._url}/search",
            body={"query": query, "max_results": min(count, 20), "search_depth": "basic", "include_answer": False},
            headers={"Authorization": f"Bearer {self._key}"},
            timeout_s=self._timeout_s,
        )
        check_status(answer, self.name)
        return [
            Hit(text_of(row, "title"), text_of(row, "url"), text_of(row, "content"), text_of(row, "published_date"))
            for row in rows(answer, "results")
        ]
