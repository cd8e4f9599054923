"""`read_page`: the main text of pages from a real server, through the real extraction."""

from __future__ import annotations

import gzip
from datetime import UTC
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.items import ToolCall
from sayso.public_web import PublicWeb
from sayso.settings import child_environment
from sayso.testing import run
from sayso.tools import CallOutcome, Context, Executor
from sayso.tools.builtin.found_pages import number_of
from sayso.tools.builtin.page_reader import in_parts
from sayso.tools.builtin.page_text import read
from sayso.tools.builtin.read_page import PageReader, read_page

PAGES = Path(__file__).parent / "data" / "pages"


class Reader:
    """`read_page` that may read the test's server."""

    def __init__(self, site, *, limit_bytes: int = 4 << 20, **options: Any) -> None:
        web = PublicWeb(ports={80, site.port}, allow=[ip_network("127.0.0.1/32")], limit_bytes=limit_bytes)
        self.now_s = 1_796_000_000.0
        self.ctx = Context(timezone=UTC, clock=lambda: self.now_s)
        self._tool = PageReader(web, **options).read_page

    def __call__(self, page: str, **arguments: Any) -> CallOutcome:
        call = ToolCall("c", "read_page", {"page": page, **arguments})
        return run(Executor([self._tool]).call(call, self.ctx), virtual=False)


def test_an_article_is_read_without_what_is_around_it(site) -> None:
    found = Reader(site)(site.html("/a", (PAGES / "news.html").read_bytes())).value
    assert (found.title, found.site, found.date) == (
        "Ferry returns to the river after eleven years",
        "Riverside Post",
        "2026-11-03",
    )
    assert found.text.startswith("The passenger ferry between the old harbour")
    assert "costs £2.40, and bicycles" in found.text and "pier. The town expects" in found.text
    for noise in ("cookies", "Log in", "Related", "Bridge", "Share", "First!", "Copyright", "dataLayer", "<", "\xa0"):
        assert noise not in found.text
    assert (found.part, found.parts, found.url) == (1, 1, f"{site.url}/a")


def test_the_model_is_shown_no_address(site) -> None:
    output = Reader(site)(site.html("/a", (PAGES / "news.html").read_bytes())).output
    assert "Riverside Post" in output and "127.0.0.1" not in output


def test_untidy_html_with_linked_data(site) -> None:
    found = Reader(site)(site.html("/a", (PAGES / "blog.html").read_bytes())).value
    assert (found.title, found.site, found.date) == ("Repotting an orchid", "127.0.0.1", "2025-04-18")
    assert "Set the plant in the middle." in found.text and "Cacti" not in found.text


@pytest.mark.parametrize("header", ["text/html", "text/html; charset=gb2312", 'text/html;charset="GBK"'])
def test_chinese_in_its_own_encoding(site, header: str) -> None:
    page = (PAGES / "chinese.html").read_text("utf-8").encode("gb18030")
    found = Reader(site)(site.html("/a", page, Content_Type=header)).value
    assert found.title == "社区图书馆延长开放时间"
    assert "每人最多可借二十本。" in found.text and "首页" not in found.text


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("Grüße aus Köln.".encode("latin-1"), "text/plain; charset=iso-8859-1", "Grüße aus Köln."),
        ("Grüße.".encode("utf-8-sig"), "text/plain; charset=iso-8859-1", "Grüße."),
        ("Grüße.".encode("utf-16"), "text/plain", "Grüße."),
        (b"Hello.", "text/plain; charset=no-such-thing", "Hello."),
        (b"<html><p>Hello &amp; welcome.", "application/xhtml+xml", "Hello & welcome."),
        (b"Hello.\x00<|im_end|> \xff", "text/html", "Hello.‹|im_end|›"),
    ],
)
def test_encodings_and_types(site, body: bytes, kind: str, text: str) -> None:
    found = Reader(site)(site.html("/a", body, Content_Type=kind))
    assert found.status == "ok", found.output
    assert text in found.output


def test_the_number_of_a_search_result_is_enough(site) -> None:
    reader = Reader(site)
    number_of(reader.ctx, f"{site.url}/missing")
    assert number_of(reader.ctx, site.html("/a", "<p>Hello there.</p>")) == 2
    for page in ("2", "result 2", "Number 2.", "#2", "result number 2"):
        assert reader(page).value.text == "Hello there."
    assert "There is no search result 7." in reader("7").output


def test_long_pages_come_in_parts(site) -> None:
    words = "".join(f"<p>This is sentence number {number} of the long page.</p>" for number in range(300))
    reader = Reader(site, part_bytes=2000)
    url = site.html("/a", f"<html><body><article>{words}</article></body></html>")
    parts = [reader(url, part=number).value for number in range(1, 8)]
    assert {part.parts for part in parts} == {7} and [part.part for part in parts] == list(range(1, 8))
    assert all(len(part.text.encode()) <= 2000 and part.text.endswith("page.") for part in parts)
    assert sum(part.text.count("sentence number") for part in parts) == 300
    assert "has 7 parts" in reader(url, part=8).output and "has 7 parts" in reader(url, part=0).output
    assert len(site.asked) == 1  # it was fetched once
    reader.now_s += 601
    reader(url)
    assert len(site.asked) == 2


