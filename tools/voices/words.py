"""From a description of a voice, in English or Chinese, to what can be looked up: a `Wish`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeAlias

Figure: TypeAlias = Literal["pitch", "pace", "tone", "melody"]
"""What is measured of a voice: how high, how fast, how bright, how much the pitch moves."""

_TOKEN = re.compile(r"[^\W\d_]+(?:'[a-z]+)?", re.UNICODE)
_HAN = re.compile(r"[\u3400-\u9fff]")
_NEGATIONS = frozenset({"not", "less", "without", "isn't", "doesn't", "don't", "never", "no", "hardly"})
_NEGATION_REACH = 3  # words: "not too deep", "doesn't sound so bright"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asked for.

    Attributes:
        gender: ``female``, ``male`` or None.
        language: BCP 47 tag, or its beginning, of the language or accent; None where none is named.
        leanings: Figure to weight: above 0 much of it is wanted, below 0 little.
        notes: What figures do not say: ``child``, ``whisper``.
        rest: Words that are looked up in names and descriptions, in lower case.
        words: These and the ones that were understood, for what has no figures.
        sound: A sound is asked for, not a voice.
        normal: The agent's own voice is asked for.
        another: Something else than the last time.
    """

    gender: str | None = None
    language: str | None = None
    leanings: Mapping[Figure, float] = field(default_factory=dict[Figure, float])
    notes: frozenset[str] = frozenset()
    rest: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    sound: bool = False
    normal: bool = False
    another: bool = False

    @property
    def has_facts(self) -> bool:
        """Whether anything is asked of a voice that can be looked up without its description."""
        return bool(self.gender or self.language or self.leanings or self.notes)


def parse_wish(text: str) -> Wish:
    """Read a description such as "a deep British man", "not too fast" or "低沉的男声".

    Words that mean nothing here are ignored; words that are not known are kept in ``rest``.
    """
    reader = _Reader()
    text = _folded(text)
    text = _take_chinese(text, reader)
    for phrase, meaning in _lexicon()["phrases"].items():
        if phrase in text:
            text = text.replace(phrase, " ")
            reader.take(meaning)
    negated_for = 0
    for token in _TOKEN.findall(text):
        if token in _NEGATIONS:
            negated_for = _NEGATION_REACH
            continue
        word = token.removesuffix("'s")
        meaning = _lexicon()["english"].get(word)
        if meaning is not None:
            reader.take(meaning, negated=negated_for > 0)
            reader.understood.append(word)
            negated_for = 0  # it was about this word
        elif word not in _lexicon()["empty"]:
            reader.rest.append(word)
        negated_for -= 1
    return reader.wish()


def replace_words(text: str, others: Mapping[str, str]) -> str:
    """``text`` in lower case with other words in place of some."""
    return _TOKEN.sub(lambda match: others.get(match[0].removesuffix("'s"), match[0]), _folded(text))


def _folded(text: str) -> str:
    return text.casefold().replace("’", "'")


def known_words() -> list[str]:
    """The English words that say something of a voice: gender, accent, figures, notes."""
    return [word for word, meaning in _lexicon()["english"].items() if not meaning.startswith("flag")]


def searchable(text: str) -> str:
    """``text`` as it is indexed: Chinese characters stand alone, since nothing separates Chinese words."""
    return _HAN.sub(lambda sign: f" {sign[0]} ", text)


def _take_chinese(text: str, reader: _Reader) -> str:
    if not _HAN.search(text):
        return text
    for phrase, meaning in sorted(_lexicon()["chinese"].items(), key=lambda pair: -len(pair[0])):
        if phrase in text:
            text = text.replace(phrase, " ")
            reader.take(meaning)
    reader.rest += [sign for sign in _HAN.findall(text) if sign not in _lexicon()["empty_chinese"]]
    return _HAN.sub(" ", text)


class _Reader:
    """Collects meanings; a meaning is ``kind:value`` or several of them with blanks between."""

    def __init__(self) -> None:
        self.rest: list[str] = []
        self.understood: list[str] = []
        self._gender: str | None = None
        self._language: str | None = None
        self._leanings: dict[Figure, float] = {}
        self._notes: set[str] = set()
        self._flags: set[str] = set()

    def take(self, meanings: str, *, negated: bool = False) -> None:
        for meaning in meanings.split():
            kind, _, value = meaning.partition(":")
            self._take(kind, value, negated)

    def _take(self, kind: str, value: str, negated: bool) -> None:
        if kind == "flag":
            self._flags.add(value)
        elif kind == "word":
            self.rest.append(value)
        elif kind in ("gender", "language", "note"):
            if negated:
                return  # "not a man" says too little to choose by
            if kind == "gender":
                self._gender = self._gender or value
            elif kind == "language":
                self._language = self._language or value
            else:
                self._notes.add(value)
        else:
            figure: Figure = kind  # pyright: ignore[reportAssignmentType] (the lexicon's test checks the kinds)
            self._leanings[figure] = self._leanings.get(figure, 0.0) + float(value) * (-1 if negated else 1)

    def wish(self) -> Wish:
        leanings = {figure: weight for figure, weight in self._leanings.items() if weight}
        voiced = bool(self._gender or self._language or self._notes or leanings)
        plain = not (self._language or leanings or self._notes or self.rest)
        return Wish(
            gender=self._gender,
            language=self._language,
            leanings=leanings,
            notes=frozenset(self._notes),
            rest=tuple(self.rest),
            words=(*self.rest, *self.understood),
            sound="sound" in self._flags and not voiced,
            normal="normal" in self._flags and plain,
            another="another" in self._flags,
        )


@cache
def _lexicon() -> dict[str, Any]:
    text = resources.files("sayso.speech.tts").joinpath("voice_words.json").read_text("utf-8")
    lexicon: dict[str, Any] = json.loads(text)
    lexicon["english"] = {word: meaning for meaning, words in lexicon["english"].items() for word in words.split()}
    lexicon["empty"] = frozenset(lexicon["empty"].split())
    return lexicon
