"""Which chunks answer a query: by words (BM25), by meaning (cosine), and both rankings in one."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from sayso.tools.documents.chunks import CJK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RRF_K = 60
"""Cormack, Clarke and Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet" (the value they use)."""
CANDIDATES = 50
"""Of each ranking."""
MIN_COSINE = 0.25
"""Below this a chunk has nothing to do with the query; unrelated English sentences lie around 0.05."""
MAX_QUERY_PHRASES = 32
_WEIGHTS = (4.0, 2.0, 1.0)  # of title, heading and body in BM25

_UNSPACED = re.compile(rf"(?<=[{CJK}])\s+(?=[{CJK}])")  # as `sayso.tools.documents.database.spaced` left it
_TOKEN = re.compile(rf"[{CJK}]+|[^\W_{CJK}]+")
_STOP_WORDS = frozenset(
    "a about all am an and any are as at be been but by can could did do does for from get had has have how i if in "
    "into is it its just know like may me much my no not of on or our please said say shall should so some tell than "
    "that the their them then there these they this those to up us want was we were what when where which who whom "
    "why will with would you your s t m re ve ll d".split()
)


def match_expression(query: str) -> str:
    """What FTS5 is asked for the words of a person: any of them, each quoted; empty where there are none.

    Only letters and digits pass, so that no operator, column or quote of the query language does. Words that say
    nothing ("what", "is", "the") are left out, unless there are no others.
    """
    tokens = list(dict.fromkeys(token.lower() for token in _TOKEN.findall(query)))
    telling = [token for token in tokens if token not in _STOP_WORDS] or tokens
    phrases = [phrase for token in telling for phrase in _phrases(token)]
    return " OR ".join(f'"{phrase}"' for phrase in phrases[:MAX_QUERY_PHRASES])


def _phrases(token: str) -> Iterable[str]:
    """Itself, or each pair of neighbours in a run of Chinese, Japanese or Korean characters."""
    if not re.match(f"[{CJK}]", token):
        return (token[:60],)
    return [" ".join(pair) for pair in pairwise(token)] or (token,)


def by_words(connection: sqlite3.Connection, query: str, count: int = CANDIDATES) -> dict[int, float]:
    """The share of the query's telling words that a chunk has, by chunk id, the best first by BM25."""
    expression = match_expression(query)
    if not expression:
        return {}
    rows = connection.execute(
        "SELECT rowid, title || ' ' || heading || ' ' || body FROM words WHERE words MATCH ?"
        f" ORDER BY bm25(words, {_WEIGHTS[0]}, {_WEIGHTS[1]}, {_WEIGHTS[2]}) LIMIT ?",
        (expression, count),
    )
    wanted = _terms(query)
    return {chunk: _share(wanted, text) for chunk, text in rows}


def _share(wanted: set[str], text: str) -> float:
    if not wanted:
        return 1.0
    return max(1, len(wanted & _terms(_UNSPACED.sub("", text)))) / len(wanted)


def by_meaning(
    ids: NDArray[np.int64], vectors: NDArray[np.float32], query: NDArray[np.float32], count: int = CANDIDATES
) -> dict[int, float]:
    """Cosine by chunk id of the chunks nearest to the query, the best first.

    Args:
        ids: Shape (chunks,).
        vectors: Shape (chunks, dimensions), of length 1.
        query: Shape (dimensions,), of length 1.
        count: At most this many.
    """
    import numpy as np

    cosines = vectors @ query
    nearest = np.argpartition(-cosines, count)[:count] if count < len(cosines) else np.arange(len(cosines))
    nearest = nearest[np.argsort(-cosines[nearest], kind="stable")]
    return {int(ids[index]): float(cosines[index]) for index in nearest if cosines[index] >= MIN_COSINE}


def fuse(words: Mapping[int, float], meaning: Iterable[int], k: int = RRF_K) -> dict[int, float]:
    """Reciprocal rank fusion: the score of a chunk is the sum of 1 / (k + rank), the best first.

    The vote of the words counts by their share that the chunk has: without that, a chunk with one chance word of a
    question that is put in quite other words would weigh as much as the nearest in meaning.
    """
    scores = {chunk: share / (k + rank) for rank, (chunk, share) in enumerate(words.items(), 1)}
    for rank, chunk in enumerate(meaning, 1):
        scores[chunk] = scores.get(chunk, 0.0) + 1 / (k + rank)
    return dict(sorted(scores.items(), key=lambda pair: (-pair[1], pair[0])))


def best_passage(text: str, query: str, max_words: int) -> str:
    """The stretch of whole sentences of ``text`` with the most words of the query, short enough to be spoken."""
    sentences = [part for part in re.split(r"(?<=[.!?…])\s+|\n+|(?<=[。！？])", text) if part.strip()]
    wanted = _terms(query)
    best, best_score = "", -1.0
    for start in range(len(sentences)):
        window: list[str] = []
        for sentence in sentences[start:]:
            if window and _length(" ".join((*window, sentence))) > max_words:
                break
            window.append(sentence)
        passage = " ".join(window)
        score = len(wanted & _terms(passage)) - start * 1e-3  # of equals the first
        if score > best_score:
            best, best_score = passage, score
    return _shorten(best or text, max_words)


def _terms(text: str) -> set[str]:
    """Telling words without their endings, so that "returns" is in "returned"; CJK characters in pairs."""
    terms: set[str] = set()
    for token in _TOKEN.findall(text.lower()):
        if re.match(f"[{CJK}]", token):
            terms.update(first + second for first, second in pairwise(token))
        elif token not in _STOP_WORDS:
            terms.add(token[:5] if len(token) > 5 else token.rstrip("s"))
    return terms


def _length(text: str) -> int:
    return len(re.findall(rf"[{CJK}]|[^\s{CJK}]+", text))


def _shorten(text: str, max_words: int) -> str:
    words = list(re.finditer(rf"[{CJK}]|[^\s{CJK}]+", text))
    return text if len(words) <= max_words else text[: words[max_words - 1].end()] + " …"
