"""HTML to Markdown: headings, paragraphs, lists and tables; no scripts, forms, navigation or page frame.

Nothing else is judged away, as a main-text heuristic for the web would: in somebody's own handbook a list of short
items is content.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

_SKIPPED = frozenset("script style noscript template svg math nav footer aside form button select iframe".split())
_SKIPPED_ROLES = frozenset("navigation banner contentinfo search complementary menu menubar toolbar".split())
_BREAKING = frozenset(
    "p div br li ul ol tr table caption section article main header blockquote pre dt dd h1 h2 h3 h4 h5 h6 hr".split()
)
_VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())
_HEADING = re.compile(r"h([1-6])")
_MAX_DEPTH = 500


def html_to_markdown(html: str) -> tuple[str, str]:
    """The title of a page, and its visible text with headings marked by ``#``.

    Where a page marks its ``main`` part, only that is taken.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.title, reader.markdown()


class _Reader(HTMLParser):
    """Collects visible text. An element that is never closed ends with its parent."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self._all: list[str] = []
        self._main: list[str] = []
        self._open: list[tuple[str, bool]] = []  # tag, and whether it is skipped

    def markdown(self) -> str:
        """What was read."""
        pieces = self._main if any(piece.strip("# \n") for piece in self._main) else self._all
        lines = (" ".join(line.split()).removeprefix(", ") for line in "".join(pieces).split("\n"))
        return "\n\n".join(line for line in lines if line.strip("# "))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember what is open, break lines."""
        if tag in _BREAKING:
            level = _HEADING.fullmatch(tag)
            self._add("\n" + ("#" * int(level[1]) + " " if level else ""))
        elif tag in ("td", "th"):
            self._add(", ")
        if tag == "body":
            self._open.clear()  # a head that was never closed ends here
        elif tag not in _VOID and len(self._open) < _MAX_DEPTH:
            facts = dict(attrs)
            skipped = tag in _SKIPPED or "hidden" in facts or facts.get("role") in _SKIPPED_ROLES
            self._open.append((tag, skipped))

    def handle_endtag(self, tag: str) -> None:
        """Close it, and whatever was left open in it."""
        if any(tag == name for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass
        if tag in _BREAKING:
            self._add("\n")

    def handle_data(self, data: str) -> None:
        """Keep it."""
        if self._open and self._open[-1][0] == "title" and not any(name == "svg" for name, _ in self._open):
            self.title = " ".join(f"{self.title} {data}".split())
        else:
            self._add(data.replace("\n", " "))

    def _add(self, text: str) -> None:
        if any(skipped or name == "title" for name, skipped in self._open):
            return
        self._all.append(text)
        if any(name == "main" for name, _ in self._open):
            self._main.append(text)
