"""`Chain`: several providers as one. The first that has an answer gives it; the cleaned hits are remembered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sayso.errors import SaysoError
from sayso.settings import redact
from sayso.tools.search import clean
from sayso.tools.search.dates import leading_date, to_iso
from sayso.tools.search.memory import Memory
from sayso.tools.search.provider import Hit, Provider, SearchError

PASSAGE_BYTES = 320
"""About 20 seconds of speech."""
_REST_S = 60.0
_SPARE = 5
"""Hits that are asked for above those that are wanted, since duplicates go."""
_log = logging.getLogger(__name__)


class UnreachableError(SaysoError):
    """There was no answer; the message says why each did not."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one provider found.

    Attributes:
        hits: Clean, without duplicates, best first. Their dates are ISO dates or empty.
        provider: The name of who found them, or of the first who found nothing.
        offline: They are from this machine and not from the web.
    """

    hits: tuple[Hit, ...]
    provider: str
    offline: bool


class Chain:
    """Asks providers in turn.

    One that fails is asked last for a minute, so that a search does not wait for it again and again.

    Args:
        providers: Best first; or a function that makes them at the first search.
        timeout_s: For each provider.
        cache_size: How many searches are remembered.
        cache_s: How long, in seconds of the caller's clock.
    """

    def __init__(
        self,
        providers: Sequence[Provider] | Callable[[], Sequence[Provider]],
        *,
        timeout_s: float = 5.0,
        cache_size: int = 128,
        cache_s: float = 600.0,
    ) -> None:
        self._given = providers
        self._providers: Sequence[Provider] | None = None
        self._timeout_s = timeout_s
        self._memory: Memory[Found] = Memory(cache_size, cache_s)
        self._resting: Memory[bool] = Memory(32, _REST_S)

    async def search(self, query: str, count: int, region: str, language: str, now_s: float) -> Found:
        """At most ``count`` hits for ``query``.

        Args:
            query: What to look for.
            count: Most hits.
            region: See `Provider.search`.
            language: See `Provider.search`.
            now_s: Unix time of the session's clock.

        Raises:
            UnreachableError: No provider of the web answered, and there is nothing on this machine.
        """
        key = (query.casefold(), count, region, language)
        known = self._memory.get(key, now_s)
        if known is not None:
            return known
        reasons: list[str] = []
        empty: list[Found] = []
        for provider in self._in_turn(now_s):
            try:
                async with asyncio.timeout(self._timeout_s):
                    hits = await provider.search(query, count + _SPARE, region, language)
                found = Found(_cleaned(hits, now_s)[:count], provider.name, provider.offline)
            except Exception as error:
                reasons.append(_reason(provider, error, self._timeout_s))
                self._resting.put(provider.name, True, now_s)
                continue
            if found.hits:
                if not found.offline:  # a local index is quick, and may change
                    self._memory.put(key, found, now_s)
                return found
            empty.append(found)
        if not empty or (reasons and all(found.offline for found in empty)):
            raise UnreachableError("; ".join(reasons) or "no search provider is set up")
        return empty[0]

    def _in_turn(self, now_s: float) -> list[Provider]:
        if self._providers is None:
            self._providers = self._given() if callable(self._given) else self._given
        return sorted(self._providers, key=lambda provider: self._resting.get(provider.name, now_s) is not None)


def _reason(provider: Provider, error: Exception, timeout_s: float) -> str:
    """A clause for the model; what nobody expected is for the log."""
    if isinstance(error, TimeoutError):
        return f"{provider.name} did not answer within {timeout_s:g} s"
    if isinstance(error, SearchError):
        return redact(str(error)).rstrip(".")
    if isinstance(error, SaysoError):
        return redact(f"{provider.name}: {error}").rstrip(".")
    _log.exception("the search provider %s failed", provider.name)
    return f"{provider.name} failed"


def _cleaned(hits: Sequence[Hit], now_s: float) -> tuple[Hit, ...]:
    """Hits fit for speech; of several for one page, or with one text, the first."""
    kept: list[Hit] = []
    seen: set[tuple[str, str]] = set()
    today = datetime.fromtimestamp(now_s, UTC).date()
    for hit in hits:
        tidy = _tidy(hit, today)
        if tidy is None:
            continue
        keys = {("title", clean.same_text(f"{tidy.site} {tidy.title}"))}
        if tidy.url:
            keys.add(("page", clean.same_page(tidy.url)))
        if len(tidy.passage) >= 40:
            keys.add(("text", clean.same_text(tidy.passage)))
        if not keys & seen:
            kept.append(tidy)
        seen |= keys
    return tuple(kept)


def _tidy(hit: Hit, today: date) -> Hit | None:
    """``hit`` cleaned, or None where nothing is left of it or its address is none of the web."""
    if hit.url and not clean.is_web(hit.url):
        return None
    site = clean.plain(hit.site)[:60] or clean.site_of(hit.url)
    title = clean.title(hit.title, site)
    early, text = leading_date(clean.plain(hit.passage), today)
    words = clean.passage(text, PASSAGE_BYTES)
    if not title and not words:
        return None
    url = clean.without_tracking(hit.url) if hit.url else ""
    return Hit(title or site, url, words, to_iso(hit.date, today) or early, site)
