"""A page's title, site, date and main text. Runs as a process of its own, by path, so it imports nothing of sayso.

A page may be made to keep a parser busy for minutes, to fill the memory or to crash it. Here it can spend only this
process: the parent (`sayso.tools.builtin.page_reader`) kills it in time, and it has limits of its own.

Arguments: the media type, and the charset of the HTTP header or an empty string. The page comes on stdin. What goes to
stdout is a JSON object of strings with ``title``, ``site``, ``date`` and ``text``, or with ``error`` alone.
"""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

MAX_CHARS = 200_000
MAX_PDF_PAGES = 60
_CPU_S = 6
_MEMORY_BYTES = 1 << 30
_SHORT_BYTES = 250
"""A main text that is shorter is likely a mistake of the extraction: then the whole page
counts."""
_SITE = ('meta[property="og:site_name"]', 'meta[name="application-name"]')
_TITLE = ('meta[property="og:title"]', 'meta[name="twitter:title"]')
_DATE = (
    'meta[property="article:published_time"]',
    'meta[property="og:published_time"]',
    'meta[itemprop="datePublished"]',
    'meta[name="date"]',
    'meta[name="pubdate"]',
    'meta[name="publishdate"]',
    'meta[name="PubDate"]',
    'meta[name="dc.date"]',
    'meta[name="DC.date.issued"]',
    'meta[name="citation_publication_date"]',
)


class Unreadable(Exception):
    """A page that cannot be read; the message is for the model."""


def main() -> None:
    """Read stdin, write stdout."""
    _limit_self()
    try:
        answer = read(sys.stdin.buffer.read(), sys.argv[1], sys.argv[2])
    except Unreadable as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer))


def read(data: bytes, kind: str, charset: str) -> dict[str, str]:
    """The parts of a page.

    Args:
        data: Its body.
        kind: Its media type.
        charset: As the server named it; empty where it did not.
    """
    if kind == "application/pdf":
        return _pdf(data)
    if kind == "text/plain":
        return {"title": "", "site": "", "date": "", "text": _decode(data, charset)[:MAX_CHARS]}
    return _page(data, charset)


def _page(data: bytes, charset: str) -> dict[str, str]:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(_decode(data, charset, html=True))

    def text(main_content: bool) -> str:
        return extract_plain_text(
            tree,
            main_content=main_content,
            list_bullets=False,
            alt_texts=False,
            comments=False,
            post_meta=False,
        )

    found = text(main_content=True)
    if len(found.encode()) < _SHORT_BYTES:
        found = max(found, text(main_content=False), key=len)
    facts = _linked_data(tree)
    return {
        "title": _meta(tree, _TITLE) or facts.get("headline", "") or " ".join((tree.title or "").split()),
        "site": _meta(tree, _SITE),
        "date": _meta(tree, _DATE) or facts.get("datePublished", "") or _first_time(tree),
        "text": found[:MAX_CHARS],
    }


def _decode(data: bytes, charset: str, *, html: bool = False) -> str:
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5

    named = map_encoding_to_html5(charset, fallback_utf8=False) if charset else None
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        named = "utf-8" if data[0] == 0xEF else "utf-16-le" if data[0] == 0xFF else "utf-16-be"
    encoding = named or detect_encoding(data, from_html_meta=html) or "utf-8"
    return bytes_to_str(data, encoding, errors="replace")


def _meta(tree: HTMLTree, selectors: tuple[str, ...]) -> str:
    head = tree.document
    for selector in selectors:
        node = head.query_selector(selector) if head else None
        content = node.getattr("content") if node else None
        if content and content.strip():
            return " ".join(content.split())[:300]
    return ""


def _first_time(tree: HTMLTree) -> str:
    for selector in ("article time[datetime]", "main time[datetime]", "time[datetime]"):
        node = tree.document.query_selector(selector) if tree.document else None
        if node:
            return (node.getattr("datetime") or "")[:40]
    return ""


def _linked_data(tree: HTMLTree) -> dict[str, str]:
    """Headline and date of the first article in the page's schema.org data."""
    scripts = tree.document.query_selector_all('script[type="application/ld+json"]') if tree.document else []
    for script in list(scripts)[:10]:
        try:
            waiting: list[Any] = [json.loads(script.text or "")]
        except (ValueError, RecursionError):
            continue
        for _ in range(200):
            if not waiting:
                break
            item = waiting.pop(0)
            if isinstance(item, list):
                waiting += cast("list[Any]", item)
            elif isinstance(item, dict):
                fields = cast("dict[str, Any]", item)
                if isinstance(fields.get("datePublished"), str):
                    return {key: str(fields[key])[:300] for key in ("headline", "datePublished") if key in fields}
                waiting.append(fields.get("@graph"))
    return {}


def _pdf(data: bytes) -> dict[str, str]:
    try:
        import pypdf
        from pypdf.errors import PyPdfError
    except ImportError:
        raise Unreadable("It is a PDF, and PDFs cannot be read here (the package pypdf is missing)") from None
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        pages = [page.extract_text() for page in reader.pages[:MAX_PDF_PAGES]]
        facts = reader.metadata
        title = (facts.title if facts else None) or ""
        made = facts.creation_date if facts else None
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError):
        raise Unreadable("It is a PDF that is locked or damaged") from None
    date = made.date().isoformat() if made else ""
    return {"title": title[:300], "site": "", "date": date, "text": "\n\n".join(pages)[:MAX_CHARS]}


def _limit_self() -> None:
    try:
        import resource
    except ImportError:  # not POSIX: the parent's time limit remains
        return
    for kind, most in ((resource.RLIMIT_CPU, _CPU_S), (resource.RLIMIT_AS, _MEMORY_BYTES)):
        try:
            resource.setrlimit(kind, (most, most))
        except (ValueError, OSError):
            continue


if __name__ == "__main__":
    main()
