"""Searching the web: providers, a chain of them, and text fit for speech."""

from sayso.tools.search.brave import Brave
from sayso.tools.search.chain import Chain, Found, UnreachableError
from sayso.tools.search.ddg import DuckDuckGo
from sayso.tools.search.provider import Hit, Provider, SearchError
from sayso.tools.search.registry import configured, register
from sayso.tools.search.searxng import SearXNG
from sayso.tools.search.tavily import Tavily

__all__ = [
    "Brave",
    "Chain",
    "DuckDuckGo",
    "Found",
    "Hit",
    "Provider",
    "SearXNG",
    "SearchError",
    "Tavily",
    "UnreachableError",
    "configured",
    "register",
]
