"""Whether a spoken answer confirms exactly what was read back.

Before a call that needs approval a person is asked, and what they answer decides about something that may not be
taken back. So this is a small grammar and no model: an answer is a yes only if every word of it is an affirmation, a
filler, or repeats what was asked. Whatever is not understood is ``other``: it confirms nothing, and the agent treats
it as what the person wants to say. English and Chinese, also mixed.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Literal, TypeAlias, cast

from pydantic import BaseModel

from sayso.tools import consent_words
from sayso.tools.utterance import Lexicon, Unit, is_number, words

Verdict: TypeAlias = Literal["yes", "no", "other"]
Words: TypeAlias = tuple[str, ...]

MAX_WORDS = 60
"""A longer answer is a story, not a yes."""

_LANGUAGES = ("en", "zh", "yue", "cmn")


def judge(answer: str, arguments: Mapping[str, Any], language: str | None = None, *, question: str = "") -> Verdict:
    """What an answer says about a call that was read back.

    What may be repeated with a yes: arguments as a whole, in words or figures ("yes, fifty"; two numbers or two names
    only in the order of the arguments), and a piece of the question or of an argument, word for word ("yes, send it
    to Ann").

    Args:
        answer: As the recogniser wrote it.
        arguments: Of the call, as they will run.
        language: Of the answer, as ``en`` or ``zh-CN``; None where it is not known. In any other than English and
            Chinese nothing is understood.
        question: What the person was asked, where it is known: its words may be repeated.

    Returns:
        ``yes``: go ahead, with exactly these arguments. ``no``: a plain refusal. ``other``: neither; corrections,
        conditions, doubts, questions, silence, an echo of the question, anything else.
    """
    if language and language.replace("_", "-").partition("-")[0].casefold() not in _LANGUAGES:
        return "other"
    said = words(answer)
    if not said or len(said) > MAX_WORDS:
        return "other"
    asked = _bare(question)
    units = [_about_the_question(unit, asked) for unit in _units(word for word in said if word != "the")]
    kinds = {unit.kind for unit in units}
    if "halt" in kinds or {"yes", "no"} <= kinds or _corrects(said) or _breaks_off(said):
        return "other"
    if _is_echo(units, asked) or _stray_it(units):
        return "other"
    if not kinds & {"yes", "no"} or not _repeats(units, asked, [_bare(text) for text in _texts(arguments)]):
        return "other"
    return "yes" if "yes" in kinds else "no"


@functools.cache
def _lexicon() -> Lexicon:
    tables = {
        "it": consent_words.IT,
        "filler": consent_words.FILLER,
        "yes": consent_words.YES,
        "no": consent_words.NO,
        "no action": consent_words.NO_ACTION,
        "halt": consent_words.HALT,
    }
    return Lexicon({kind: consent_words.phrases(table) for kind, table in tables.items()})


def _bare(text: str) -> Words:
    return tuple(word for word in words(text) if word != "the")


def _breaks_off(said: Words) -> bool:
    """Whether the rest is still to come: "yes, fifty euros to, uh"."""
    units = [unit for unit in _units(said) if unit.kind != "filler"]
    return bool(units) and units[-1].words[-1] in consent_words.DANGLING


def _corrects(said: Words) -> bool:
    """Whether "correct" is what is to be done, and no yes: "correct the amount"."""
    return any(pair[0] == "correct" and pair[1] in ("the", "my", "your", "a") for pair in itertools.pairwise(said))


def _is_echo(units: Sequence[Unit], asked: Words) -> bool:
    """The agent's own voice: several words of the question, and none besides."""
    heard = [unit for unit in units if unit.kind != "filler"]
    size = sum(len(unit.words) if unit.words[0].isascii() else 1 for unit in heard)
    return size > 1 and _is_run(tuple(word for unit in heard for word in unit.words), asked)


def _stray_it(units: Sequence[Unit]) -> bool:
    """Whether an "it" is not about the call: "send it" and "don't send that" are, "correct that" is a correction."""
    return any(
        unit.kind == "it" and (at == 0 or units[at - 1].kind not in (None, "no", "it")) for at, unit in enumerate(units)
    )


def _units(said: Iterable[str]) -> list[Unit]:
    return _lexicon().units(tuple(said))


def _about_the_question(unit: Unit, asked: Words) -> Unit:
    """A refusal such as "cancel" is a word of the question where that asks whether to cancel."""
    if unit.kind != "no action":
        return unit
    return Unit(None if _is_run(unit.words, asked) else "no", unit.words)


def _repeats(units: Sequence[Unit], asked: Words, values: Sequence[Words]) -> bool:
    """Whether what is no known phrase repeats the question or the arguments."""
    pieces = _pieces(units)
    rest = tuple(word for piece in pieces for word in piece)
    if not rest or _lists_values(rest, values):
        return True
    if all(is_number(word) for word in rest):
        return False  # a number in passing ("room 15") is not the amount
    return any(_quotes(pieces, text, values) for text in (asked, *values))


def _pieces(units: Sequence[Unit]) -> list[Words]:
    """The words that are no known phrase; an "it" stands for what is between two pieces: "send it to Ann"."""
    pieces: list[Words] = [()]
    for unit in units:
        if unit.kind == "it":
            pieces.append(())
        elif unit.kind is None:
            pieces[-1] += unit.words
    return [piece for piece in pieces if piece]


def _quotes(pieces: Sequence[Words], text: Words, values: Sequence[Words]) -> bool:
    """Whether the pieces occur in ``text`` one after another, and what they leave out changes nothing.

    A value with a number is not cut in two ("at 20" is not "at 20:30"), and of a text with a restriction ("all but
    this one") no part will do.
    """
    if consent_words.RESTRICTING & set(text):
        return False
    spans = [(at, at + len(value)) for value in values if any(map(is_number, value)) for at in _places(value, text)]
    behind = 0
    for piece in pieces:
        ends = (
            at + len(piece)
            for at in _places(piece, text)
            if at >= behind and not any(_cuts(at, at + len(piece), span) for span in spans)
        )
        behind = next(ends, -1)
        if behind < 0:
            return False
    return True


def _cuts(start: int, end: int, span: tuple[int, int]) -> bool:
    """Whether a piece covers a part of ``span`` and not all."""
    first, last = span
    return start < last and first < end and not (start <= first and last <= end)


def _lists_values(rest: Words, values: Sequence[Words]) -> bool:
    """Whether ``rest`` consists of whole values; of one kind (numbers, texts) only in the arguments' order."""
    at = 0
    next_of_kind = {True: 0, False: 0}
    while at < len(rest):
        numeric = is_number(rest[at])
        fits = (
            index
            for index in range(next_of_kind[numeric], len(values))
            if values[index] and is_number(values[index][0]) is numeric and _starts(rest, at, values[index])
        )
        index = next(fits, None)
        if index is None:
            return False
        at += len(values[index])
        next_of_kind[numeric] = index + 1
    return True


def _starts(text: Words, at: int, piece: Words) -> bool:
    return text[at : at + len(piece)] == piece


def _is_run(piece: Words, text: Words) -> bool:
    """Whether ``piece`` occurs in ``text`` word for word."""
    return bool(_places(piece, text))


def _places(piece: Words, text: Words) -> list[int]:
    """Where ``piece`` begins in ``text``."""
    return [at for at in range(len(text) - len(piece) + 1) if _starts(text, at, piece)]


def _texts(value: Any) -> Iterable[str]:
    """The values in ``value``, one by one, as text; truth values are not said."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, BaseModel):
        value = dict(value)
    elif is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        value = cast("Mapping[Any, Any]", value).values()
    elif not isinstance(value, (list, tuple, set, frozenset)):
        yield str(value).replace("_", " ")
        return
    for part in cast("Iterable[Any]", value):
        yield from _texts(part)
