"""Which language a reply is in: by script, and for Latin letters by each language's small words."""

from __future__ import annotations

import re
from typing import Final

_SCRIPTS: Final = {
    "ja": r"[\u3040-\u30ff]",
    "ko": r"[\uac00-\ud7af]",
    "zh": r"[\u3400-\u4dbf\u4e00-\u9fff]",
    "ru": r"[\u0400-\u04ff]",
    "el": r"[\u0370-\u03ff]",
    "he": r"[\u0590-\u05ff]",
    "ar": r"[\u0600-\u06ff]",
    "hi": r"[\u0900-\u097f]",
    "th": r"[\u0e00-\u0e7f]",
}
_WORDS: Final = {
    "en": "the is are you your to of and for it in on at have has i'm i can what would that this with be my not",
    "de": "der die das ist sind und zu den dem ein eine ich sie nicht mit für auf haben wir es im am um ihr ihre",
    "fr": "le la les est sont et à de des un une je vous pas avec pour sur avez nous il du en votre c'est au",
    "es": "el la los las es son y de un una yo usted no con para en por que su está al del mi tiene qué",
    "it": "il lo la gli è sono e di un una io lei non con per in che suo sua al del ha ho sul alle",
    "pt": "o a os as é são e de um uma eu você não com para em por que seu sua está ao do da no na",
    "nl": "de het een is zijn en van ik u niet met voor op heeft we dat te in om uw je aan",
}
_KNOWN: Final = {language: frozenset(words.split()) for language, words in _WORDS.items()}
_MACRO: Final = {"cmn": "zh", "yue": "zh"}
FEW: Final = 4
"""Latin words, below which no language is ruled out."""


def language_of(text: str) -> str | None:
    """The language of a text, ISO 639-1; None where that cannot be said: no letters, or too few words."""
    counts = {language: len(re.findall(script, text)) for language, script in _SCRIPTS.items()}
    latin = re.findall(r"[a-zA-ZÀ-ž']+", text)
    if counts["ja"] and counts["ja"] * 4 >= counts["zh"]:
        counts["ja"] += counts["zh"]
    script = max(counts, key=lambda language: counts[language])
    if counts[script] > len(latin):  # a letter there is about as much as a word here
        return script
    words = [word.casefold() for word in latin]
    scores = {language: sum(word in known for word in words) for language, known in _KNOWN.items()}
    best = max(scores, key=lambda language: scores[language])
    if len(words) < FEW or not scores[best] or list(scores.values()).count(scores[best]) > 1:
        return None
    return best


def is_in(text: str, tag: str) -> bool:
    """Whether a text may be in the language of a BCP 47 tag; of one without a known word nothing is ruled out."""
    wanted = tag.replace("_", "-").partition("-")[0].lower()
    wanted = _MACRO.get(wanted, wanted)
    found = language_of(text)
    if found is None:
        latin = re.search(r"[a-zA-Z]", text) is not None
        return not latin or wanted not in _SCRIPTS
    return found == wanted or (wanted not in _SCRIPTS and wanted not in _KNOWN and found not in _SCRIPTS)


def count_words(text: str) -> int:
    """Words; of Chinese, Japanese and Thai, characters."""
    return len(re.findall(f"[{_WIDE}]", text)) + len(re.findall(rf"[^\W_{_WIDE}]+(?:['’.-][^\W_{_WIDE}]+)*", text))


_WIDE: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f"
