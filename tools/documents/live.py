"""An index that is brought up to date in the background while it is asked."""

from __future__ import annotations

import logging
import threading
import time

from sayso.errors import SaysoError
from sayso.tools.documents.index import DocumentIndex, Search
from sayso.tools.documents.update import Progress

REFRESH_S = 300.0
FIRST_WAIT_S = 5.0
"""How long the first question waits for an index that has nothing in it yet."""

_log = logging.getLogger("sayso.documents")


class LiveIndex:
    """Searches an index; looks for changed files when asked, in a thread of its own.

    Args:
        index: What is searched.
        refresh_s: Look again when a question comes this long after the last look; None: never look.
    """

    def __init__(self, index: DocumentIndex, refresh_s: float | None = REFRESH_S) -> None:
        self.index = index
        self._refresh_s = refresh_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._looked = float("-inf")
        self._progress = Progress("reading")
        self._error: SaysoError | None = None
        self._said: set[str] = set()

    def search(self, query: str, count: int) -> tuple[Search, str]:
        """What was found, and what the model should know of the state of the index (often nothing).

        Raises:
            SaysoError: There is nothing to search, since indexing failed.
        """
        self._look()
        if not self.index.status().documents:
            self.wait(FIRST_WAIT_S)
            if self._error is not None:
                raise self._error
        found = self.index.search(query, count)
        self._log_once(found.note)
        return found, self._state()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the index is up to date, at most ``timeout_s`` seconds."""
        if (thread := self._thread) is not None:
            thread.join(timeout_s)

    def _look(self) -> None:
        with self._lock:
            if self._refresh_s is None or (self._thread is not None and self._thread.is_alive()):
                return
            if time.monotonic() - self._looked < self._refresh_s:
                return
            # a daemon: an index that is not complete is no reason to keep a program from ending
            self._thread = threading.Thread(target=self._update, name="sayso-documents", daemon=True)
            self._thread.start()

    def _update(self) -> None:
        try:
            report = self.index.update(self._note_progress)
            self._error = None
            for skipped in report.skipped:
                self._log_once(f"{skipped.path} is not in the index: {skipped.reason}")
        except SaysoError as error:
            self._error = error
            self._log_once(str(error))
        finally:
            self._looked = time.monotonic()

    def _note_progress(self, progress: Progress) -> None:
        self._progress = progress

    def _state(self) -> str:
        thread, progress = self._thread, self._progress
        if thread is None or not thread.is_alive() or progress.phase != "reading":
            return ""
        return f"The documents are still being read ({progress.done} of {progress.total}); more may be found later."

    def _log_once(self, message: str) -> None:
        if message and message not in self._said:
            self._said.add(message)
            _log.warning(message)
