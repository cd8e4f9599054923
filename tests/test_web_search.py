"""`web_search`: real servers that speak the providers' formats, and text that is fit for speech."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso import settings
from sayso.items import ToolCall
from sayso.testing import run
from sayso.tools import CallOutcome, Context, Executor
from sayso.tools.builtin.found_pages import MAX_PAGES, number_of, page_at
from sayso.tools.builtin.web_search import WebSearch
from sayso.tools.search import (
    Brave,
    Chain,
    DuckDuckGo,
    Hit,
    Provider,
    SearchError,
    SearXNG,
    Tavily,
    UnreachableError,
    clean,
    configured,
    register,
    registry,
)
from sayso.tools.search.dates import leading_date, to_iso
from sayso.tools.search.memory import Memory

TODAY = date(2026, 11, 23)
NOW_S = 1_795_392_000.0  # that day, 00:00 UTC


class Searcher:
    """`web_search` with these providers, on a clock that is set by hand."""

    def __init__(self, *providers: Provider, **options: Any) -> None:
        self.now_s = NOW_S
        self.ctx = Context(timezone=UTC, clock=lambda: self.now_s)
        self._tool = WebSearch(providers, **options).web_search

    def __call__(self, query: str = "ferry times", *, virtual: bool = False) -> CallOutcome:
        call = ToolCall("c", "web_search", {"query": query})
        return run(Executor([self._tool]).call(call, self.ctx), virtual=virtual)


class Shelf:
    """A provider that has its hits at hand: what a local index is to the chain."""

    def __init__(self, *hits: Hit, name: str = "the shelf", offline: bool = True) -> None:
        self.hits, self.name, self.offline = hits, name, offline
        self.asked: list[tuple[str, int, str, str]] = []
        self.error: Exception | None = None

    async def search(self, query: str, count: int, region: str, language: str) -> Sequence[Hit]:
        self.asked.append((query, count, region, language))
        if self.error is not None:
            raise self.error
        return self.hits


FERRY = Hit("Ferry times", "https://ferry.example/times", "Boats leave every twenty minutes.")


@pytest.fixture(autouse=True)
def plain_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SAYSO_SEARCH_PROVIDERS", "SAYSO_SEARXNG_URL", "SAYSO_BRAVE_KEY", "SAYSO_TAVILY_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("SAYSO_DOCUMENTS", raising=False)
    monkeypatch.setenv("SAYSO_LOCALE", "en-US")


# --- the providers' formats -------------------------------------------------------------------------------------

SEARXNG = {
    "query": "ferry times",
    "number_of_results": 0,
    "results": [
        {
            "url": "https://www.riverside.example/ferry?utm_source=feed",
            "title": "Ferry returns to the river - Riverside",
            "content": "The passenger ferry started again on Monday. A single ticket costs 2.40 and ...",
            "publishedDate": "2026-11-03T07:45:00",
            "engine": "bing news",
            "engines": ["bing news", "mojeek"],
            "parsed_url": ["https", "www.riverside.example", "/ferry", "", "", ""],
            "template": "default.html",
            "positions": [1, 2],
            "score": 3.0,
            "category": "general",
        },
        {
            "url": "https://harbour.example/boats",
            "title": "Boats of the harbour",
            "content": "Ferries &amp; other boats, with their times.",
            "publishedDate": None,
            "engine": "wikipedia",
            "engines": ["wikipedia"],
            "score": 0.5,
            "category": "general",
        },
    ],
    "answers": [],
    "corrections": [],
    "infoboxes": [],
    "suggestions": [],
    "unresponsive_engines": [["google", "timeout"]],
}
BRAVE = {
    "type": "search",
    "query": {"original": "ferry times", "more_results_available": True, "country": "us"},
    "mixed": {"type": "mixed", "main": [{"type": "web", "index": 0, "all": False}], "top": [], "side": []},
    "web": {
        "type": "search",
        "family_friendly": True,
        "results": [
            {
                "title": "Ferry returns to the river",
                "url": "https://www.riverside.example/ferry",
                "is_source_local": False,
                "description": "The passenger <strong>ferry</strong> started again. It&#x27;s every 20 minutes.",
                "page_age": "2026-11-03T07:45:00",
                "age": "3 weeks ago",
                "profile": {"name": "Riverside", "url": "https://www.riverside.example/ferry", "long_name": "x"},
                "language": "en",
                "meta_url": {"scheme": "https", "netloc": "riverside.example", "hostname": "www.riverside.example"},
            },
            {"title": "Harbour", "url": "https://harbour.example/", "description": "All boats.", "age": "2 days ago"},
        ],
    },
}
TAVILY = {
    "query": "ferry times",
    "follow_up_questions": None,
    "answer": None,
    "images": [],
    "results": [
        {
            "title": "Ferry returns to the river",
            "url": "https://www.riverside.example/ferry",
            "content": "# Ferry\n\n* The ferry started again. [Tickets](https://riverside.example/t) cost 2.40.",
            "score": 0.97,
            "raw_content": None,
            "published_date": "Tue, 03 Nov 2026 07:45:00 GMT",
        },
    ],
    "response_time": 1.09,
}


def test_searxng(site) -> None:
    site.json("/search", SEARXNG)
    found = Searcher(SearXNG(site.url + "/"))("ferry times").value
    first, second = found.results
    assert (first.number, first.title, first.site, first.date) == (
        1,
        "Ferry returns to the river",
        "riverside.example",
        "2026-11-03",
    )
    assert first.passage == "The passenger ferry started again on Monday."
    assert first.url == "https://www.riverside.example/ferry"
    assert (second.date, second.passage) == ("", "Ferries & other boats, with their times.")
    assert (found.source, found.provider) == ("web", "SearXNG")
    (asked,) = site.asked
    assert asked.query == {"q": "ferry times", "format": "json", "language": "en-US", "safesearch": "1"}


def test_brave(site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_LOCALE", "pt_BR.UTF-8")
    site.json("/res/v1/web/search", BRAVE)
    first, second = Searcher(Brave("a-key", url=site.url))().value.results
    assert first.passage == "The passenger ferry started again. It's every 20 minutes."
    assert (first.date, second.date) == ("2026-11-03", "2026-11-21")
    (asked,) = site.asked
    assert asked.headers["x-subscription-token"] == "a-key"
    assert asked.query == {
        "q": "ferry times",
        "count": "9",
        "country": "BR",
        "search_lang": "pt-br",
        "result_filter": "web",
    }


@pytest.mark.parametrize(
    ("language", "region", "sent"),
    [("ja", "jp", ("jp", "JP")), ("zh", "tw", ("zh-hant", "TW")), ("zh", "cn", ("zh-hans", "CN")), ("sw", "ke", None)],
)
def test_brave_names_languages_in_its_own_way(site, language: str, region: str, sent: tuple[str, str] | None) -> None:
    site.json("/res/v1/web/search", BRAVE)
    run(Brave("a-key", url=site.url).search("x", 3, region, language), virtual=False)
    query = site.asked[0].query
    assert (query.get("search_lang"), query["country"]) == (sent or (None, "ALL"))


def test_tavily(site) -> None:
    site.json("/search", TAVILY)
    (only,) = Searcher(Tavily("a-key", url=site.url))().value.results
    assert (only.passage, only.date) == ("Ferry The ferry started again. Tickets cost 2.40.", "2026-11-03")
    (asked,) = site.asked
    assert asked.method == "POST" and asked.headers["authorization"] == "Bearer a-key"
    assert json.loads(asked.body)["query"] == "ferry times"


DDG = """<html><body><div id="links" class="results">
<div class="result results_links web-result"><div class="links_main links_deep result__body">
<h2 class="result__title"><a class="result__a" href="https://www.riverside.example/ferry">Ferry returns</a></h2>
<a class="result__snippet" href="https://www.riverside.example/ferry">Nov 3, 2026 · The <b>ferry</b> started again.</a>
</div></div>
<div class="result result--ad"><div class="links_main result__body"><h2><a>Buy tickets</a></h2>
<a class="result__snippet" href="https://duckduckgo.com/y.js?ad_domain=x">An advertisement.</a></div></div>
</div></body></html>"""


@pytest.fixture
def duckduckgo(site, monkeypatch: pytest.MonkeyPatch) -> DuckDuckGo:
    """The real ddgs, whose engine asks the test's server."""
    engine = pytest.importorskip("ddgs.engines.duckduckgo").Duckduckgo
    monkeypatch.setattr(engine, "search_url", f"{site.url}/html/")
    return DuckDuckGo(backends="duckduckgo", timeout_s=1)


