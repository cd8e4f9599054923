"""Words for the ear: how a user's line is spoken, and when two texts say the same.

``say`` may hold ``<pause 300/>`` (milliseconds of silence) and ``<spell>ZK3</spell>`` (letter by letter). Codes are
spelled without being marked, but in Chinese: "ZK3FFW" is spoken "Z, K, three, F, F, W", because read as one word nobody
could write it down, and no recogniser does.
"""

from __future__ import annotations

import importlib
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sayso.errors import UsageError
from sayso.evals.entities import normalised

MOST_PAUSE_MS: Final = 10_000.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence inside a line."""

    seconds: float


Part: TypeAlias = str | Pause

_MARK: Final = re.compile(
    r"<pause\s+(?P<ms>\d+(?:\.\d+)?)\s*/>|<spell>(?P<spell>.*?)</spell>|(?P<wrong></?[a-z][^>]*>)"
)
_CODE: Final = re.compile(r"\b(?=[A-Z-]*\d)(?=[\d-]*[A-Z])[A-Z0-9]+(?:-[A-Z0-9]+)*\b")
_NO_CODE: Final = re.compile(r"\d+(?:AM|PM|KM|KG|GB|MB|K|M|C|F|D)|(?:A|AM|PM)\d+", re.ASCII)
_DIGITS: Final = "zero one two three four five six seven eight nine".split()
_HAN_DIGITS: Final = "零一二三四五六七八九"
_LETTERS: Final = re.compile(
    r"[a-z]|\d+|(?=[a-z]*\d)[a-z\d]+|(?!(?:[ap]m|mrs?|dr|k[mg]|th|st|vs|tv)$)[b-df-hj-np-tv-xz]{2,5}"
)
"""A word that may be a part of a code: a letter, a number, both, or letters that nobody could say as a word."""
_FILLED: Final = frozenset("uh um er hmm mm erm ah oh".split())
_SHORT: Final = (
    (r"\bwon't\b", "will not"),
    (r"\bcan't\b", "can not"),
    (r"\bcannot\b", "can not"),
    (r"n't\b", " not"),
    (r"'re\b", " are"),
    (r"'ve\b", " have"),
    (r"'ll\b", " will"),
    (r"'d\b", " would"),
    (r"'m\b", " am"),
    (r"\b(it|that|what|there|here|he|she|who|where|how|let)'s\b", r"\1 is"),
    (r"\bokay\b", "ok"),
    (r"(?<=\w\w)our(?=s?\b|ed\b|ing\b|ful\b|ite)", "or"),  # British spellings; the same is done to both texts
    (r"(?<=\w[tb])re\b", "er"),
    (r"(?<=\w\w)is(?=(?:e|ed|es|ing|ation)\b)", "iz"),
    (r"\bcosy\b", "cozy"),
    (r"\bgrey\b", "gray"),
)


def parts_of(line: str, language: str = "en") -> list[Part]:
    """A line as it is rendered: texts and pauses, in order.

    Raises:
        UsageError: Mark-up that nobody knows, or a pause that is too long.
    """
    parts: list[Part] = []
    at = 0
    for mark in _MARK.finditer(line):
        _add(parts, _spelled_codes(line[at : mark.start()], language))
        at = mark.end()
        if mark["wrong"]:
            raise UsageError(
                f"{mark['wrong']!r} cannot be spoken in {line!r}.", "There are <pause 300/> and <spell>...</spell>."
            )
        if mark["ms"]:
            if float(mark["ms"]) > MOST_PAUSE_MS:
                raise UsageError(f"A pause of {mark['ms']} ms is too long.", f"At most {MOST_PAUSE_MS:g} ms.")
            parts.append(Pause(float(mark["ms"]) / 1000))
        else:
            _add(parts, spelled(mark["spell"], language) + _comma_before(line[at:]))
    _add(parts, _spelled_codes(line[at:], language))
    return parts


def words_of(line: str) -> str:
    """A line without its mark-up."""
    return re.sub(r"\s+", " ", _MARK.sub(lambda mark: mark["spell"] or " ", line)).strip()


def spelled(code: str, language: str = "en") -> str:
    """Letter by letter, with a comma's pause between: ``zk-3`` as "Z, K, three"."""
    names = _HAN_DIGITS if language.split("-")[0] in ("zh", "cmn") else _DIGITS
    letters = [character for character in unicodedata.normalize("NFKC", code).upper() if character.isalnum()]
    return ", ".join(names[int(one)] if one.isdecimal() else "Ay" if one == "A" else one for one in letters)


