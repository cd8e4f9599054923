"""The journal: every call is written down before it runs and after it ended, so that none is ever repeated.

One SQLite file in write-ahead mode. A row is put in when a function is about to run and completed when it has ended; a
row that was never completed belongs to a process that died inside the call: nobody knows whether it took effect, so it
is *in doubt*. It is reported as that, and never run again by itself.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel
from pydantic_core import to_json

from sayso.database import open_database
from sayso.errors import SaysoError, UsageError
from sayso.settings import data_root, redact

KEPT_S = 30 * 24 * 3600.0
"""Ended calls older than this are deleted when a journal is opened; those in doubt stay until they are settled."""

IN_DOUBT = (
    "{name} was begun before, and nobody saw it end: it is not known whether it took effect. It was not run again."
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    session TEXT NOT NULL,
    call_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    arguments TEXT NOT NULL,
    effect TEXT NOT NULL,
    turn INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    begun_s REAL NOT NULL,
    ended_s REAL,
    status TEXT,
    output TEXT,
    PRIMARY KEY (session, call_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS same_call ON calls (session, tool, arguments);
CREATE INDEX IF NOT EXISTS open_calls ON calls (session) WHERE status IS NULL OR status = 'in_doubt';
"""
_COLUMNS = "session, call_id, tool, arguments, effect, turn, generation, begun_s, ended_s, status, output"


class JournalError(SaysoError):
    """The journal cannot be read or written: no call may run then."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One call as it was written down.

    Attributes:
        session: The conversation's id.
        call_id: The call's id, unique in it.
        tool: The tool's name.
        arguments: Validated, as canonical JSON (`canonical`).
        effect: The tool's effect.
        turn: The turn that made the call.
        generation: As in `sayso.events`.
        begun_s: Unix time.
        ended_s: Unix time, or None while it runs.
        status: A `sayso.items.CallStatus`; None while it runs; ``in_doubt`` where the process died inside it.
        output: What the model was told of it.
    """

    session: str
    call_id: str
    tool: str
    arguments: str
    effect: str
    turn: int = 0
    generation: int = 0
    begun_s: float = 0.0
    ended_s: float | None = None
    status: str | None = None
    output: str | None = None