def test_duckduckgo(site, duckduckgo: DuckDuckGo) -> None:
    site.html("/html/", DDG)
    (only,) = Searcher(duckduckgo)("天气 ferry").value.results
    assert (only.title, only.site, only.date, only.passage) == (
        "Ferry returns",
        "riverside.example",
        "2026-11-03",
        "The ferry started again.",
    )
    assert b"l=cn-zh" in site.asked[0].body  # asked in Chinese


def test_duckduckgo_finds_nothing_or_is_not_there(site, duckduckgo: DuckDuckGo, monkeypatch) -> None:
    site.html("/html/", "<html><body>No results.</body></html>")
    assert Searcher(duckduckgo)().say == "I found nothing about that."
    monkeypatch.setattr("ddgs.engines.duckduckgo.Duckduckgo.search_url", "http://127.0.0.1:1/")
    assert "Search is unreachable: DuckDuckGo cannot be reached." in Searcher(duckduckgo)().output


def test_duckduckgo_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ddgs", None)
    assert "DuckDuckGo needs the package ddgs" in Searcher(DuckDuckGo())().output


# --- when providers fail ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, b"{}", "Brave does not accept the key"),
        (422, b"{}", "Brave did not understand the request"),
        (429, b"{}", "Brave says that there were too many searches"),
        (500, b"", "Brave answered with HTTP status 500"),
        (200, b"<html>Log in</html>", "the answer of 127.0.0.1 makes no sense"),
        (200, b"[]", "the answer of 127.0.0.1 makes no sense"),
        (200, b'{"web": 3}', "the answer of 127.0.0.1 makes no sense"),
        (200, b'{"web": {"results": {"a": 1}}}', "the answer of 127.0.0.1 makes no sense"),
        (200, bytes(3 << 20), "longer than"),
    ],
)
def test_a_provider_that_fails_is_named(site, status: int, body: bytes, told: str) -> None:
    site.replies["/res/v1/web/search"] = site.Reply(body, status, {"Content-Type": "application/json"})
    found = Searcher(Brave("k", url=site.url))()
    assert found.status == "error" and "Search is unreachable: " in found.output
    assert told in found.output and "do not guess" in found.output


