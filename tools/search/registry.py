"""Which providers there are, and which of them the settings ask for."""

from __future__ import annotations

from collections.abc import Callable

from sayso import settings
from sayso.errors import UsageError
from sayso.tools.search.brave import Brave
from sayso.tools.search.ddg import DuckDuckGo
from sayso.tools.search.provider import Provider
from sayso.tools.search.searxng import SearXNG
from sayso.tools.search.tavily import Tavily

Factory = Callable[[], Provider | None]
"""Makes a provider from the settings, or returns None where they do not have what it needs."""


def _searxng() -> Provider | None:
    url = settings.searxng_url()
    return SearXNG(url) if url else None


def _brave() -> Provider | None:
    key = settings.secret("SAYSO_BRAVE_KEY")
    return Brave(key) if key else None


def _tavily() -> Provider | None:
    key = settings.secret("SAYSO_TAVILY_KEY")
    return Tavily(key) if key else None


def _documents() -> Provider | None:
    from sayso.tools.documents.provider import local_index

    return local_index()


_factories: dict[str, tuple[Factory, str]] = {
    "searxng": (_searxng, "Set SAYSO_SEARXNG_URL."),
    "brave": (_brave, "Set SAYSO_BRAVE_KEY."),
    "tavily": (_tavily, "Set SAYSO_TAVILY_KEY."),
    "ddgs": (DuckDuckGo, ""),
    "documents": (_documents, "Set SAYSO_DOCUMENTS."),
}
"""In the order in which they are asked: what somebody set up is meant, and what is on this machine comes last."""


def register(name: str, factory: Factory, needs: str = "") -> None:
    """Add a provider of one's own; `SAYSO_SEARCH_PROVIDERS` may name it, and without that variable it is asked last.

    Args:
        name: For the variable. A name that is there already gets another factory.
        factory: Called at the first search.
        needs: What to tell who names it but did not set it up.
    """
    _factories[name] = (factory, needs)


def configured() -> list[Provider]:
    """The providers of the settings, in order.

    Raises:
        UsageError: `SAYSO_SEARCH_PROVIDERS` names one that is unknown or not set up.
    """
    wanted = settings.search_providers()
    if not wanted:
        return [made for factory, _ in _factories.values() if (made := factory()) is not None]
    return [_named(name) for name in wanted]


def _named(name: str) -> Provider:
    if name not in _factories:
        raise UsageError(
            f"SAYSO_SEARCH_PROVIDERS names {name!r}, which is no search provider.",
            f"There are: {', '.join(_factories)}.",
        )
    factory, needs = _factories[name]
    made = factory()
    if made is None:
        raise UsageError(f"SAYSO_SEARCH_PROVIDERS names {name}, which is not set up.", needs)
    return made
