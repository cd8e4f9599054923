"""`Conversations`: what was said, kept in a file, so that a conversation outlives its process.

Its calls are in the journal (`sayso.tools.journal`), which is written before they run. Here are the items of whole
turns: they are stored before anybody is told that the turn is done.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from sayso.database import open_database
from sayso.errors import SaysoError
from sayso.items import AssistantReply, Audio, Instruction, Item, ToolCall, ToolOutput, UserInput
from sayso.settings import data_root

KEPT_S = 30 * 24 * 3600.0
"""Conversations that were left alone for longer are deleted when the file is opened."""

_KINDS: Final[dict[str, type[Item]]] = {
    "user": UserInput,
    "instruction": Instruction,
    "reply": AssistantReply,
    "call": ToolCall,
    "output": ToolOutput,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS conversations (
    id TEXT PRIMARY KEY,
    agent TEXT NOT NULL,
    user TEXT NOT NULL,
    voice TEXT,
    turn INTEGER NOT NULL,
    created_s REAL NOT NULL,
    updated_s REAL NOT NULL,
    settings TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_age ON conversations (updated_s);
CREATE TABLE IF NOT EXISTS items (
    conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    content TEXT NOT NULL,
    audio BLOB,
    sample_rate_hz INTEGER,
    PRIMARY KEY (conversation, position)
);
"""


_log = logging.getLogger(__name__)


_COLUMNS = "id, agent, user, voice, turn, created_s, updated_s"


class StoreError(SaysoError):
    """Conversations cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One conversation as it was stored.

    Attributes:
        id: Its name.
        agent: The name that its agent is served by.
        user: Whom it serves.
        voice: The voice it speaks with; None: its agent's.
        turn: The number of its last turn.
        created_s: Unix time.
        updated_s: Unix time.
    """

    id: str
    agent: str
    user: str
    voice: str | None
    turn: int
    created_s: float
    updated_s: float