@pytest.mark.parametrize("body", [{"web": {"results": [3, None, {}, {"title": 1, "url": []}]}}, {"web": {}}, {}])
def test_rows_that_make_no_sense_are_left_out(site, body: object) -> None:
    site.json("/res/v1/web/search", body)
    found = Searcher(Brave("k", url=site.url))()
    assert found.value.results == [] and found.say == "I found nothing about that."


def test_searxng_without_json_says_what_to_change(site) -> None:
    site.replies["/search"] = site.Reply(b"", 403)
    assert "does not serve JSON (its setting search.formats)" in Searcher(SearXNG(site.url))().output


def test_a_slow_provider_is_passed_over(site) -> None:
    site.replies["/search"] = site.Reply(b"{", stall=True)
    found = Searcher(SearXNG(site.url, timeout_s=0.2), Shelf(FERRY))()
    assert found.value.source == "documents on this machine"
    found = Searcher(SearXNG(site.url), timeout_s=0.2)()
    assert "SearXNG did not answer within 0.2 s" in found.output


def test_keys_are_not_told(site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_BRAVE_KEY", "very-secret")
    key = settings.secret("SAYSO_BRAVE_KEY") or ""
    shelf = Shelf()
    shelf.error = SearchError(f"it says {key} is wrong")
    assert "[SAYSO_BRAVE_KEY] is wrong" in Searcher(shelf)(virtual=True).output


def test_all_reasons_are_told_in_turn() -> None:
    first, second = Shelf(name="One"), Shelf(name="Two")
    first.error, second.error = SearchError("One is away"), ValueError("a bug: <html>")
    found = Searcher(first, second)(virtual=True)
    assert "Search is unreachable: One is away; Two failed. Tell the user" in found.output
    assert "no search provider is set up" in Searcher()(virtual=True).output


def test_who_failed_is_asked_last_for_a_minute() -> None:
    first, second = Shelf(FERRY, name="One"), Shelf(FERRY, name="Two")
    first.error = SearchError("One is away")
    search = Searcher(first, second)
    for _ in range(3):
        assert search(virtual=True).value.provider == "Two"
    assert len(first.asked) == 1
    search.now_s += 61
    first.error = None
    assert search(virtual=True).value.provider == "One"


def test_who_finds_nothing_is_followed_by_the_next() -> None:
    empty, full = Shelf(name="One", offline=False), Shelf(FERRY, name="Two", offline=False)
    assert Searcher(empty, full)(virtual=True).value.provider == "Two"
    failing = Shelf(name="Three")
    failing.error = SearchError("Three is away")
    assert "Three is away" in Searcher(failing, Shelf())(virtual=True).output  # no documents is not: nothing on the web
    assert Searcher(Shelf())(virtual=True).status == "ok"
    assert Searcher(empty, failing)(virtual=True).say == "I found nothing about that."


def test_a_provider_that_hangs_is_cut_off() -> None:
    class Hangs(Shelf):
        async def search(self, query: str, count: int, region: str, language: str) -> Sequence[Hit]:
            await asyncio.sleep(3600)
            return ()

    with pytest.raises(UnreachableError, match="One did not answer within 5 s"):
        run(Chain([Hangs(name="One")]).search("x", 3, "us", "en", 0.0))


# --- what the tool makes of it ----------------------------------------------------------------------------------


def test_duplicates_go_and_the_order_stays() -> None:
    shelf = Shelf(
        Hit("Ferry times", "https://www.ferry.example/times/?utm_campaign=x#top", "Boats leave every twenty minutes."),
        Hit("Times, again", "http://m.ferry.example/times", "Boats leave often."),
        Hit("Ferry times", "https://ferry.example/times?b=2&a=1", "Something else."),
        Hit("Copied", "https://copies.example/1", "BOATS leave every twenty minutes, on all days of the year!"),
        Hit(
            "Copied once more", "https://copies.example/2", "Boats leave every twenty minutes on all days of the year."
        ),
        Hit("Script", "javascript:alert(1)", "No page."),
        Hit("", "https://empty.example/", "..."),
        Hit("A note", "", "From a document."),
        Hit("Last", "https://last.example/", ""),
    )
    found = Searcher(shelf, count=8)(virtual=True).value
    assert [(hit.number, hit.title) for hit in found.results] == [
        (1, "Ferry times"),
        (2, "Copied"),
        (0, "A note"),
        (3, "Last"),
    ]


def test_results_are_remembered_for_a_while() -> None:
    shelf = Shelf(FERRY, offline=False)
    search = Searcher(shelf, cache_s=100.0)
    first = search("Ferry  times ", virtual=True)
    assert search("ferry times", virtual=True).output == first.output and len(shelf.asked) == 1
    search("ferry prices", virtual=True)
    assert len(shelf.asked) == 2
    search.now_s += 101
    search("ferry times", virtual=True)
    assert len(shelf.asked) == 3
    local = Shelf(FERRY)
    search = Searcher(local)
    search(virtual=True), search(virtual=True)
    assert len(local.asked) == 2  # a local index may change


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.floats(-5, 30)), max_size=60), st.integers(1, 5))
def test_the_memory_keeps_the_last_ones(steps: list[tuple[int, bool, float]], size: int) -> None:
    memory: Memory[int] = Memory(size, 10.0)
    now, put = 0.0, {}
    for key, writes, seconds in steps:
        now += seconds
        if writes:
            memory.put(key, key, now)
            put[key] = now
        else:
            found = memory.get(key, now)
            assert found in (None, key) and (found is None or 0 <= now - put[key] < 10.0)
    assert sum(memory.get(key, now) is not None for key in range(10)) <= size