def same_words(text: str) -> str:
    """A text in the form in which it is compared: numbers in figures, no marks, no "uh", spelled letters as one word.

    What is said in one way and written in several is one: "two p.m.", "2 PM"; "I'm", "I am"; "$25", "25 dollars".
    Chinese comes out as syllables, its numerals as figures: characters of one sound differ in spelling alone, and
    recognisers mix traditional ones with simplified ones. Without pypinyin (the extra ``chinese``) it is characters.
    """
    plain = normalised(text)
    for pattern, whole in _SHORT:
        plain = re.sub(pattern, whole, plain)
    plain = re.sub(r"[$]\s?(\d+(?:\.\d+)?)", r"\1 dollars", plain)
    plain = re.sub(r"[€]\s?(\d+(?:\.\d+)?)", r"\1 euros", plain)
    plain = re.sub(r"[£]\s?(\d+(?:\.\d+)?)", r"\1 pounds", plain)
    plain = re.sub(r"%", " percent ", plain)
    plain = re.sub(r"\b([ap])\.?\s?m\b\.?", r"\1m", plain)
    plain = re.sub(r"(\d)([ap]m)\b", r"\1 \2", plain)
    plain = re.sub(r"(\d{1,2}):00\b", r"\1", plain)
    plain = re.sub(r"\bo'?\s?clock\b", " ", plain)
    plain = re.sub(r"(\d):(\d)", r"\1 \2", plain)
    plain = re.sub(r"(\d)(?:st|nd|rd|th)\b", r"\1", plain)
    plain = re.sub(r"(?<=\d)\.(?=\d)", "point", plain)
    plain = re.sub(r"(?<=\w)'(?=\w)", "", plain)
    plain = "".join(character if character.isalnum() else " " for character in plain)
    plain = re.sub(r"([\u3040-\u30ff\u3400-\u9fff])", r" \1 ", _syllables(plain))
    return " ".join(_joined_letters([word for word in plain.split() if word not in _FILLED]))


def word_count(text: str) -> int:
    """How many words are compared."""
    return len(same_words(text).split())


def word_error_rate(said: str, heard: str) -> float:
    """Substituted, deleted and inserted words over the words that were said; of Chinese, syllables.

    Returns:
        0 and more; 0 where nothing was said nor heard, 1 where nothing was said and something was heard.

    Raises:
        UsageError: The package jiwer is not installed.
    """
    return _error_rate(same_words(said), same_words(heard), "wer")


def character_error_rate(said: str, heard: str) -> float:
    """As `word_error_rate`, by letters; spaces do not count."""
    one, two = (same_words(text).replace(" ", "") for text in (said, heard))
    return _error_rate(one, two, "cer")


def _error_rate(said: str, heard: str, kind: str) -> float:
    if not said:
        return float(bool(heard))
    try:
        jiwer: Any = importlib.import_module("jiwer")
    except ImportError as error:
        raise UsageError("Word error rates need jiwer.", "Install it with: pip install 'sayso[evals]'") from error
    return float(getattr(jiwer, kind)(said, heard))


def _joined_letters(words: list[str]) -> list[str]:
    """Letters and figures of one code as one word, however they were spelled: "z, k3 ffw" as "zk3ffw"."""
    joined: list[str] = []
    run: list[str] = []
    for word in [*words, ""]:
        if _LETTERS.fullmatch(word):
            run.append(word)
            continue
        tail = [run.pop()] if len(run) > 1 and run[-1] in ("a", "i") and "".join(run[:-1]).isdecimal() else []
        is_code = any(len(one) == 1 or one[-1:].isdecimal() for one in run)
        joined += ["".join(run)] if is_code else run
        run = []
        joined += [*tail, word]
    return joined[:-1]


def _syllables(text: str) -> str:
    """Chinese characters as Pinyin without tones."""
    if not re.search(r"[\u3400-\u9fff]", text):
        return text
    try:
        pinyin: Any = importlib.import_module("pypinyin")
    except ImportError:
        return text
    return re.sub(r"[\u3400-\u9fff]+", lambda found: f" {' '.join(pinyin.lazy_pinyin(found[0]))} ", text)


def _spelled_codes(text: str, language: str) -> str:
    if language.split("-")[0] in ("zh", "cmn"):  # measured: "A18" is understood more often whole
        return text

    def spell(code: re.Match[str]) -> str:
        if _NO_CODE.fullmatch(code[0]) or len(code[0]) < 3:
            return code[0]
        return spelled(code[0], language) + _comma_before(text[code.end() :])

    return _CODE.sub(spell, text)


def _comma_before(rest: str) -> str:
    """What keeps the last letter of a code from the word behind it."""
    return "," if re.match(r"\s+\w", rest) else ""


def _add(parts: list[Part], text: str) -> None:
    """Text behind the text before, as one sentence; marks alone are no text."""
    text = re.sub(r"\s+", " ", text).strip()
    if not any(character.isalnum() for character in text):
        if text and parts and isinstance(parts[-1], str):
            parts[-1] += text
        return
    if parts and isinstance(parts[-1], str):
        parts[-1] = f"{parts[-1]} {text}"
    else:
        parts.append(text)
