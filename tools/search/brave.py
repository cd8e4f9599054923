"""Brave's web search API: https://api-dashboard.search.brave.com/app/documentation/web-search."""

from __future__ import annotations

from collections.abc import Sequence

from sayso import http
from sayso.tools.search.provider import Hit, check_status, rows, text_of

_COUNTRIES = frozenset(
    "ar au at be br ca cl dk fi fr de gr hk in id it jp kr my mx nl nz no cn pl pt ph ru sa za es se ch tw tr gb "
    "us".split()
)
_LANGUAGES = frozenset(
    "ar eu bn bg ca hr cs da nl en et fi fr gl de el gu he hi hu is it kn ko lv lt ms ml mr nb pl pa ro ru sr sk sl es "
    "sv ta te th tr uk vi".split()
)
_OWN_NAMES = {"zh": "zh-hans", "ja": "jp", "pt": "pt-pt", "no": "nb"}
"""Brave refuses a country or a language that is not on its lists, and names a few in its own way."""


class Brave:
    """Asks Brave.

    Args:
        key: The subscription token.
        url: Of the service; another one in tests.
        timeout_s: For a request.
    """

    name = "Brave"
    offline = False

    def __init__(self, key: str, *, url: str = "https://api.search.brave.com", timeout_s: float = 5.0) -> None:
        self._key = key
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s

    async def search(self, query: str, count: int, region: str, language: str) -> Sequence[Hit]:
        """See `Provider`."""
        params: dict[str, str | int | float] = {
            "q": query,
            "count": min(count, 20),
            "country": region.upper() if region in _COUNTRIES else "ALL",
            "result_filter": "web",
        }
        if spoken := _spoken(language, region):
            params["search_lang"] = spoken
        answer = await http.request(
            "GET",
            f"{self._url}/res/v1/web/search",
            params=params,
            headers={"X-Subscription-Token": self._key, "Accept": "application/json"},
            timeout_s=self._timeout_s,
        )
        check_status(answer, self.name)
        return [_hit(row) for row in rows(answer, "web", "results")]


def _hit(row: dict[str, object]) -> Hit:
    date = text_of(row, "page_age") or text_of(row, "age")
    return Hit(text_of(row, "title"), text_of(row, "url"), text_of(row, "description"), date)


def _spoken(language: str, region: str) -> str:
    if (language, region) == ("pt", "br"):
        return "pt-br"
    if language == "zh" and region in ("tw", "hk"):
        return "zh-hant"
    return _OWN_NAMES.get(language, language if language in _LANGUAGES else "")