def test_the_model_is_shown_numbers_and_no_addresses() -> None:
    search = Searcher(Shelf(FERRY))
    output = search(virtual=True).output
    assert '"number":1,"title":"Ferry times","site":"ferry.example"' in output and "https://" not in output
    assert page_at(search.ctx, 1) == "https://ferry.example/times"


def test_numbers_stay_in_a_session_and_old_pages_go() -> None:
    ctx = Context()
    for number in range(1, MAX_PAGES + 11):
        assert number_of(ctx, f"https://example.com/{number}") == number
    assert number_of(ctx, "https://example.com/50") == 50
    assert page_at(ctx, 10) is None and page_at(ctx, 11) == "https://example.com/11"


@pytest.mark.parametrize(
    ("query", "language", "region"),
    [
        ("weather in Paris", "en", "us"),
        ("北京天气", "zh", "cn"),
        ("東京の天気", "ja", "jp"),
        ("서울 날씨", "ko", "kr"),
        ("погода в Москве", "ru", "ru"),
    ],
)
def test_the_language_is_that_of_the_query(query: str, language: str, region: str) -> None:
    shelf = Shelf(FERRY)
    Searcher(shelf, count=2)(query, virtual=True)
    assert shelf.asked == [(query, 7, region, language)]


def test_the_users_own_region_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_LOCALE", "zh-TW")
    shelf = Shelf(FERRY)
    Searcher(shelf)("台北天氣", virtual=True)
    assert shelf.asked[0][2:] == ("tw", "zh")


