"""Words that the lexicon does not know, by their meaning: "welsh" is near "british", "infant" near "toddler"."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from sayso.tools.voices.words import known_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sayso.tools.documents.embed import Embedder

NEAR = 0.58
"""Least cosine of MiniLM between two words that are taken for near. Set on thirty words, none of them in a benchmark;
below it come antonyms and strangers ("weather" and "warm": 0.44)."""


def nearest_known(words: Sequence[str]) -> dict[str, str]:
    """Each word to the known word that is nearest in meaning; words that are near none are left out.

    English only. Empty where MiniLM or its packages are not on this machine.
    """
    from sayso.models.store import Store
    from sayso.tools.documents.embed import ARTEFACT

    english = [word for word in dict.fromkeys(words) if word.isascii() and len(word) > 2]
    if not english or not Store().has(ARTEFACT):
        return {}
    known = known_words()
    likeness = _embedder().embed(english) @ _known_vectors().T
    return {
        word: known[int(row.argmax())] for word, row in zip(english, likeness, strict=True) if float(row.max()) >= NEAR
    }


@cache
def _embedder() -> Embedder:
    from sayso.tools.documents.embed import MiniLM

    return MiniLM()


@cache
def _known_vectors() -> NDArray[np.float32]:
    return _embedder().embed(known_words())
