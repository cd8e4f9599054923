"""Spoken answers to a question that was read back: `tests/data/consent.jsonl`, and what holds for all answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from sayso.tools import consent_words
from sayso.tools.consent import judge
from sayso.tools.utterance import words

ROWS = [json.loads(line) for line in (Path(__file__).parent / "data/consent.jsonl").read_text().splitlines()]
ACCEPTED = [row for row in ROWS if row["verdict"] == "yes"]
ARGUMENTS = {"amount": 50, "to": "Ann Miller"}


def verdict(row: dict[str, Any], answer: str | None = None) -> str:
    said = row["answer"] if answer is None else answer
    return judge(said, row["arguments"], row["language"], question=row.get("question", ""))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["answer"] or "silence")
def test_the_answers(row: dict[str, Any]) -> None:
    judged = verdict(row)
    assert judged in ("no", "other") if row["verdict"] == "not yes" else judged == row["verdict"]


def test_the_list_is_long_enough() -> None:
    counted = [(row["kind"], row["language"]) for row in ROWS]
    assert counted.count(("adversarial", "en")) >= 60
    assert counted.count(("adversarial", "zh")) >= 20
    assert len([kind for kind, _ in counted if kind == "plain"]) >= 60


def pieces(row: dict[str, Any]) -> list[str]:
    """English by words, Chinese by characters."""
    answer: str = row["answer"]
    return answer.split(" ") if row["language"] == "en" else list(answer)


CORRECTIONS = [
    "no",
    "not",
    "don't",
    "but",
    "wait",
    "actually",
    "instead",
    "maybe",
    "unless",
    "不",
    "但是",
    "改成",
    "等等",
]
NUMBERS = ["51", "fifteen sixteen", "seven", "5", "500", "0.5", "七", "三百"]


@given(st.sampled_from(ACCEPTED), st.sampled_from(CORRECTIONS + NUMBERS), st.data())
def test_a_correction_anywhere_is_no_yes(row: dict[str, Any], inserted: str, data: st.DataObject) -> None:
    parts = pieces(row)
    at = data.draw(st.integers(0, len(parts)))
    space = " " if row["language"] == "en" or inserted.isascii() else ""
    assert verdict(row, space.join([*parts[:at], inserted, *parts[at:]])) != "yes"


@given(st.sampled_from(ROWS), st.sampled_from(["upper", "title", ".", "!", "um", "please"]))
def test_case_punctuation_and_fillers_change_nothing(row: dict[str, Any], change: str) -> None:
    answer: str = row["answer"]
    changed = {
        "upper": answer.upper(),
        "title": answer.title() if "'" not in answer else answer.capitalize(),
        ".": f"{answer}.",
        "!": f"... {answer}!",
        "um": f"um, {answer}",
        "please": f"{answer}, please",
    }[change]
    assert verdict(row, changed) == verdict(row)


TABLES = [consent_words.YES, consent_words.FILLER, consent_words.IT]
ALLOWED = {word for table in TABLES for phrase in consent_words.phrases(table) for word in words(phrase)}
VALUES = {"50", "ann", "miller", "the"}
VOCABULARY = st.one_of(
    st.sampled_from(sorted(ALLOWED | VALUES)),
    st.sampled_from(["no", "bob", "fifteen", "50", "euros", "say", "?", "不", "吗", "but", "to", "wait", "yes", "好"]),
    st.text(max_size=6),
)


@given(st.lists(VOCABULARY, max_size=6).map(" ".join))
def test_a_yes_consists_of_known_words(answer: str) -> None:
    if judge(answer, ARGUMENTS) == "yes":
        assert set(words(answer)) <= ALLOWED | VALUES
        assert judge(f"{answer} fifteen", ARGUMENTS) == "other"


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_only_the_same_number_is_confirmed(asked: int, said: int) -> None:
    for answer in (f"yes, {said}", f"yes {said:,}", f"是的,{said}"):
        assert (judge(answer, {"amount": asked}) == "yes") == (asked == said)


def in_chinese(number: int) -> str:
    """The test's own spelling of 0 to 9999."""
    digits = "零一二三四五六七八九"
    if number == 0:
        return "零"
    out, gap = "", False
    for place, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // place % 10
        if digit:
            out += ("零" if gap and out else "") + digits[digit] + unit
        gap = digit == 0
    return out


@given(st.integers(0, 9999))
def test_chinese_numerals_are_read(number: int) -> None:
    assert words(in_chinese(number)) == (str(number),)
    assert judge(f"是的{in_chinese(number)}", {"amount": number}) == "yes"


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("十五", "15"),
        ("两千五", "2500"),
        ("两千零五", "2005"),
        ("三万二", "32000"),
        ("一亿", "100000000"),
        ("零零七", "007"),
        ("一萬", "10000"),
        ("负五", "-5"),
        ("七五十", "七 五 十"),
        ("五十十", "五 十 十"),
        ("万", "万"),
        ("一亿万", "一 亿 万"),
        ("minus five", "-5"),
        ("1,500.50", "1500.5"),
        ("five oh", "5 0"),
    ],
)
def test_numbers_as_they_are_said(said: str, read: str) -> None:
    assert " ".join(words(said)) == read


class Unit(Enum):
    EURO = "euro"


class Person(BaseModel):
    name: str


@dataclass
class Sum:
    amount: Decimal
    unit: Unit


@pytest.mark.parametrize("answer", ["yes, fifty euro", "yes, Ann", "yes 2026-01-02", "yes, milk, eggs"])
def test_values_of_any_type(answer: str) -> None:
    arguments = {
        "sum": Sum(Decimal("50.00"), Unit.EURO),
        "to": Person(name="Ann"),
        "on": date(2026, 1, 2),
        "items": ["milk", "eggs"],
        "urgent": True,
        "note": None,
    }
    assert judge(answer, arguments) == "yes"
    assert judge(f"{answer} true", arguments) == "other"


def test_a_truth_value_is_not_said() -> None:
    assert judge("true", {"urgent": True}) == "other"


@pytest.mark.parametrize(("language", "judged"), [("en-GB", "yes"), ("zh_TW", "yes"), (None, "yes"), ("de", "other")])
def test_in_other_languages_nothing_is_understood(language: str | None, judged: str) -> None:
    assert judge("ok", {}, language) == judged


def test_a_long_answer_is_a_story() -> None:
    assert judge("yes " * 60, {}) == "yes"
    assert judge("yes " * 61, {}) == "other"