def test_there_has_to_be_a_question() -> None:
    assert "nothing to search for" in Searcher(Shelf(FERRY))("  ", virtual=True).output
    shelf = Shelf(FERRY)
    Searcher(shelf)("long " * 200, virtual=True)
    assert len(shelf.asked[0][0]) == 300


# --- settings ---------------------------------------------------------------------------------------------------


def names_of(providers: Sequence[Provider]) -> list[str]:
    return [provider.name for provider in providers]


def test_what_is_set_up_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert names_of(configured()) == ["DuckDuckGo"]
    monkeypatch.setenv("SAYSO_SEARXNG_URL", "https://search.example")
    monkeypatch.setenv("SAYSO_TAVILY_KEY", "tvly-test-key")
    assert names_of(configured()) == ["SearXNG", "Tavily", "DuckDuckGo"]
    monkeypatch.setenv("SAYSO_SEARCH_PROVIDERS", " ddgs, SearXNG,")
    assert names_of(configured()) == ["DuckDuckGo", "SearXNG"]


@pytest.mark.parametrize(
    ("names", "told"),
    [("altavista", "'altavista', which is no search provider"), ("brave", "not set up. Set SAYSO_BRAVE_KEY")],
)
def test_settings_that_cannot_be(monkeypatch: pytest.MonkeyPatch, names: str, told: str) -> None:
    monkeypatch.setenv("SAYSO_SEARCH_PROVIDERS", names)
    call = ToolCall("c", "web_search", {"query": "x"})
    output = run(Executor([WebSearch().web_search]).call(call, Context())).output
    assert "Search is not set up" in output and told in output


def test_a_provider_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))
    register("shelf", lambda: Shelf(FERRY))
    assert names_of(configured()) == ["DuckDuckGo", "the shelf"]
    monkeypatch.setenv("SAYSO_SEARCH_PROVIDERS", "shelf")
    assert names_of(configured()) == ["the shelf"]


@pytest.mark.parametrize(
    ("value", "found"),
    [("de-AT", ("de", "at")), ("en_GB.UTF-8", ("en", "gb")), ("C.UTF-8", ("en", "us")), ("", ("en", "us"))],
)
def test_locales(monkeypatch: pytest.MonkeyPatch, value: str, found: tuple[str, str]) -> None:
    for name in ("SAYSO_LOCALE", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", value)
    assert settings.locale() == found


# --- text for speech --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "spoken"),
    [
        ("The <strong>ferry</strong> is back. A ticket costs $2.40 and", "The ferry is back."),
        (
            "Rice keeps four days. ... Learn more at https://x.example/?utm_source=a (www.x.example).",
            "Rice keeps four days.",
        ),
        (
            "Dr. Smith of the U.S. Geological Survey measured 5.6 on Nov. 3. There was no",
            "Dr. Smith of the U.S. Geological Survey measured 5.6 on Nov. 3.",
        ),
        (
            "[1] **Python** is a [language](https://python.org). It is `dynamic`. * It has lists.",
            "Python is a language. It is dynamic. It has lists.",
        ),
        ("...and the team won 3-2 after extra time", "and the team won 3-2 after extra time"),
        (
            "Boats leave often ... and return ... Tickets are cheap.",
            "Boats leave often, and return. Tickets are cheap.",
        ),
        ("图书馆延长开放…… 每人可借二十本。周末的儿童", "图书馆延长开放。每人可借二十本。"),
        ("Home › Food › Rice", "Home, Food, Rice"),
        ("&lt;b&gt;Bold&lt;/b&gt; text &amp; more.", "Bold text & more."),
        ("<script>alert('x')</script>Hello <br/>you.<!-- no -->", "Hello you."),
        ("Is it safe? Yes! It costs 3 < 4 euros.", "Is it safe? Yes! It costs 3 < 4 euros."),
        ("zero\u200bwidth\ufeff and \u202ebackwards", "zerowidth and backwards"),
        ("...", ""),
        ("", ""),
    ],
)
def test_passages(sent: str, spoken: str) -> None:
    assert clean.passage(sent, 320) == spoken


