"""Bringing an index up to date: what is new or changed is read, what is gone leaves, what lacks a vector gets one.

Work is committed in small batches. A run that is killed leaves an index that answers, and the next run goes on there.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from sayso.tools.documents.chunks import Chunk, chunk
from sayso.tools.documents.database import (
    add_chunks,
    embedding_text,
    get_meta,
    remove_document,
    set_meta,
    touch,
    transaction,
)
from sayso.tools.documents.embed import Embedder
from sayso.tools.documents.extract import Document, Unreadable, extract, size_limit, title_from_name
from sayso.tools.documents.files import Found, find_files, reason

FILES_A_BATCH = 32
CHUNKS_A_BATCH = 64
SHOW_EVERY_S = 5.0
"""How often new vectors are shown to searches, which then load all of them again."""

Phase: TypeAlias = Literal["waiting", "reading", "embedding"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        phase: ``waiting`` for another process that indexes the same, ``reading`` files, ``embedding`` chunks.
        done: Of ``total`` files or chunks.
        path: The file at hand, relative to its folder.
    """

    phase: Phase
    done: int = 0
    total: int = 0
    path: str = ""


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that is not in the index, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class IndexReport:
    """What a run did.

    Attributes:
        added: Files that are new.
        changed: Files whose content is another than before.
        moved: Of the added, those whose content was known under another path before.
        removed: Files that are gone.
        unchanged: Files that were left alone.
        skipped: Files that cannot be read, those found broken in an earlier run included.
        embedded: Chunks that got a vector.
        seconds: How long it took.
        note: Why the index has no vectors, or empty.
    """

    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list[Skipped])
    embedded: int = 0
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    """A file as the index has it."""

    id: int
    size: int
    mtime_ns: int
    sha256: bytes
    problem: str


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was read, ready to be put in."""

    found: Found
    sha256: bytes
    document: Document
    chunks: list[Chunk]
    problem: str
    replaces: int | None


class Updater:
    """One run over the folders of an index. The caller holds the index's lock."""

    def __init__(self, connection: sqlite3.Connection, progress: OnProgress) -> None:
        self._db = connection
        self._progress = progress
        self.report = IndexReport()

    def read(self, folders: Sequence[Path]) -> None:
        """Take in what is new or changed, and out what is gone."""
        found = {(file.folder, file.path): file for folder in folders for file in find_files(folder, self._skip)}
        known = self._known()
        gone = {place: row for place, row in known.items() if place not in found}
        gone_hashes = {row.sha256 for row in gone.values()}
        self._remove(gone.values())
        waiting: list[_Read] = []
        for number, (place, file) in enumerate(found.items()):
            self._progress(Progress("reading", number, len(found), file.path))
            if one := self._read(file, known.get(place)):
                self.report.moved += one.replaces is None and one.sha256 in gone_hashes
                waiting.append(one)
            if len(waiting) == FILES_A_BATCH:
                self._put(waiting)
                waiting = []
        self._put(waiting)
        self._progress(Progress("reading", len(found), len(found)))

    def embed(self, embedder: Embedder) -> None:
        """Give every chunk its vector, the short ones first."""
        if get_meta(self._db, "embedder") != embedder.name:
            with transaction(self._db):
                self._db.execute("DELETE FROM vectors")
                set_meta(self._db, "embedder", embedder.name)
        pending: list[int] = [row[0] for row in self._db.execute(_PENDING)]
        shown = time.monotonic()
        for start in range(0, len(pending), CHUNKS_A_BATCH):
            self._progress(Progress("embedding", start, len(pending)))
            self._embed(embedder, pending[start : start + CHUNKS_A_BATCH])
            if time.monotonic() - shown > SHOW_EVERY_S:
                touch(self._db)
                shown = time.monotonic()
        self._progress(Progress("embedding", len(pending), len(pending)))
        with transaction(self._db):
            self._db.execute("DELETE FROM vectors WHERE hash NOT IN (SELECT hash FROM chunks)")
            touch(self._db)

    def _known(self) -> dict[tuple[str, str], _Known]:
        rows = self._db.execute("SELECT folder, path, id, size, mtime_ns, sha256, problem FROM documents")
        return {(folder, path): _Known(*rest) for folder, path, *rest in rows}

    def _skip(self, path: str, why: str) -> None:
        self.report.skipped.append(Skipped(path, why))

    def _remove(self, rows: Iterable[_Known]) -> None:
        with transaction(self._db):
            for row in rows:
                remove_document(self._db, row.id)
                self.report.removed += 1
            touch(self._db)

    def _read(self, file: Found, known: _Known | None) -> _Read | None:
        """The file, unless the index has it as it is."""
        if known is not None and (known.size, known.mtime_ns) == (file.size, file.mtime_ns):
            self._leave(file, known)
            return None
        limit = size_limit(file.file.suffix)
        if file.size > limit:
            return self._problem(file, b"", f"larger than {limit >> 20} MB", known)
        try:
            data = file.file.read_bytes()
        except OSError as error:  # may be gone the next time, so nothing is noted in the index
            self._skip(file.path, reason(error))
            return None
        digest = hashlib.sha256(data).digest()
        if known is not None and known.sha256 == digest:
            self._db.execute("UPDATE documents SET mtime_ns = ? WHERE id = ?", (file.mtime_ns, known.id))
            self._leave(file, known)
            return None
        try:
            document = extract(file.path, data)
        except Unreadable as error:
            if not error.lasting:
                self._skip(file.path, str(error))
                return None
            return self._problem(file, digest, str(error), known)
        return _Read(file, digest, document, list(chunk(document)), "", known.id if known else None)

    def _leave(self, file: Found, known: _Known) -> None:
        if known.problem:
            self._skip(file.path, known.problem)
        else:
            self.report.unchanged += 1

    def _problem(self, file: Found, digest: bytes, why: str, known: _Known | None) -> _Read:
        self._skip(file.path, why)
        return _Read(file, digest, Document(title_from_name(file.path), ()), [], why, known.id if known else None)

    def _put(self, files: list[_Read]) -> None:
        with transaction(self._db):
            for one in files:
                if one.replaces is not None:
                    remove_document(self._db, one.replaces)
                file = one.found
                row = self._db.execute(
                    "INSERT INTO documents (folder, path, size, mtime_ns, sha256, title, problem)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (file.folder, file.path, file.size, file.mtime_ns, one.sha256, one.document.title, one.problem),
                ).lastrowid
                assert row is not None
                add_chunks(self._db, row, one.document, one.chunks)
                if not one.problem:
                    self.report.added += one.replaces is None
                    self.report.changed += one.replaces is not None
            touch(self._db)

    def _embed(self, embedder: Embedder, chunks: list[int]) -> None:
        import numpy as np

        marks = ", ".join("?" * len(chunks))
        rows = self._db.execute(
            f"SELECT hash, title, heading, text FROM chunks JOIN documents ON document = documents.id"
            f" WHERE chunks.id IN ({marks})",
            chunks,
        ).fetchall()
        vectors = embedder.embed([embedding_text(*words) for _, *words in rows]).astype(np.float16)
        with transaction(self._db):
            self._db.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                [(row[0], vector.tobytes()) for row, vector in zip(rows, vectors, strict=True)],
            )
        self.report.embedded += len(rows)


_PENDING = """
SELECT min(id) FROM chunks WHERE hash NOT IN (SELECT hash FROM vectors) GROUP BY hash ORDER BY length(text), min(id)
"""
