"""`DocumentIndex`: folders of documents that can be searched."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from sayso.errors import SaysoError, UsageError
from sayso.settings import cache_root
from sayso.tools.documents.database import DocumentIndexError, connect, get_meta, set_meta, transaction
from sayso.tools.documents.embed import Embedder, MiniLM
from sayso.tools.documents.ranking import by_meaning, by_words, fuse
from sayso.tools.documents.update import IndexReport, OnProgress, Progress, Updater

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

By: TypeAlias = Literal["both", "words", "meaning"]
MAX_QUERY_CHARS = 1000
SUFFIX = ".sqlite"


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that answers a query.

    Attributes:
        text: Its words, up to about 190.
        title: Of the document.
        heading: The headings above it, joined by " > ".
        page: Where it begins, from 1, or None.
        folder: The indexed folder.
        path: Of the file, relative to the folder.
        modified: When the file was changed, Unix time in seconds.
        score: By reciprocal rank fusion; it orders the passages of one search and means nothing beyond.
    """

    text: str
    title: str
    heading: str
    page: int | None
    folder: str
    path: str
    modified: float
    score: float

    @property
    def file(self) -> Path:
        """Where the file was when it was indexed."""
        return Path(self.folder, self.path)

    @property
    def citation(self) -> str:
        """What can be spoken of where this stands: "handbook, section Returns, page 3"."""
        section = self.heading.rpartition(" > ")[2]
        parts = (self.title, section and f"section {section}", self.page and f"page {self.page}")
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Search:
    """The answer to a query.

    Attributes:
        passages: The best first.
        note: Why meaning was left out of account, or empty.
    """

    passages: tuple[Passage, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """How things are with an index.

    Attributes:
        documents: Files in it.
        problems: Files that were looked at and left out.
        chunks: Pieces that the documents were cut into.
        embedded: Of these, those that can be found by meaning.
        updated: When a run last came to its end, Unix time in seconds; 0 for never.
        size_bytes: Of its file.
    """

    name: str
    path: Path
    folders: tuple[Path, ...]
    documents: int
    problems: int
    chunks: int
    embedded: int
    updated: float
    size_bytes: int


class DocumentIndex:
    """Folders of text, Markdown, HTML and PDF in one SQLite file, searched by words and by meaning.

    May be used from several threads and processes at once: searches go on while one run brings the index up to date,
    and a second run waits for the first. Without the model on disk, search is by words alone and says so.

    Args:
        folders: What is indexed, with everything below.
        name: Of the index; by default made from the folders, so that the same folders are the same index.
        root: Where indexes are kept; ``documents`` in the cache (`SAYSO_CACHE`) by default.
        embedder: Turns text into vectors; MiniLM by default.

    Raises:
        UsageError: No folder, or a name that is none.

    Example:
        index = DocumentIndex("~/handbook")
        index.update()
        for passage in index.search("how long do I have to return something").passages:
            print(passage.citation, passage.text)
    """

    def __init__(
        self,
        *folders: str | Path,
        name: str | None = None,
        root: Path | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        self.folders = tuple(dict.fromkeys(Path(folder).expanduser().absolute() for folder in folders))
        if not self.folders:
            raise UsageError("An index needs at least one folder.")
        self.name = _default_name(self.folders) if name is None else name
        self.path = _path(self.name, root)
        self._embedder = embedder
        self._vectors: tuple[str, NDArray[np.int64], NDArray[np.float32]] | None = None
        self._vectors_lock = threading.Lock()

    @classmethod
    def open(cls, name: str, *, root: Path | None = None, embedder: Embedder | None = None) -> DocumentIndex:
        """An index that was made before.

        Raises:
            UsageError: There is none of that name.
        """
        path = _path(name, root)
        with connect(path) as connection:
            folders = json.loads(get_meta(connection, "folders") or "[]")
        if not folders:
            names = ", ".join(index_names(root)) or "none yet"
            raise UsageError(
                f"There is no index of documents {name!r}; there are: {names}.",
                "Make one with: sayso documents index FOLDER",
            )
        return cls(*folders, name=name, root=root, embedder=embedder)

    def update(self, progress: OnProgress | None = None) -> IndexReport:
        """Bring the index up to date with its folders. Only what changed is read; only new text is embedded.

        Files that cannot be read are in the report, with the reason; they never end a run.

        Args:
            progress: Told before each file and each batch of chunks. What it raises ends the run; the index stays
                usable.

        Raises:
            UsageError: A folder is not there. Nothing was changed then.
            DocumentIndexError: The index's file cannot be used.
        """
        tell = progress or (lambda progress: None)
        self._check_folders()
        begun = time.monotonic()
        with self._only_run(tell):
            report = self._update(tell)
        report.seconds = time.monotonic() - begun
        return report

    def search(self, query: str, count: int = 5, *, by: By = "both") -> Search:
        """The passages that answer ``query`` best.

        Args:
            query: In anybody's words; nothing in it is a command.
            count: At most this many.
            by: ``words`` (BM25), ``meaning`` (cosine of MiniLM vectors), or ``both``, fused by rank.

        Raises:
            UsageError: ``by`` is none of these.
            DocumentIndexError: The index's file cannot be used.
        """
        if by not in get_args(By):
            raise UsageError(f"Search cannot go by {by!r}.", f"Use {', '.join(get_args(By))}.")
        query = " ".join(query.split())[:MAX_QUERY_CHARS]
        if not query or count < 1:
            return Search(())
        with connect(self.path) as connection, transaction(connection, write=False):
            words = by_words(connection, query) if by != "meaning" else {}
            near, note = self._near(connection, query) if by != "words" else ({}, "")
            scores = fuse(words if near else dict.fromkeys(words, 1.0), near)  # words alone: BM25 as it is
            passages = [_passage(connection, chunk, scores[chunk]) for chunk in list(scores)[:count]]
        return Search(tuple(passages), note)

    def status(self) -> IndexStatus:
        """How things are, without looking at the folders."""
        with connect(self.path) as connection:
            count = connection.execute(_COUNTS).fetchone()
            updated = float(get_meta(connection, "updated") or 0)
        size = self.path.stat().st_size if self.path.exists() else 0
        return IndexStatus(self.name, self.path, self.folders, *count, updated, size)

    def _check_folders(self) -> None:
        for folder in self.folders:
            if not folder.is_dir():
                raise UsageError(f"{folder} is no folder.", "Name a folder with documents.")

    @contextmanager
    def _only_run(self, tell: OnProgress) -> Iterator[None]:
        from filelock import FileLock, Timeout

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path.with_suffix(".lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                tell(Progress("waiting"))
                lock.acquire()
        except OSError as error:
            raise DocumentIndexError(f"The index {self.path} cannot be written: {error}.") from error
        try:
            yield
        finally:
            lock.release()

    def _update(self, tell: OnProgress) -> IndexReport:
        with connect(self.path, create=True) as connection:
            with transaction(connection):
                set_meta(connection, "folders", json.dumps([str(folder) for folder in self.folders]))
            run = Updater(connection, tell)
            run.read(self.folders)
            try:
                embedder = self._load_embedder()
            except SaysoError as error:
                run.report.note = _by_words_only(error)
            else:
                run.embed(embedder)
            with transaction(connection):
                set_meta(connection, "updated", str(time.time()))
        return run.report

    def _load_embedder(self) -> Embedder:
        if self._embedder is None:
            self._embedder = _minilm()
        return self._embedder

    def _near(self, connection: sqlite3.Connection, query: str) -> tuple[dict[int, float], str]:
        ids, vectors = self._load_vectors(connection)
        try:
            embedder = self._load_embedder()
        except SaysoError as error:
            return {}, _by_words_only(error)
        if not len(ids) or get_meta(connection, "embedder") != embedder.name:
            return {}, ""
        return by_meaning(ids, vectors, embedder.embed([query])[0]), ""

    def _load_vectors(self, connection: sqlite3.Connection) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """All vectors, in memory: 1.5 kB a chunk. They are loaded again when the index has changed."""
        import numpy as np

        generation = get_meta(connection, "generation")
        with self._vectors_lock:
            if self._vectors is None or self._vectors[0] != generation:
                rows: Sequence[tuple[int, bytes]] = connection.execute(
                    "SELECT id, vector FROM chunks JOIN vectors USING (hash) ORDER BY id"
                ).fetchall()
                ids = np.array([row[0] for row in rows], np.int64)
                packed = np.frombuffer(b"".join(row[1] for row in rows), np.float16)
                self._vectors = generation, ids, packed.astype(np.float32).reshape(len(rows), -1 if rows else 0)
            return self._vectors[1], self._vectors[2]


def index_names(root: Path | None = None) -> list[str]:
    """The names of the indexes on this machine."""
    return sorted(path.stem for path in _folder(root).glob(f"*{SUFFIX}"))


_COUNTS = """
SELECT (SELECT count(*) FROM documents WHERE problem = ''), (SELECT count(*) FROM documents WHERE problem <> ''),
    (SELECT count(*) FROM chunks), (SELECT count(*) FROM chunks JOIN vectors USING (hash))
"""
_PASSAGE = """
SELECT text, title, heading, page, folder, path, mtime_ns / 1e9
FROM chunks JOIN documents ON document = documents.id WHERE chunks.id = ?
"""
_minilm_lock = threading.Lock()


@cache
def _only_minilm() -> Embedder:
    return MiniLM()


def _minilm() -> Embedder:
    """One for all indexes of the process."""
    with _minilm_lock:
        return _only_minilm()


def _by_words_only(error: SaysoError) -> str:
    return f"Search is by words alone, not by meaning. {error}"


def _passage(connection: sqlite3.Connection, chunk: int, score: float) -> Passage:
    row: Any = connection.execute(_PASSAGE, (chunk,)).fetchone()
    return Passage(*row, score)


def _folder(root: Path | None) -> Path:
    return root or cache_root() / "documents"


def _path(name: str, root: Path | None) -> Path:
    if not re.fullmatch(r"[\w][\w.-]{0,63}", name):
        raise UsageError(f"{name!r} is no name for an index.", "Use letters, digits, hyphens and underscores.")
    return _folder(root) / f"{name}{SUFFIX}"


def _default_name(folders: Sequence[Path]) -> str:
    digest = hashlib.sha256("\n".join(map(str, folders)).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{re.sub(r'[^a-z0-9]+', '-', folders[0].name.lower()).strip('-')[:40] or 'documents'}-{digest}"
