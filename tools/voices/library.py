"""The library of voices and sounds: one SQLite file, searched by words with FTS5.

It holds the Kokoro voices and the sounds that come with sayso, and the clips that users added. The file lies in the
data folder (``SAYSO_DATA``) beside the clips. Spoken samples and rendered sounds can be made again: they lie in the
cache.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from sayso.errors import UsageError
from sayso.settings import cache_root, data_root
from sayso.tools.voices.words import searchable
from sayso.voices import facts_of

if TYPE_CHECKING:
    from sayso.tools.voices.embed import Embedding

Kind: TypeAlias = Literal["voice", "clip", "sound"]

VERSION = 1
"""Of the tables and of what comes with sayso; a file of another version gets the latter anew and keeps its clips."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A voice, a clip of a voice, or a sound.

    Attributes:
        name: Unique.
        kind: ``voice``: one that the synthesiser has; ``clip``: somebody's speech that a user added; ``sound``: any
            other sound.
        description: For people.
        gender: ``female``, ``male``, or empty where unknown.
        language: BCP 47, or empty.
        note: What figures do not say: ``child``, ``whisper``, ``character``.
        pitch_hz: Median fundamental frequency, as all figures None where not measured.
        pitch_sd_semitones: How much the pitch moves.
        words_per_s: Pace.
        centroid_hz: Spectral centroid: brightness.
        seconds: Length of the clip or sound.
        licence: Under which the sound may be used; empty: not stated.
        consent: How the speaker agreed; empty: not stated.
        file: Name of the clip's file in `VoiceLibrary.clips`; empty for what comes with sayso.
        speaks_as: For a clip: the synthesiser's voice or mixture that is most similar, once that was looked for.
        likeness: Cosine between the clip and ``speaks_as``.
    """

    name: str
    kind: Kind
    description: str
    gender: str = ""
    language: str = ""
    note: str = ""
    pitch_hz: float | None = None
    pitch_sd_semitones: float | None = None
    words_per_s: float | None = None
    centroid_hz: float | None = None
    seconds: float | None = None
    licence: str = ""
    consent: str = ""
    file: str = ""
    speaks_as: str = ""
    likeness: float | None = None


_COLUMNS = ", ".join(field.name for field in fields(Entry))
_TABLES = f"""
CREATE TABLE IF NOT EXISTS entries ({_COLUMNS.replace("name,", "name TEXT PRIMARY KEY,", 1)}, embedding BLOB);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(name UNINDEXED, text, tokenize = 'porter unicode61');
"""


class VoiceLibrary:
    """The library in a folder. Safe to use from several threads and processes at once.

    Args:
        folder: Holds ``library.sqlite`` and ``clips/``; made where it is not there.
        cache: For what can be made again: ``samples/`` and ``sounds/``.

    Raises:
        UsageError: The folder cannot be used.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self.clips = folder / "clips"
        self.samples = cache / "samples"
        self.sounds = cache / "sounds"
        self._file = folder / "library.sqlite"
        try:
            self.clips.mkdir(parents=True, exist_ok=True)
            with self._open() as db:
                if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                    self._prepare(db)
        except (OSError, sqlite3.Error) as error:
            raise UsageError(
                f"The library of voices in {folder} cannot be used: {error}.", "Move it away, or set SAYSO_DATA."
            ) from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._file, timeout=10)) as db, db:
            yield db

    def _prepare(self, db: sqlite3.Connection) -> None:
        from sayso.tools.voices.stock import stock

        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(_TABLES)
        db.execute("BEGIN IMMEDIATE")
        for (name,) in db.execute("SELECT name FROM entries WHERE kind = 'voice' OR file = ''").fetchall():
            _remove(db, name)
        for entry, words in stock():
            _put(db, entry, words, None)
        db.execute(f"PRAGMA user_version = {VERSION}")

    def entries(self) -> list[Entry]:
        """Everything, in the order in which it was added."""
        with self._open() as db:
            return [Entry(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM entries ORDER BY rowid")]

    def entry(self, name: str) -> Entry | None:
        """One entry, or None."""
        with self._open() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM entries WHERE name = ?", (name,)).fetchone()
        return None if row is None else Entry(*row)

    def add(self, entry: Entry, embedding: Embedding | None = None) -> None:
        """Add an entry.

        Raises:
            UsageError: There is one of that name.
        """
        try:
            with self._open() as db:
                _put(db, entry, f"{entry.name} {entry.description}", embedding)
        except sqlite3.IntegrityError as error:
            raise UsageError(f"There is an entry {entry.name!r} already.", "Give another --name.") from error

    def remove(self, name: str) -> None:
        """Remove a clip or sound that a user added, with its file.

        Raises:
            UsageError: There is none, or it comes with sayso.
        """
        entry = self.entry(name)
        if entry is None or not entry.file:
            raise UsageError(f"There is no clip {name!r} that was added.", "List them with: sayso voices search")
        with self._open() as db:
            _remove(db, name)
        clip = self.clips / entry.file
        facts_of(clip).unlink(missing_ok=True)
        clip.unlink(missing_ok=True)

    def embedding(self, name: str) -> Embedding | None:
        """The speaker embedding that was stored with a clip."""
        import numpy as np

        with self._open() as db:
            row = db.execute("SELECT embedding FROM entries WHERE name = ?", (name,)).fetchone()
        return None if row is None or row[0] is None else np.frombuffer(row[0], "<f4").astype(np.float32)

    def set_embedding(self, name: str, embedding: Embedding) -> None:
        """Store a clip's speaker embedding."""
        with self._open() as db:
            db.execute("UPDATE entries SET embedding = ? WHERE name = ?", (embedding.astype("<f4").tobytes(), name))

    def set_likeness(self, name: str, speaks_as: str, likeness: float) -> None:
        """Remember which of the synthesiser's voices a clip is most similar to."""
        with self._open() as db:
            db.execute("UPDATE entries SET speaks_as = ?, likeness = ? WHERE name = ?", (speaks_as, likeness, name))

    def matches(self, words: Iterable[str]) -> dict[str, float]:
        """How well each entry's text fits: the share of ``words`` in it, rare ones counting more.

        Args:
            words: Lower case.

        Returns:
            Names of entries that hold at least one of them, with scores above 0, at most 1.
        """
        scores: dict[str, float] = {}
        total = 0.0
        with self._open() as db:
            count: int = db.execute("SELECT count(*) FROM entries").fetchone()[0]
            for word in dict.fromkeys(words):
                quoted = f'"{word.replace(chr(34), "")}"'
                found = db.execute("SELECT name FROM words WHERE words MATCH ?", (f"text : {quoted}",)).fetchall()
                rarity = math.log(1 + count / max(1, len(found)))
                total += rarity
                for (name,) in found:
                    scores[name] = scores.get(name, 0.0) + rarity
        return {name: score / total for name, score in scores.items()}

    def path(self, entry: Entry) -> Path | None:
        """Where an entry can be heard: the clip's file, the rendered sound, or the voice's sample if there is one."""
        if entry.file:
            return self.clips / entry.file
        if entry.kind == "sound":
            return self._rendered(entry)
        sample = self.samples / f"{entry.name}.flac"
        return sample if sample.is_file() else None

    def _rendered(self, entry: Entry) -> Path:
        from sayso.speech.audio import save
        from sayso.tools.voices.sounds import SOUNDS

        path = self.sounds / f"{entry.name}.flac"
        if not path.is_file():
            self.sounds.mkdir(parents=True, exist_ok=True)
            save(path, next(sound for sound in SOUNDS if sound.name == entry.name).render())
        return path


def _put(db: sqlite3.Connection, entry: Entry, words: str, embedding: Embedding | None) -> None:
    values = (*astuple(entry), None if embedding is None else embedding.astype("<f4").tobytes())
    db.execute(f"INSERT INTO entries ({_COLUMNS}, embedding) VALUES ({', '.join('?' * len(values))})", values)
    db.execute("INSERT INTO words (name, text) VALUES (?, ?)", (entry.name, searchable(words)))


def _remove(db: sqlite3.Connection, name: str) -> None:
    db.execute("DELETE FROM entries WHERE name = ?", (name,))
    db.execute("DELETE FROM words WHERE name = ?", (name,))


def open_library() -> VoiceLibrary:
    """The user's library (``SAYSO_DATA``, ``SAYSO_CACHE``)."""
    return _library(data_root() / "voices", cache_root() / "voices")


@cache
def _library(folder: Path, cache: Path) -> VoiceLibrary:
    return VoiceLibrary(folder, cache)
