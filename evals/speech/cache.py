"""Rendered clips on disk, found by their content: FLAC with a JSON file beside it.

Whoever renders holds a lock that other processes wait for, so nothing is rendered twice; files appear whole or not at
all; what was used longest ago goes when the cache is full. Damaged entries are made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sayso.errors import AudioError, UsageError
from sayso.items import Audio, JsonObject
from sayso.settings import cache_root
from sayso.speech.audio import load, save

SCHEMA: Final = 1
"""Of keys and files: another one makes everything anew."""
MOST_BYTES: Final = 2 * 1024**3
_EVICT_TO: Final = 0.9
"""A full cache is brought down to this share, so that not every clip evicts one."""


class CacheMiss(UsageError):
    """A clip is not in the cache, and nothing may be rendered."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A clip with what is known of it."""

    audio: Audio
    facts: JsonObject


class ClipCache:
    """A folder of clips.

    Args:
        folder: None: below the user's cache folder.
        most_bytes: How much it may hold.
        may_make: Whether what is missing is made; where not, `CacheMiss` is raised.

    Attributes:
        made: How many clips this process made.
    """

    def __init__(self, folder: Path | None = None, *, most_bytes: int = MOST_BYTES, may_make: bool = True) -> None:
        self.folder = folder or cache_root() / "eval-speech"
        self.may_make = may_make
        self.made = 0
        self._most_bytes = most_bytes

    def get(self, key: str) -> Entry | None:
        """A clip that is there, or None; it counts as used."""
        sound, facts = self._paths(key)
        try:
            entry = Entry(load(sound), json.loads(facts.read_text("utf-8")))
            os.utime(facts)
        except (OSError, ValueError, AudioError):
            return None
        return entry

    def get_or_make(
        self, key: str, make: Callable[[], Entry], what: str = "", *, layer: Literal["clean", "wet"] = "clean"
    ) -> Entry:
        """A clip, made now if it is not there.

        What is returned is what the file holds (16 bits), now and later.

        Args:
            key: See `key_of`.
            make: Makes it.
            what: For the message where it may not be made.
            layer: What is ``wet`` may be made from what is ``clean``: their locks differ, so that one can wait for the
                other.

        Raises:
            CacheMiss: It is not there and may not be made.
        """
        from filelock import FileLock

        if entry := self.get(key):
            return entry
        if not self.may_make:
            raise CacheMiss(
                f"The clip {what or key[:12]!r} was not rendered.", "Fill the cache: sayso eval render SUITE"
            )
        locks = self.folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{layer}-{key[0]}.lock"):
            if entry := self.get(key):  # another process was faster
                return entry
            self._put(key, make())
            self.made += 1
        self._evict()
        entry = self.get(key)
        if entry is None:
            raise AudioError(f"The clip {key[:12]} cannot be kept in {self.folder}.", "Is the disk full?")
        return entry

    def note(self, key: str, facts: JsonObject) -> None:
        """Add to what is known of a clip."""
        entry = self.get(key)
        if entry is not None:
            _write(self._paths(key)[1], json.dumps(entry.facts | facts, ensure_ascii=False, indent=1, sort_keys=True))

    def size(self) -> int:
        """Bytes of all clips."""
        return sum(path.stat().st_size for path in self.folder.glob("??/*.*"))

    def _put(self, key: str, entry: Entry) -> None:
        sound, facts = self._paths(key)
        sound.parent.mkdir(parents=True, exist_ok=True)
        save(sound, entry.audio)
        text = json.dumps(entry.facts | {"key": key}, ensure_ascii=False, indent=1, sort_keys=True)
        _write(facts, text)  # last: an entry is there once this is

    def _evict(self) -> None:
        """Remove what was used longest ago, until there is room."""
        from filelock import FileLock

        with FileLock(self.folder / "locks" / "evict.lock"):
            entries = sorted((_used(facts), facts) for facts in self.folder.glob("??/*.json"))
            sizes = {facts: _size(facts) + _size(facts.with_suffix(".flac")) for _, facts in entries}
            total = sum(sizes.values())
            if total <= self._most_bytes:
                return
            for _, facts in entries[:-1]:  # the newest stays, however large
                if total <= self._most_bytes * _EVICT_TO:
                    return
                facts.unlink(missing_ok=True)
                facts.with_suffix(".flac").unlink(missing_ok=True)
                total -= sizes[facts]

    def _paths(self, key: str) -> tuple[Path, Path]:
        base = self.folder / key[:2] / key
        return base.with_suffix(".flac"), base.with_suffix(".json")


def key_of(**parts: Any) -> str:
    """SHA-256, in hexadecimal, of what a clip is made from."""
    text = json.dumps({"schema": SCHEMA, **parts}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _used(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