class Conversations:
    """The conversations of all agents that share a file. Safe to use from several threads.

    A conversation belongs to one session at a time.

    Args:
        path: The file, made with its folder; None keeps everything in memory.
        durable: See `sayso.database.open_database`.
        clock: Unix time in seconds.

    Raises:
        StoreError: It cannot be opened.
    """

    def __init__(
        self, path: Path | str | None = None, *, durable: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self._clock = clock
        self._lock = threading.Lock()
        try:
            self._db = open_database(self.path, _SCHEMA, durable=durable)
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("DELETE FROM conversations WHERE updated_s < ?", (clock() - KEPT_S,))
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"The conversations in {self.path} cannot be opened: {error}.",
                "Move the file away, or set SAYSO_DATA elsewhere.",
            ) from error

    def open(self, id: str, *, agent: str, user: str) -> tuple[Saved, list[Item]]:
        """A conversation with its items; made where there is none.

        Raises:
            StoreError: It cannot be read or written.
        """
        now = self._clock()
        with self._transaction() as db:
            db.execute(
                f"INSERT OR IGNORE INTO conversations ({_COLUMNS}) VALUES (?, ?, ?, NULL, 0, ?, ?)",
                (id, agent, user, now, now),
            )
            row = db.execute(f"SELECT {_COLUMNS} FROM conversations WHERE id = ?", (id,)).fetchone()
        return Saved(*row), self.items(id)

    def items(self, id: str) -> list[Item]:
        """The items of a conversation; none where there is no such conversation."""
        statement = "SELECT kind, content, audio, sample_rate_hz FROM items WHERE conversation = ? ORDER BY position"
        with self._transaction() as db:
            rows = db.execute(statement, (id,)).fetchall()
        return [_item(*row) for row in rows]

    def find(self, id: str) -> Saved | None:
        """A conversation, or None where there is none (any more)."""
        with self._transaction() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM conversations WHERE id = ?", (id,)).fetchone()
        return None if row is None else Saved(*row)

    def list(self, *, agent: str | None = None, user: str | None = None, last: int = 100) -> list[Saved]:
        """The ``last`` so many, the newest first; of one agent or user, or of all."""
        wanted = [(name, value) for name, value in (("agent", agent), ("user", user)) if value is not None]
        where = " AND ".join(f"{name} = ?" for name, _ in wanted) or "1"
        statement = f"SELECT {_COLUMNS} FROM conversations WHERE {where} ORDER BY updated_s DESC, id LIMIT ?"
        with self._transaction() as db:
            rows = db.execute(statement, (*(value for _, value in wanted), last)).fetchall()
        return [Saved(*row) for row in rows]

    def save(self, id: str, kept: int, items: Sequence[Item], *, turn: int, voice: str | None) -> None:
        """Store a conversation as it is now.

        Args:
            id: Its name.
            kept: So many of its first items are stored already as they are.
            items: Those behind them.
            turn: The number of its last turn.
            voice: The voice it speaks with.

        Raises:
            StoreError: It cannot be written.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM items WHERE conversation = ? AND position >= ?", (id, kept))
            rows = [(id, at, *_row(item)) for at, item in enumerate(items, kept)]
            db.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?)", rows)
            update = "UPDATE conversations SET turn = ?, voice = ?, updated_s = ? WHERE id = ?"
            db.execute(update, (turn, voice, self._clock(), id))

    def settings(self, id: str) -> dict[str, Any]:
        """What an app asked for when it opened the conversation; empty where it asked for nothing."""
        with self._transaction() as db:
            row = db.execute("SELECT settings FROM conversations WHERE id = ?", (id,)).fetchone()
        return {} if row is None else json.loads(row[0])

    def keep_settings(self, id: str, settings: dict[str, Any]) -> None:
        """Store them: anything that is JSON."""
        with self._transaction() as db:
            db.execute("UPDATE conversations SET settings = ? WHERE id = ?", (json.dumps(settings), id))

    def delete(self, id: str) -> bool:
        """Forget a conversation; whether there was one."""
        with self._transaction() as db:
            return db.execute("DELETE FROM conversations WHERE id = ?", (id,)).rowcount > 0

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._db.close()

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db, self._lock, self.path)


class _Transaction:
    """All or nothing, one thread at a time; what SQLite says becomes a `StoreError`."""

    def __init__(self, db: sqlite3.Connection, lock: threading.Lock, path: Path | None) -> None:
        self._db, self._lock, self._path = db, lock, path

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._lock.release()
            raise self._error(error) from error
        return self._db

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            self._db.execute("COMMIT" if error is None else "ROLLBACK")
        except sqlite3.Error as failure:
            raise self._error(failure) from failure
        finally:
            self._lock.release()
        if isinstance(error, sqlite3.Error):
            raise self._error(error) from error

    def _error(self, error: sqlite3.Error) -> StoreError:
        return StoreError(
            f"The conversations in {self._path or 'memory'} failed: {str(error).rstrip('.')}.",
            "Check that the file is open, its disk has room and nobody else holds it.",
        )


class Keeper:
    """Stores one session's conversation whenever it has changed.

    Args:
        conversations: Where.
        id: The conversation's name.
        items: What is stored already.
    """

    def __init__(self, conversations: Conversations, id: str, items: Iterable[Item]) -> None:
        self._conversations = conversations
        self._id = id
        self._stored = list(items)

    def keep(self, items: Sequence[Item], *, turn: int, voice: str | None) -> None:
        """Store what is new. Where that fails it is logged: whoever talks goes on, and the next time stores all."""
        same = 0
        for stored, item in zip(self._stored, items, strict=False):
            if stored is not item:
                break
            same += 1
        try:
            self._conversations.save(self._id, same, items[same:], turn=turn, voice=voice)
        except StoreError as error:
            _log.error("conversation %s is not stored: %s", self._id, error)
        else:
            self._stored = list(items)


def default_path() -> Path:
    """The conversations of this user's server."""
    return data_root() / "conversations.sqlite"


def _row(item: Item) -> tuple[str, str, bytes | None, int | None]:
    audio = item.audio if isinstance(item, UserInput) else None
    silent = replace(item, audio=None) if isinstance(item, UserInput) else item
    content = json.dumps(asdict(silent), ensure_ascii=False)
    if audio is None:
        return _NAMES[type(item)], content, None, None
    from sayso.speech.audio import to_pcm16

    return _NAMES[type(item)], content, to_pcm16(audio), audio.sample_rate_hz


def _item(kind: str, content: str, pcm: bytes | None, sample_rate_hz: int | None) -> Item:
    fields: dict[str, Any] = json.loads(content)
    if "token_ids" in fields:
        fields["token_ids"] = tuple(fields["token_ids"])
    if pcm is not None and sample_rate_hz is not None:
        fields["audio"] = _audio(pcm, sample_rate_hz)
    return _KINDS[kind](**fields)


def _audio(pcm: bytes, sample_rate_hz: int) -> Audio:
    from sayso.speech.audio import from_pcm16

    return from_pcm16(pcm, sample_rate_hz)
