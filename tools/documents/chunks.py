"""Documents in pieces of about 150 words, the unit that is indexed, ranked and cited.

The embedding model reads at most 256 word pieces, about 190 English words; so does a chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from sayso.tools.documents.extract import Block, Document

TARGET_WORDS = 150
MAX_WORDS = 190
OVERLAP_WORDS = 25
"""Words at the end of a chunk that the next one begins with, so that no sentence loses its neighbour."""
SLACK_WORDS = 30
"""How far a cut moves to fall between two sentences."""

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{CJK}]|[^\s{CJK}]{{1,60}}")  # a longer "word" is no word, and is cut
_SENTENCE_END = re.compile(r"[.!?。！？…][\"'”’)\]]*$")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document.

    Attributes:
        text: Its words.
        heading: The headings above it, joined by " > "; may be empty.
        page: Where it begins, from 1, or None.
    """

    text: str
    heading: str
    page: int | None


def chunk(document: Document) -> Iterator[Chunk]:
    """Cut a document: never across a heading or a page, otherwise between sentences where that is possible."""
    for (headings, page), blocks in groupby(document.blocks, key=_section):
        heading = " > ".join(name for name in headings if name.casefold() != document.title.casefold())
        for text in split("\n".join(_texts(blocks))):
            yield Chunk(text, heading, page)


def split(text: str) -> Iterator[str]:
    """Pieces of ``text`` of at most `MAX_WORDS`, each beginning with the last words of the one before."""
    words = [match.span() for match in _WORD.finditer(text)]
    start, count = 0, len(words)
    while start < count:
        end = count if count - start <= MAX_WORDS else _cut(text, words, start + TARGET_WORDS)
        yield text[words[start][0] : words[end - 1][1]]
        if end == count:
            return
        start = _restart(text, words, end)


def _section(block: Block) -> tuple[tuple[str, ...], int | None]:
    return block.headings, block.page


def _texts(blocks: Iterable[Block]) -> Iterator[str]:
    return (block.text for block in blocks)


def _cut(text: str, words: list[tuple[int, int]], wanted: int) -> int:
    """The sentence end nearest to ``wanted``, as the number of words before it; ``wanted`` where there is none."""
    for distance in range(SLACK_WORDS):
        for end in (wanted + distance, wanted - distance):
            if _ends_sentence(text, words, end):
                return end
    return wanted


def _restart(text: str, words: list[tuple[int, int]], end: int) -> int:
    """The first sentence that begins in the overlap; the middle of one where none does."""
    for start in range(end - OVERLAP_WORDS, end):
        if _ends_sentence(text, words, start):
            return start
    return end - OVERLAP_WORDS


def _ends_sentence(text: str, words: list[tuple[int, int]], end: int) -> bool:
    """Whether a sentence or a paragraph ends behind word ``end - 1``."""
    if not 0 < end < len(words):
        return False
    begin, stop = words[end - 1]
    return "\n" in text[stop : words[end][0]] or bool(_SENTENCE_END.search(text[begin:stop]))
