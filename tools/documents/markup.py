"""Headings and paragraphs of Markdown, reStructuredText and plain text, without their markup."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_LINE_CHARS = 5000
"""A longer line keeps its markup: some patterns take time by the square of its length."""

_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*")
_UNDERLINE = re.compile(r"([=\-~^\"'*+#`:.])\1{2,}[ \t]*")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|$)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?(?:-->|$)", re.DOTALL)
_TABLE_RULE = re.compile(r"[\s|:+=\-]+")
_INLINE = (
    (re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:[ \t]+\"[^\"]*\")?\)"), r"\1"),  # [words](address "title")
    (re.compile(r"!?\[([^\[\]]*)\]\[[^\[\]]*\]"), r"\1"),
    (re.compile(r"<(?:https?://|mailto:)([^<>\s]+)>"), r"\1"),
    (re.compile(r"</?[a-zA-Z][^<>]{0,200}>"), " "),
    (re.compile(r"`+([^`]+)`+"), r"\1"),
    (re.compile(r"(\*\*|__|~~)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<!\w)([*_])(?=\S)(.+?)(?<=\S)\1(?!\w)"), r"\2"),
)
_BULLET = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])[ \t]+")
_QUOTE = re.compile(r"^\s*(?:>[ \t]?)+")


@dataclass(slots=True)
class Marked:
    """What was found in a text.

    Attributes:
        title: Its first heading of the first level, or what its front matter calls it; may be empty.
        blocks: Each paragraph with the headings above it.
    """

    title: str = ""
    blocks: list[tuple[str, tuple[str, ...]]] = field(default_factory=list[tuple[str, tuple[str, ...]]])


def markdown_blocks(text: str) -> Marked:
    """Markdown: headings with ``#`` or underlined; links, emphasis and tags lose their markup; code stays."""
    title = ""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if front := _FRONT_MATTER.match(text):
        named = _FRONT_TITLE.search(front[1])
        title, text = named[1] if named else "", text[front.end() :]
    reader = _Reader(markdown=True)
    found = reader.read(_COMMENT.sub("", text))
    found.title = title or found.title
    return found


def text_blocks(text: str) -> Marked:
    """Plain text and reStructuredText: paragraphs between empty lines, headings where a line is underlined."""
    return _Reader(markdown=False).read(text.replace("\r\n", "\n").replace("\r", "\n"))


class _Reader:
    """Line by line; a paragraph is closed by an empty line, a heading or a fence."""

    def __init__(self, *, markdown: bool) -> None:
        self._markdown = markdown
        self._found = Marked()
        self._headings: list[tuple[int, str]] = []
        self._lines: list[str] = []
        self._underlines: dict[str, int] = {"=": 1, "-": 2} if markdown else {}

    def read(self, text: str) -> Marked:
        """All of ``text``."""
        fence = ""
        for line in text.split("\n"):
            opened = _FENCE.match(line) if self._markdown else None
            if fence:
                if opened and opened[1].startswith(fence):
                    fence = ""
                else:
                    self._lines.append(line)
            elif opened:
                fence = opened[1]
            elif not line.strip():
                self._close()
            elif self._markdown and (heading := _ATX.fullmatch(line)):
                self._close()
                self._head(len(heading[1]), heading[2])
            elif self._is_underline(line):
                title = self._lines.pop()
                self._close()
                self._head(self._level(line[0]), title)
            else:
                if self._markdown and _BULLET.match(line):
                    self._close()  # each item of a list stands alone
                self._lines.append(line)
        self._close()
        return self._found

    def _is_underline(self, line: str) -> bool:
        """Under a paragraph of one line that is hardly longer than it, or that an overline opens."""
        if not _UNDERLINE.fullmatch(line) or not self._lines:
            return False
        if len(self._lines) == 2 and _UNDERLINE.fullmatch(self._lines[0]):
            del self._lines[0]
        title = self._lines[0].strip()
        alone = len(self._lines) == 1 and not _UNDERLINE.fullmatch(title)
        if self._markdown:
            return alone and line[0] in "=-"
        return alone and len(line.rstrip()) >= len(title) * 0.8

    def _level(self, mark: str) -> int:
        """In reStructuredText, a mark gets the next level where it is first used."""
        return self._underlines.setdefault(mark, len(self._underlines) + 1)

    def _head(self, level: int, text: str) -> None:
        text = self._clean(text)
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        if text:
            self._headings.append((level, text[:120]))
            if level == 1 and not self._found.title:
                self._found.title = text[:120]

    def _close(self) -> None:
        lines = [self._clean(line) for line in self._lines if not _TABLE_RULE.fullmatch(line)]
        self._lines = []
        if text := " ".join(line for line in lines if line):
            self._found.blocks.append((text, tuple(heading for _, heading in self._headings)))

    def _clean(self, line: str) -> str:
        if self._markdown:
            line = _BULLET.sub("", _QUOTE.sub("", line))
            if len(line) <= MAX_LINE_CHARS:
                for pattern, words in _INLINE:
                    line = pattern.sub(words, line)
            if line.lstrip().startswith("|"):
                line = ", ".join(cell.strip() for cell in line.strip().strip("|").split("|") if cell.strip())
        return " ".join(line.replace("\0", " ").split())
