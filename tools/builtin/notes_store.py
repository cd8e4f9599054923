"""`NoteStore`: what people asked to be remembered, in one SQLite file with full-text search.

One file holds the notes of all users; every statement names the user. The file can be read by its owner only, and
what is forgotten is overwritten, not only unlinked.
"""

from __future__ import annotations

import os
import re
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sayso.errors import SaysoError

MAX_NOTES = 2000
"""Of one user."""

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given out twice: "forget number 3" cannot mean a later note
    user TEXT NOT NULL,
    topic TEXT NOT NULL,
    text TEXT NOT NULL,
    key TEXT NOT NULL,
    created_s REAL NOT NULL,
    UNIQUE (user, key)
);
CREATE VIRTUAL TABLE IF NOT EXISTS note_index USING fts5(content, tokenize = 'porter unicode61 remove_diacritics 2');
COMMIT;
"""
_IDEOGRAPH = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
_WORD = re.compile(r"[^\W_]+")
_STOP = frozenset(
    "a about am an and any anything are at be by can did do does everything for forget from had has have how i in is "
    "it its know me mine my no note notes of off on or our please recall remember remind she so tell than that the "
    "their them then there these they this those to told us was we were what when where which who whose why will with "
    "you your yours s t m 的 了 吗 我 你 是 什 么 在 哪 里 有".split()
)


class NotesError(SaysoError):
    """The notes cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something remembered.

    Attributes:
        id: Its number, for life.
        topic: One or two words, or empty.
        text: As it was given.
        created_s: Unix time.
    """

    id: int
    topic: str
    text: str
    created_s: float


class NoteStore:
    """The notes in one file. Thread-safe: every call has a connection of its own.

    Args:
        path: The file; made with its folder where it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, user: str, text: str, topic: str, now_s: float) -> tuple[Note, bool]:
        """Keep a note, and whether it is new: the same words (but for case and punctuation) are kept once.

        Raises:
            NotesError: The file cannot be written, or the user has `MAX_NOTES`.
        """
        key = " ".join(_WORD.findall(_plain(text))) or text
        with self._write() as db:
            old = db.execute("SELECT id, topic, text, created_s FROM notes WHERE user = ? AND key = ?", (user, key))
            if row := old.fetchone():
                return Note(*row), False  # nothing to commit
            (count,) = db.execute("SELECT count(*) FROM notes WHERE user = ?", (user,)).fetchone()
            if count >= MAX_NOTES:
                raise NotesError(f"There are {MAX_NOTES} notes already.", "Forget some first.")
            values = (user, topic, text, key, now_s)
            made = db.execute("INSERT INTO notes (user, topic, text, key, created_s) VALUES (?, ?, ?, ?, ?)", values)
            number = made.lastrowid or 0
            db.execute("INSERT INTO note_index (rowid, content) VALUES (?, ?)", (number, _indexed(f"{topic} {text}")))
            return Note(number, topic, text, now_s), True

    def search(self, user: str, query: str, limit: int, *, every_word: bool = False) -> list[Note]:
        """The notes that fit best, the best first; the latest ones where the query has no words of its own.

        Args:
            user: Whose notes.
            query: As it was said; words such as "what" and "my" do not count.
            limit: Most notes.
            every_word: All words have to be in the note, not just any.

        Raises:
            NotesError: The file cannot be read.
        """
        terms = query_words(query)
        with self._open() as db:
            if not terms:
                rows = db.execute(
                    "SELECT id, topic, text, created_s FROM notes WHERE user = ? ORDER BY id DESC LIMIT ?",
                    (user, limit),
                )
            else:
                match = (" AND " if every_word else " OR ").join(f'"{term}"' for term in terms)
                rows = db.execute(
                    "SELECT id, topic, text, created_s FROM note_index JOIN notes ON notes.id = note_index.rowid "
                    "WHERE note_index MATCH ? AND user = ? ORDER BY bm25(note_index), id DESC LIMIT ?",
                    (match, user, limit),
                )
            return [Note(*row) for row in rows]

    def get(self, user: str, number: int) -> Note | None:
        """The user's note of this number.

        Raises:
            NotesError: The file cannot be read.
        """
        with self._open() as db:
            found = db.execute("SELECT id, topic, text, created_s FROM notes WHERE user = ? AND id = ?", (user, number))
            row = found.fetchone()
            return Note(*row) if row else None

    def remove(self, user: str, number: int) -> bool:
        """Forget a note for good, and whether it was there.

        Raises:
            NotesError: The file cannot be written.
        """
        with self._write() as db:
            gone = db.execute("DELETE FROM notes WHERE user = ? AND id = ?", (user, number)).rowcount
            if gone:
                db.execute("DELETE FROM note_index WHERE rowid = ?", (number,))
                db.execute(
                    "INSERT INTO note_index (note_index) VALUES ('optimize')"
                )  # the index keeps deleted words until then
        if gone:
            with self._open() as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return bool(gone)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection that commits every statement."""
        try:
            if not self._path.exists():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite's own files take the same mode
            with closing(sqlite3.connect(self._path, timeout=5.0, isolation_level=None)) as db:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA secure_delete = ON")
                if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'note_index'").fetchone():
                    db.executescript(_SCHEMA)
                yield db
        except (sqlite3.Error, OSError) as error:
            raise NotesError(f"The notes in {self._path.name} cannot be used: {error}.") from error

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction: all of it or nothing."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db  # left by an exception: closing rolls back
            db.execute("COMMIT")


def query_words(query: str) -> list[str]:
    """The words of a query that a note is looked up by."""
    words = _WORD.findall(_indexed(query))
    return list(dict.fromkeys(word for word in words if word not in _STOP))[:20]


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _indexed(text: str) -> str:
    """For the index: Chinese and Japanese are written without spaces, so that every character is a word."""
    return _IDEOGRAPH.sub(r" \1 ", _plain(text))