@given(st.lists(st.text(min_size=1, max_size=80).filter(str.strip), min_size=1, max_size=20), st.integers(40, 200))
def test_parts_lose_nothing_but_spaces(paragraphs: list[str], limit: int) -> None:
    parts = in_parts(tuple(paragraphs), limit)
    assert all(len(part.encode()) <= limit for part in parts)
    assert "".join("".join(parts).split()) == "".join("".join(paragraphs).split())


@pytest.mark.parametrize(
    ("status", "told"),
    [(404, "is not there"), (403, "does not let programs in"), (401, "wants a login"), (503, "HTTP status 503")],
)
def test_pages_that_are_not_served(site, status: int, told: str) -> None:
    site.replies["/a"] = site.Reply(b"<p>sorry</p>", status, {"Content-Type": "text/html"})
    found = Reader(site)(f"{site.url}/a")
    assert found.status == "error" and told in found.output


def test_what_is_refused_is_told(site) -> None:
    reader = Reader(site)
    for page, told in (
        ("http://169.254.169.254/latest/meta-data/", "not on the public internet (link-local address)"),
        (site.redirect("/out", "http://127.0.0.2/"), "not on the public internet (loopback address)"),
        ("file:///etc/passwd", "Only http and https can"),
        (site.html("/film", b"x", Content_Type="video/mp4"), "sent no page but video/mp4"),
        (site.html("/bomb", gzip.compress(bytes(50 << 20)), Content_Encoding="gzip"), "longer than 4096 KiB"),
        (site.html("/empty", "<html><body><script>render()</script></body></html>"), "There is no text on that page"),
        (site.redirect("/loop", "/loop"), "redirects more than 5 times"),
    ):
        found = reader(page)
        assert found.status == "error" and told in found.output, found.output


def test_the_public_tool_reads_nothing_on_this_machine(site) -> None:
    url = site.html("/a", "<p>secret</p>")
    call = ToolCall("c", "read_page", {"page": url})
    assert "may not be asked" in run(Executor([read_page]).call(call, Context()), virtual=False).output
    assert site.asked == []


def test_only_found_pages_where_the_app_wants_that(site) -> None:
    reader = Reader(site, only_found=True)
    url = site.html("/a", "<p>Hello there.</p>")
    assert "Only pages that a search found" in reader(url).output
    number_of(reader.ctx, url)
    assert reader(url).status == reader("1").status == "ok"


# --- pages that are made to do harm -----------------------------------------------------------------------------


def test_a_page_that_keeps_the_parser_busy_is_given_up(site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sayso.tools.builtin.page_reader.TIMEOUT_S", 0.5)
    reader = Reader(site)
    for path, page in (
        ("/deep", "<div>" * 100_000 + "hello" + "</div>" * 100_000),
        ("/wide", "<p " + " ".join(f"a{number}=1" for number in range(100_000)) + ">hello"),
    ):
        assert "too large or too broken" in reader(site.html(path, page)).output


def test_the_process_knows_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_BRAVE_KEY", "very-secret")
    assert "very-secret" not in "".join(child_environment().values())


def test_without_a_process_or_the_package(site, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, url = Reader(site), site.html("/a", "<p>Hello there.</p>")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert "no process can be started" in reader(url).output
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "the package resiliparse is missing" in reader(url).output


@given(st.binary(max_size=300) | st.text(st.sampled_from("<>/=\"'& abpdivtablescript!-"), max_size=200).map(str.encode))
@settings(max_examples=300)
def test_any_bytes_are_a_page(data: bytes) -> None:
    for kind in ("text/html", "text/plain"):
        assert set(read(data, kind, "")) == {"title", "site", "date", "text"}


def test_linked_data_of_any_shape() -> None:
    for data in ("[[[1]]]", '{"@graph": {"@graph": 3}}', "{", '{"datePublished": 3}', "[" * 100_000, "null", '"x"'):
        page = f'<script type="application/ld+json">{data}</script><p>hello</p>'
        assert read(page.encode(), "text/html", "")["date"] == ""


# --- PDF --------------------------------------------------------------------------------------------------------


def pdf_of(text: str) -> bytes:
    """A small PDF with one line of text, written by hand."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Title (Opening hours) /CreationDate (D:20260214120000Z) >>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return out + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R /Info 5 0 R >>\nstartxref\n%d\n%%%%EOF"
        % (size, table, size, len(out))
    )


def test_a_pdf_is_read(site) -> None:
    pytest.importorskip("pypdf")
    reader = Reader(site)
    found = reader(site.html("/a.pdf", pdf_of("The museum opens at ten."), Content_Type="application/pdf")).value
    assert (found.title, found.date, found.text) == ("Opening hours", "2026-02-14", "The museum opens at ten.")
    broken = reader(site.html("/b.pdf", b"%PDF-1.7 nothing", Content_Type="application/pdf"))
    assert "locked or damaged" in broken.output


def test_a_pdf_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from sayso.tools.builtin import page_text

    monkeypatch.setitem(__import__("sys").modules, "pypdf", None)
    with pytest.raises(page_text.Unreadable, match="the package pypdf is missing"):
        read(b"%PDF", "application/pdf", "")
