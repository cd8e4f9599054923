"""DuckDuckGo and the engines behind it, without a key: the `ddgs` package."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from sayso.tools.invoke import in_thread
from sayso.tools.search.provider import Hit, SearchError

BACKENDS = "duckduckgo,brave,mojeek,startpage"
"""The engines that are asked, by their names in ddgs. Left to itself it would ask encyclopedias first."""


class DuckDuckGo:
    """Asks public search pages through ddgs, which brings its own HTTP client and is not async: it runs in a thread.

    Args:
        backends: Names of ddgs engines, comma-separated.
        timeout_s: For each engine; whole seconds.
    """

    name = "DuckDuckGo"
    offline = False

    def __init__(self, *, backends: str = BACKENDS, timeout_s: float = 4.0) -> None:
        self._backends = backends
        self._timeout_s = timeout_s

    async def search(self, query: str, count: int, region: str, language: str) -> Sequence[Hit]:
        """See `Provider`."""

        def ask() -> list[dict[str, Any]]:
            return self._ask(query, count, f"{'uk' if region == 'gb' else region}-{language}")

        found = cast("list[dict[str, Any]]", await in_thread(ask, "web_search"))
        return [Hit(str(row["title"]), str(row["href"]), str(row["body"])) for row in found]

    def _ask(self, query: str, count: int, region: str) -> list[dict[str, Any]]:
        try:
            from ddgs import DDGS
            from ddgs.exceptions import DDGSException
        except ImportError:
            raise SearchError("DuckDuckGo needs the package ddgs (pip install 'sayso[web]')") from None
        try:
            engines = DDGS(timeout=math.ceil(self._timeout_s))
            return engines.text(query, region=region, max_results=count, backend=self._backends)
        except DDGSException as error:
            if "No results found" in str(error):
                return []
            raise SearchError(f"DuckDuckGo {_reason(str(error))}") from None


def _reason(message: str) -> str:
    """The package wraps its client's errors in their reprs, which are nothing to read out."""
    return "did not answer in time" if "timed out" in message.lower() else "cannot be reached"