@given(
    st.text(max_size=400) | st.text(st.sampled_from("ab A.!?…<>/[](){}*`|,。！字 \n"), max_size=200),
    st.integers(8, 120),
)
def test_any_text_makes_a_passage(sent: str, limit: int) -> None:
    spoken = clean.passage(sent, limit)
    assert len(spoken.encode()) <= limit and spoken == spoken.strip()
    assert "…" not in spoken and "..." not in spoken
    assert sent[:limit].startswith(clean.cut(sent, limit))


@pytest.mark.parametrize(
    ("title", "site", "spoken"),
    [
        ("Ferry returns - Riverside Post", "riversidepost.com", "Ferry returns"),
        ("GitHub - some/project: A library", "github.com", "some/project: A library"),
        ("Rice | How long does it keep? | Food Safety UK", "foodsafety.co.uk", "Rice | How long does it keep?"),
        ("Orchid - Wikipedia", "en.wikipedia.org", "Orchid"),
        ("A - B - C", "abc.com", "A - B - C"),
        ("北京天气预报_中国天气网", "weather.com.cn", "北京天气预报"),
        ("How to boil an egg ...", "x.com", "How to boil an egg"),
    ],
)
def test_titles(title: str, site: str, spoken: str) -> None:
    assert clean.title(title, site) == spoken


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-11-03T07:45:00Z", "2026-11-03"),
        ("2026/1/3", "2026-01-03"),
        ("2026年11月3日", "2026-11-03"),
        ("Nov 3, 2026", "2026-11-03"),
        ("November 3rd, 2026", "2026-11-03"),
        ("3 Sept. 2026", "2026-09-03"),
        ("Tue, 03 Nov 2026 07:45:00 GMT", "2026-11-03"),
        ("2 days ago", "2026-11-21"),
        ("an hour ago", "2026-11-23"),
        ("1 week ago", "2026-11-16"),
        ("yesterday", "2026-11-22"),
        ("2026-13-03", ""),
        ("0026-11-03", ""),
        ("soon", ""),
        ("", ""),
    ],
)
def test_dates(text: str, iso: str) -> None:
    assert to_iso(text, TODAY) == iso


@given(st.text(max_size=40) | st.text(st.sampled_from("0123456789-/:, ago dysNov年月日"), max_size=30))
def test_any_text_is_a_date_or_none(text: str) -> None:
    iso = to_iso(text, TODAY)
    assert iso == "" or date.fromisoformat(iso)


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)))
def test_dates_come_back(day: date) -> None:
    for text in (day.isoformat(), f"{day:%b} {day.day}, {day.year}", f"{day.day} {day:%B} {day.year}"):
        assert to_iso(text, TODAY) == day.isoformat()
        assert leading_date(f"{text} · The rest.", TODAY)[1] == "The rest." or "-" in text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://www.example.com/a/?utm_source=x&b=1&a=2#frag", "http://m.example.com/a?a=2&b=1"),
        ("https://example.com/a/index.html", "https://example.com/a"),
        ("https://example.com/story/amp", "https://amp.example.com/story?gclid=3"),
    ],
)
def test_addresses_of_one_page(one: str, other: str) -> None:
    assert clean.same_page(one) == clean.same_page(other)


def test_what_tells_pages_apart_stays() -> None:
    url = "https://example.com/watch?v=a%20b&list=2&ref=main"
    assert clean.without_tracking(f"{url}&utm_medium=mail&fbclid=1#t") == url
    assert clean.same_page("https://example.com/?p=1") != clean.same_page("https://example.com/?p=2")
