"""The SQLite file of an index: its tables, and how text becomes words in it."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sayso.errors import SaysoError
from sayso.tools.documents.chunks import CJK, Chunk
from sayso.tools.documents.extract import Document

VERSION = 1
BUSY_TIMEOUT_S = 30.0

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    folder TEXT NOT NULL,
    path TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    title TEXT NOT NULL,
    problem TEXT NOT NULL,
    UNIQUE (folder, path)
);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    heading TEXT NOT NULL,
    page INTEGER,
    text TEXT NOT NULL,
    hash BLOB NOT NULL
);
CREATE INDEX chunks_document ON chunks (document);
CREATE INDEX chunks_hash ON chunks (hash);
CREATE TABLE vectors (hash BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (
    title, heading, body, tokenize = "porter unicode61 remove_diacritics 2"
);
"""
# `vectors` goes by what was embedded, not by chunk: a file that moves, and the untouched parts of one that is edited,
# keep their vectors. `documents` has a row for a broken file too, so that it is read again only after it changed.

_CJK = re.compile(f"([{CJK}])")


class DocumentIndexError(SaysoError):
    """The file of an index cannot be used. It can always be made again from the documents."""


@contextmanager
def connect(path: Path, *, create: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection in autocommit mode, closed in the end.

    Args:
        path: The file.
        create: Make the file where there is none; only one process may do so at a time. Otherwise an index that is
            not there reads as an empty one.

    Raises:
        DocumentIndexError: The file is no index, is damaged, or is of another version of sayso.
    """
    connection: sqlite3.Connection | None = None
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = _open(path, create=create)
        yield connection
    except (sqlite3.Error, OSError) as error:
        raise DocumentIndexError(
            f"The index {path} failed: {error}.", "If this stays so, delete the file and index again."
        ) from error
    finally:
        if connection is not None:
            connection.close()


def _open(path: Path, *, create: bool) -> sqlite3.Connection:
    connection = _plain_connection(str(path if create or path.exists() else ":memory:"))
    try:
        version = _version(connection)
        if version == 0 and not create:
            connection.close()
            connection = _plain_connection(":memory:")
        if version == 0:
            _make_tables(connection)
        elif version != VERSION:
            raise DocumentIndexError(
                f"The index {path} has version {version}; this sayso reads {VERSION}.",
                "Delete the file and index again.",
            )
        return connection
    except BaseException:
        connection.close()
        raise


def _plain_connection(place: str) -> sqlite3.Connection:
    connection = sqlite3.connect(place, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")  # readers go on while an index grows
    with transaction(connection):
        for statement in _SCHEMA.strip().split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def transaction(connection: sqlite3.Connection, *, write: bool = True) -> Iterator[None]:
    """All or nothing; with ``write=False`` a view of the index that does not change while it is read."""
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def get_meta(connection: sqlite3.Connection, key: str) -> str:
    """A fact about the index, or an empty string."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return "" if row is None else str(row[0])


def set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Keep a fact about the index."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
    )


def touch(connection: sqlite3.Connection) -> None:
    """Say that chunks or vectors changed: whoever holds vectors in memory loads them again."""
    set_meta(connection, "generation", str(int(get_meta(connection, "generation") or 0) + 1))


def remove_document(connection: sqlite3.Connection, document: int) -> None:
    """Take a document and its chunks out."""
    connection.execute("DELETE FROM words WHERE rowid IN (SELECT id FROM chunks WHERE document = ?)", (document,))
    connection.execute("DELETE FROM documents WHERE id = ?", (document,))


def add_chunks(connection: sqlite3.Connection, row: int, document: Document, chunks: list[Chunk]) -> None:
    """Put the chunks of the document with id ``row`` in."""
    title = spaced(document.title)
    for piece in chunks:
        digest = hashlib.sha256(embedding_text(document.title, piece.heading, piece.text).encode()).digest()[:16]
        added = connection.execute(
            "INSERT INTO chunks (document, heading, page, text, hash) VALUES (?, ?, ?, ?, ?)",
            (row, piece.heading, piece.page, piece.text, digest),
        )
        words = (added.lastrowid, title, spaced(piece.heading), spaced(piece.text))
        connection.execute("INSERT INTO words (rowid, title, heading, body) VALUES (?, ?, ?, ?)", words)


def embedding_text(title: str, heading: str, text: str) -> str:
    """What is embedded of a chunk: where it stands says what it is about."""
    return ". ".join(part for part in (title, heading, text) if part)


def spaced(text: str) -> str:
    """``text`` with spaces around every Chinese, Japanese and Korean character: FTS5 splits at spaces only."""
    return _CJK.sub(r" \1 ", text)
