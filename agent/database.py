"""A SQLite file that several threads and processes share."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

WAIT_S = 5.0
"""For other processes that are writing."""


def open_database(path: Path | None, schema: str, *, durable: bool = False) -> sqlite3.Connection:
    """Open a file in write-ahead mode, made with its folder and readable by its owner alone, or one in memory.

    A commit survives the death of the process. It survives a loss of power only with ``durable``, where each commit
    waits for the disk (milliseconds in place of microseconds).

    Args:
        path: The file; None: in memory.
        schema: Statements that make what is not there yet.
        durable: Let each commit wait for the disk.

    Returns:
        A connection in autocommit mode; guard it with a lock where several threads use it.

    Raises:
        sqlite3.Error: It cannot be opened.
        OSError: Its folder cannot be made.
    """
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # what is in it is private
    database = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=WAIT_S)
    until_s = time.monotonic() + WAIT_S
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            database.executescript(schema)
            return database
        except sqlite3.Error as error:  # two processes that open a new file: SQLite does not wait by itself here
            if "locked" not in str(error) or time.monotonic() > until_s:
                database.close()
                raise
            time.sleep(0.01)
