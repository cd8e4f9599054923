"""Text out of files: plain text, Markdown, HTML and PDF, as blocks under headings.

Files are not trusted: whatever is wrong with one becomes `Unreadable`, which says the reason in a few words.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from sayso.tools.documents.decode import decode
from sayso.tools.documents.markup import markdown_blocks, text_blocks

if TYPE_CHECKING:
    from pypdf import PageObject

MAX_BYTES = 10 << 20
"""Of a text, Markdown or HTML file: some thousand pages."""
MAX_PDF_BYTES = 100 << 20
MAX_PDF_PAGES = 3000
MAX_PDF_S = 120.0
"""Between pages of one PDF it is looked whether this has passed."""

KINDS = {
    ".txt": "text",
    ".text": "text",
    ".rst": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
}
"""The files that are indexed, by suffix in lower case."""


class Unreadable(Exception):
    """A file has no text that can be had; the message is the reason, such as "encrypted".

    Attributes:
        lasting: It stays so until the file changes.
    """

    def __init__(self, reason: str, *, lasting: bool = True) -> None:
        super().__init__(reason)
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, a list or a table.

    Attributes:
        text: Without markup.
        headings: Those above it, the outermost first.
        page: From 1, where the file has pages.
    """

    text: str
    headings: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says.

    Attributes:
        title: From the file's own title or first heading, else from its name.
        blocks: In reading order; none is empty.
    """

    title: str
    blocks: tuple[Block, ...]


def size_limit(suffix: str) -> int:
    """Most bytes of a file with this suffix."""
    return MAX_PDF_BYTES if KINDS.get(suffix.lower()) == "pdf" else MAX_BYTES


def extract(name: str, data: bytes) -> Document:
    """The text of a file.

    Args:
        name: The file's name; its suffix decides how ``data`` is read, its stem is the title of last resort.
        data: The whole file.

    Raises:
        Unreadable: Binary, broken, encrypted, or without any text.
    """
    kind = KINDS.get(PurePath(name).suffix.lower(), "text")
    if kind == "pdf":
        title, blocks = _pdf(data)
    else:
        title, blocks = _marked_up(kind, _text(data))
    blocks = tuple(block for block in blocks if block.text)
    if not blocks:
        raise Unreadable("no text in it")
    return Document(_clean_title(title) or title_from_name(name), blocks)


def title_from_name(name: str) -> str:
    """A file's name as it can be spoken: ``returns_policy-2026.md`` is "returns policy 2026"."""
    return " ".join(re.sub(r"[_\-.]+", " ", PurePath(name).stem).split()) or name


def _clean_title(title: str) -> str:
    return " ".join(title.split())[:120]


def _text(data: bytes) -> str:
    text = decode(data)
    if text is None:
        raise Unreadable("binary, not text")
    return text


def _marked_up(kind: str, text: str) -> tuple[str, tuple[Block, ...]]:
    title = ""
    if kind == "html":
        from sayso.tools.documents.html_text import html_to_markdown

        title, text = html_to_markdown(text)
    found = text_blocks(text) if kind == "text" else markdown_blocks(text)
    blocks = tuple(Block(text, headings) for text, headings in found.blocks)
    return title or found.title, blocks


def _pdf(data: bytes) -> tuple[str, tuple[Block, ...]]:
    try:
        from pypdf import PdfReader
        from pypdf.errors import DependencyError, FileNotDecryptedError
    except ImportError:
        words = "a PDF, for which the package pypdf is missing: pip install 'sayso[documents]'"
        raise Unreadable(words, lasting=False) from None
    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("encrypted with a password")
        title = str((reader.metadata and reader.metadata.title) or "")
        return title if _is_title(title) else "", tuple(_pages(reader.pages))
    except Unreadable:
        raise
    except (FileNotDecryptedError, DependencyError):
        raise Unreadable("encrypted") from None
    except Exception as error:  # pypdf raises whatever a broken file leads it to
        raise Unreadable("broken PDF") from error


def _pages(pages: Iterable[PageObject]) -> Iterator[Block]:
    end = time.monotonic() + MAX_PDF_S
    for number, page in enumerate(pages, 1):
        if number > MAX_PDF_PAGES or time.monotonic() > end:
            raise Unreadable(f"too long: stopped at page {number}")
        text = re.sub(r"(?<=\w)-\n(?=[a-z])", "", page.extract_text())
        for paragraph in re.split(r"\n\s*\n", text):
            yield Block(" ".join(paragraph.split()), (), number)


def _is_title(title: str) -> bool:
    """Not "untitled", and not the file name that a word processor left there."""
    return bool(title.strip()) and not re.search(r"untitled|microsoft word|\.\w{2,4}$", title, re.IGNORECASE)
