"""Replies that announce an action, and requests to stop: `tests/data/promises.jsonl` and `stopping.jsonl`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.tools.promises import announces_action
from sayso.tools.stopping import asks_to_stop

DATA = Path(__file__).parent / "data"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


PROMISES = rows("promises.jsonl")
STOPS = rows("stopping.jsonl")
KNOWN_MISSES = {"Let me see."}
KNOWN_FALSE_ALARMS = {
    "I'll check my facts less often than you think, ha.",
    "I'll do it again tomorrow like I did today.",
    "I will add two numbers and get four.",
}


@pytest.mark.parametrize("row", PROMISES, ids=lambda row: row["reply"])
def test_replies(row: dict[str, Any]) -> None:
    known = row["reply"] in KNOWN_MISSES | KNOWN_FALSE_ALARMS
    assert announces_action(row["reply"], row["language"]) is (row["announces"] is not known)


def test_what_is_known_to_go_wrong_is_little() -> None:
    assert len(KNOWN_FALSE_ALARMS) / sum(not row["announces"] for row in PROMISES) < 0.02


@pytest.mark.parametrize("row", [row for row in PROMISES if row["announces"]], ids=lambda row: row["reply"])
def test_what_follows_an_announcement_takes_it_back(row: dict[str, Any]) -> None:
    reply = row["reply"]
    assert not announces_action(f"{reply} It is fourteen degrees.")
    assert not announces_action(f"{reply} Which city?")
    assert not announces_action(f"{reply.rstrip('.。')}?")


def test_an_answer_before_an_announcement_does_not() -> None:
    assert announces_action("It is nine o'clock in Paris. Let me check the weather too.")
    assert announces_action("Let me check that for you. It won't take long. Thank you for waiting.")


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    assert announces_action(text) in (True, False)
    assert asks_to_stop(text) in (True, False)


def test_a_long_reply_is_read_in_time() -> None:
    assert not announces_action("well, just now and then " * 4000)
    assert not announces_action("我现在马上" * 4000)
    assert not announces_action("one moment " * 8000 + "x")


@pytest.mark.parametrize("row", STOPS, ids=lambda row: row["text"] or "silence")
def test_requests_to_stop(row: dict[str, Any]) -> None:
    assert asks_to_stop(row["text"]) is row["stops"]


@pytest.mark.parametrize("text", [row["text"] for row in STOPS if row["stops"]])
def test_a_request_with_an_object_is_a_task(text: str) -> None:
    assert not asks_to_stop(f"{text} order 15")
    assert asks_to_stop(f"Um, {text.upper()}!!")
    assert not asks_to_stop(f"{text}?")
