"""The journal: a real SQLite file, in one process and in two, whole and broken."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from sayso.errors import UsageError
from sayso.settings import child_environment, secret
from sayso.tools.journal import KEPT_S, Entry, Journal, JournalError, canonical, default_path

CALL = Entry("talk", "call_1_1", "book", '{"seat":7}', "write", turn=1, generation=2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path, clock=Ticks())
    yield journal
    journal.close()


class Ticks:
    """A clock that is a second later each time it is looked at."""

    def __init__(self, now_s: float = 1_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


def reopened(path: Path) -> Journal:
    return Journal(path, clock=Ticks(2_000_000))


# --- what is written is there ---------------------------------------------------------------------------------------


def test_a_call_from_its_beginning_to_its_end(journal: Journal) -> None:
    assert journal.begin(CALL) is None
    assert journal.find("talk", "call_1_1") == replace(CALL, begun_s=1_000_002)
    journal.end("talk", "call_1_1", "ok", "Booked.")
    ended = replace(CALL, begun_s=1_000_002, ended_s=1_000_003, status="ok", output="Booked.")
    assert journal.find("talk", "call_1_1") == ended
    assert journal.entries("talk") == [ended]
    assert journal.find("talk", "call_9_9") is None and journal.entries("another") == []


def test_a_call_begins_once(journal: Journal) -> None:
    journal.begin(CALL)
    again = replace(CALL, arguments='{"seat":8}', turn=5)
    assert journal.begin(again) == journal.find("talk", "call_1_1")
    assert [entry.arguments for entry in journal.entries("talk")] == ['{"seat":7}']
    assert journal.begin(replace(CALL, session="another")) is None  # ids are unique in a conversation only


def test_what_another_opening_of_the_file_wrote_is_seen(path: Path) -> None:
    first = reopened(path)
    first.begin(CALL)
    second = reopened(path)
    assert second.begin(CALL) is not None
    first.end("talk", "call_1_1", "ok", "Booked.")
    found = second.find("talk", "call_1_1")
    assert found is not None and found.output == "Booked."
    first.close()
    second.close()
    second.close()  # closing twice does no harm


def test_a_later_outcome_replaces_an_earlier_one(journal: Journal) -> None:
    journal.begin(CALL)
    journal.end("talk", "call_1_1", "timeout", "too slow")
    journal.end("talk", "call_1_1", "ok", "Booked after all.")
    found = journal.find("talk", "call_1_1")
    assert found is not None and (found.status, found.output) == ("ok", "Booked after all.")


@pytest.mark.parametrize(
    ("status", "counts"),
    [(None, True), ("ok", True), ("in_doubt", True), ("timeout", True), ("cancelled", True), ("error", False)],
)
def test_what_counts_as_done_before(journal: Journal, status: str | None, counts: bool) -> None:
    journal.begin(CALL)
    if status is not None:
        journal.end("talk", "call_1_1", status, "")
    assert (journal.same("talk", "book", '{"seat":7}') is not None) is counts
    assert journal.same("talk", "book", '{"seat":8}') is None
    assert journal.same("talk", "cancel", '{"seat":7}') is None
    assert journal.same("another", "book", '{"seat":7}') is None


def test_the_last_of_equal_calls_is_found(journal: Journal) -> None:
    for number in (1, 2, 3):
        journal.begin(replace(CALL, call_id=f"call_{number}_1", turn=number))
    journal.end("talk", "call_3_1", "error", "")
    found = journal.same("talk", "book", '{"seat":7}')
    assert found is not None and found.call_id == "call_2_1"


def test_the_last_turn(journal: Journal) -> None:
    assert journal.last_turn("talk") == 0
    journal.begin(replace(CALL, call_id="a", turn=9))
    journal.begin(replace(CALL, call_id="b", turn=3))
    assert (journal.last_turn("talk"), journal.last_turn("another")) == (9, 0)


def test_taking_over_what_a_process_died_in(path: Path) -> None:
    dead = reopened(path)
    for call_id in ("ended", "open", "open too"):
        dead.begin(replace(CALL, call_id=call_id))
    dead.end("talk", "ended", "ok", "")
    dead.begin(replace(CALL, session="another", call_id="open"))
    assert [entry.call_id for entry in dead.in_doubt("talk")] == ["open", "open too"]

    alive = reopened(path)
    assert [(entry.call_id, entry.status) for entry in alive.take_over("talk")] == [
        ("open", "in_doubt"),
        ("open too", "in_doubt"),
    ]
    assert [entry.call_id for entry in alive.take_over("talk")] == ["open", "open too"]  # until somebody settles them
    assert alive.find("another", "open").status is None  # type: ignore[union-attr]
    assert len(alive.in_doubt()) == 3
    alive.end("talk", "open", "ok", "The shop says that it was booked.")
    assert [entry.call_id for entry in alive.in_doubt("talk")] == ["open too"]
    dead.close()
    alive.close()


def test_old_calls_go_and_those_in_doubt_stay(path: Path) -> None:
    first = reopened(path)
    for call_id, status in [("ok", "ok"), ("doubt", "in_doubt"), ("error", "error"), ("open", None)]:
        first.begin(replace(CALL, call_id=call_id))
        if status is not None:
            first.end("talk", call_id, status, "")
    first.close()
    soon = Journal(path, clock=Ticks(2_000_000 + KEPT_S - 100))
    assert len(soon.entries("talk")) == 4
    soon.close()
    late = Journal(path, clock=Ticks(2_000_000 + KEPT_S + 100))
    assert [entry.call_id for entry in late.entries("talk")] == ["doubt", "open"]
    late.close()


def test_a_journal_in_memory() -> None:
    journal, other = Journal(), Journal()
    assert journal.begin(CALL) is None
    assert other.find("talk", "call_1_1") is None
    journal.close()
    other.close()


# --- two processes --------------------------------------------------------------------------------------------------

RACE = """
import sys
from sayso.tools.journal import Entry, Journal
print("ready", flush=True)
sys.stdin.readline()
journal = Journal(sys.argv[1])
won = [n for n in range(300) if journal.begin(Entry("talk", f"call_{n}", "book", "{}", "write")) is None]
for n in won:
    journal.end("talk", f"call_{n}", "ok", sys.argv[2])