class Journal:
    """The calls of all conversations that share a file. Safe to use from several threads and processes.

    A conversation belongs to one process at a time: opening it elsewhere takes what still runs for in doubt.

    Args:
        path: The file, made with its folder; None keeps the journal in memory, for tests and throw-away sessions.
        durable: See `sayso.database.open_database`.
        clock: Unix time in seconds.

    Raises:
        JournalError: It cannot be opened.
    """

    def __init__(
        self, path: Path | str | None = None, *, durable: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self._clock = clock
        self._lock = threading.Lock()
        try:
            self._db = open_database(self.path, _SCHEMA, durable=durable)
            old = "DELETE FROM calls WHERE ended_s < ? AND status != 'in_doubt'"
            self._db.execute(old, (self._clock() - KEPT_S,))
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"The journal {self.path} cannot be opened: {error}.", "Move it away, or set SAYSO_DATA elsewhere."
            ) from error

    def begin(self, entry: Entry) -> Entry | None:
        """Write down that a call is about to run.

        Returns:
            None where it may run; else the entry that is there already, and it must not.

        Raises:
            JournalError: It cannot be written, so the call must not run.
        """
        row = (*_identity(entry), self._clock())
        added = self._run(f"INSERT OR IGNORE INTO calls ({_BEGUN}) VALUES (?,?,?,?,?,?,?,?)", row)[1]
        return None if added else self.find(entry.session, entry.call_id)

    def end(self, session: str, call_id: str, status: str, output: str) -> None:
        """Write down how a call ended. A later outcome of the same call replaces an earlier one."""
        self._run(
            "UPDATE calls SET ended_s = ?, status = ?, output = ? WHERE session = ? AND call_id = ?",
            (self._clock(), status, redact(output), session, call_id),
        )

    def find(self, session: str, call_id: str) -> Entry | None:
        """One call, or None."""
        return self._first("session = ? AND call_id = ?", session, call_id)

    def same(self, session: str, tool: str, arguments: str) -> Entry | None:
        """The last call with this tool and these canonical arguments that worked, or is open, or may have worked.

        One that failed, or only asked a person (``waiting``), did nothing.
        """
        maybe = "(status IS NULL OR status IN ('ok', 'in_doubt', 'timeout', 'cancelled'))"
        where = f"session = ? AND tool = ? AND arguments = ? AND {maybe}"
        return self._first(f"{where} ORDER BY begun_s DESC", session, tool, redact(arguments))

    def last_turn(self, session: str) -> int:
        """The number of the last turn that called something; 0 where none did."""
        return self._run("SELECT max(turn) FROM calls WHERE session = ?", (session,))[0][0][0] or 0

    def take_over(self, session: str) -> list[Entry]:
        """The calls of a conversation that a process died in; from now on they read ``in_doubt``.

        What changes nothing is in no doubt: it reads ``cancelled``.
        """
        now = "CASE WHEN effect IN ('pure', 'read') THEN 'cancelled' ELSE 'in_doubt' END"
        self._run(f"UPDATE calls SET status = {now} WHERE session = ? AND status IS NULL", (session,))
        return self.in_doubt(session)

    def settle(self, session: str, call_id: str, *, took_effect: bool) -> None:
        """A person found out what became of a call in doubt.

        Raises:
            UsageError: No such call is in doubt.
        """
        found = self.find(session, call_id)
        if found is None or found.status != "in_doubt":
            raise UsageError(f"No call {call_id!r} of {session!r} is in doubt.", "See: sayso calls --in-doubt")
        words = "took effect" if took_effect else "did not take effect"
        self.end(session, call_id, "ok" if took_effect else "cancelled", f"Somebody looked: it {words}.")

    def in_doubt(self, session: str | None = None) -> list[Entry]:
        """Calls that may have changed something and were not seen to end, oldest first; of one conversation or of all.

        Among all of them are those that run at this moment.
        """
        where, values = ("session = ? AND ", (session,)) if session is not None else ("", ())
        doubtful = "effect NOT IN ('pure', 'read') AND (status IS NULL OR status = 'in_doubt')"
        return self._select(f"{where}{doubtful} ORDER BY begun_s", *values)

    def entries(self, session: str | None = None, last: int = -1) -> list[Entry]:
        """The calls of one conversation or of all, oldest first; the ``last`` so many, or with -1 every one."""
        where, values = ("session = ?", (session,)) if session is not None else ("1", ())
        return self._select(f"{where} ORDER BY begun_s DESC, call_id DESC LIMIT ?", *values, last)[::-1]

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._db.close()

    def _first(self, where: str, *values: Any) -> Entry | None:
        found = self._select(f"{where} LIMIT 1", *values)
        return found[0] if found else None

    def _select(self, where: str, *values: Any) -> list[Entry]:
        return [Entry(*row) for row in self._run(f"SELECT {_COLUMNS} FROM calls WHERE {where}", values)[0]]

    def _run(self, statement: str, values: tuple[Any, ...]) -> tuple[list[Any], int]:
        """The rows that come of a statement, and how many it changed."""
        try:
            with self._lock:
                cursor = self._db.execute(statement, values)
                return cursor.fetchall(), cursor.rowcount
        except sqlite3.Error as error:
            raise JournalError(
                f"The journal {self.path or 'in memory'} failed: {str(error).rstrip('.')}.",
                "Check that it is open, its disk has room and nobody else holds it; without it no call may run.",
            ) from error


_BEGUN = "session, call_id, tool, arguments, effect, turn, generation, begun_s"


def _identity(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.session,
        entry.call_id,
        entry.tool,
        redact(entry.arguments),
        entry.effect,
        entry.turn,
        entry.generation,
    )


def canonical(arguments: dict[str, Any]) -> str:
    """Arguments as JSON that is equal where they are: keys sorted, no spaces, dates and models in their JSON form."""
    try:
        return to_json(_sorted(arguments), inf_nan_mode="strings", bytes_mode="base64", fallback=repr).decode()
    except ValueError:
        return repr(sorted(arguments.items()))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return {key: _sorted(named[key]) for key in sorted(named, key=str)}
    if isinstance(value, (list, tuple)):
        return [_sorted(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, (set, frozenset)):  # in no order, or in another one in the next process
        return sorted((_sorted(item) for item in cast("Iterable[Any]", value)), key=repr)
    if isinstance(value, BaseModel):
        return _sorted(value.model_dump(warnings=False))
    if is_dataclass(value) and not isinstance(value, type):
        return _sorted({field.name: getattr(value, field.name) for field in fields(value)})
    return value


def default_path() -> Path:
    """The journal of this user's agents."""
    return data_root() / "journal.sqlite"