print(len(won), flush=True)
"""


def test_two_processes_never_begin_the_same_call(path: Path) -> None:
    path.parent.mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(),
        )
        for name in ("one", "two")
    ]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    won = [int(process.communicate(timeout=60)[0]) for process in started]
    assert sum(won) == 300
    journal = Journal(path)
    by = [entry.output for entry in journal.entries("talk")]
    assert (by.count("one"), by.count("two")) == tuple(won)
    journal.close()


# --- what may go wrong with the file --------------------------------------------------------------------------------


def test_nobody_else_may_read_it(path: Path, journal: Journal) -> None:
    journal.begin(CALL)
    for file in path.parent.iterdir():  # the log of SQLite too
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"journal.*cannot be opened.*\n?.*SAYSO_DATA"):
        Journal(tmp_path / "file" / "journal.sqlite")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(JournalError, match="cannot be opened"):
            Journal(tmp_path / "journal.sqlite")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_that_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 99)
    with pytest.raises(JournalError, match="file is not a database"):
        Journal(tmp_path / "journal.sqlite")


def test_a_database_of_something_else(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        db.execute("CREATE TABLE calls (number TEXT)")
    db.close()
    with pytest.raises(JournalError, match="no such column"):
        Journal(tmp_path / "journal.sqlite")


def test_a_file_that_breaks_while_it_is_open(path: Path) -> None:
    journal = Journal(path)
    for number in range(500):
        journal.begin(replace(CALL, call_id=f"call_{number}", arguments=json.dumps("x" * 200)))
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    with pytest.raises(JournalError, match="journal"):
        broken = Journal(path)
        try:
            broken.entries("talk")
        finally:
            broken.close()


def test_a_file_that_somebody_holds_on_to(path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sayso.database.WAIT_S", 0.0)
    waiting = Journal(path)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="database is locked"):
            waiting.begin(CALL)
        with pytest.raises(JournalError, match=r"cannot be opened: database is locked"):
            Journal(path)
        other.execute("ROLLBACK")
    other.close()
    assert waiting.begin(CALL) is None
    waiting.close()


def test_a_closed_journal_lets_nothing_begin(journal: Journal) -> None:
    journal.close()
    with pytest.raises(JournalError, match="failed"):
        journal.begin(CALL)


def test_the_journal_of_the_user_is_where_data_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_DATA", str(tmp_path))
    assert default_path() == tmp_path / "journal.sqlite"


def test_credentials_are_not_written_down(path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_SHOP_KEY", "hush-4711-hush")
    key = secret("SAYSO_SHOP_KEY")
    arguments = canonical({"key": key})
    journal.begin(replace(CALL, arguments=arguments))
    journal.end("talk", "call_1_1", "ok", f"Logged in with {key}.")
    found = journal.find("talk", "call_1_1")
    assert found is not None
    assert (found.arguments, found.output) == ('{"key":"[SAYSO_SHOP_KEY]"}', "Logged in with [SAYSO_SHOP_KEY].")
    assert journal.same("talk", "book", arguments) == found
    assert not any(b"hush-4711" in file.read_bytes() for file in path.parent.iterdir())


# --- canonical arguments --------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
objects = st.dictionaries(st.text(), values, max_size=5)


def shuffled(value: Any, order: Any) -> Any:
    """An equal value whose keys come in another order."""
    if isinstance(value, list):
        return [shuffled(item, order) for item in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    order.shuffle(keys)
    return {key: shuffled(value[key], order) for key in keys}


@given(objects, st.randoms())
def test_equal_arguments_have_equal_text(arguments: dict[str, Any], order: Any) -> None:
    text = canonical(arguments)
    assert canonical(shuffled(arguments, order)) == text
    assert json.loads(text) == arguments
    assert canonical(json.loads(text)) == text


@given(objects, objects)
def test_other_arguments_have_other_text(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)  # 1, 1.0 and true are three things
    assert (canonical(one) == canonical(other)) is same


class Seat(BaseModel):
    row: int
    extras: set[str]


@dataclass
class Sum:
    units: frozenset[str]
    amount: Decimal


WORDS = ["tea", "milk", "sugar", "lemon", "honey", "rum"]


@given(st.permutations(WORDS))
def test_what_has_no_order_has_one_text(order: list[str]) -> None:
    def arguments(words: list[str]) -> dict[str, Any]:
        seat, total = Seat(row=1, extras=set(words)), Sum(frozenset(words), Decimal("1.50"))
        return {"set": set(words), "seat": seat, "sum": total, "pair": ({"b": 1, "a": 2},)}

    assert canonical(arguments(order)) == canonical(arguments(WORDS))


def test_sets_read_the_same_in_every_process() -> None:
    show = "from sayso.tools.journal import canonical; print(canonical({'words': {'tea', 'milk', 'sugar', 'rum'}}))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", show],
            env=child_environment() | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert texts == {'{"words":["milk","rum","sugar","tea"]}\n'}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (date(2026, 1, 2), '{"x":"2026-01-02"}'),
        (float("nan"), '{"x":"NaN"}'),
        (b"\x00\xff", '{"x":"AP8="}'),
        (Seat(row=2, extras={"b", "a"}), '{"x":{"extras":["a","b"],"row":2}}'),
        ("\ud800", "[('x', '\\ud800')]"),
    ],
)
def test_values_that_json_does_not_have(value: Any, text: str) -> None:
    assert canonical({"x": value}) == text


def test_only_what_may_have_changed_something_is_in_doubt_and_a_doubt_can_be_settled(journal: Journal) -> None:
    for call_id, effect in (("c1", "write"), ("c2", "read"), ("c3", "irreversible"), ("c4", "pure")):
        journal.begin(Entry("s1", call_id, "act", "{}", effect))
    assert [entry.call_id for entry in journal.take_over("s1")] == ["c1", "c3"]
    journal.settle("s1", "c1", took_effect=True)
    journal.settle("s1", "c3", took_effect=False)
    assert journal.in_doubt() == []
    assert [entry.status for entry in journal.entries("s1")] == ["ok", "cancelled", "cancelled", "cancelled"]
    with pytest.raises(UsageError, match="No call 'c1' of 's1' is in doubt"):
        journal.settle("s1", "c1", took_effect=True)
