"""A thread that does things at their time on the machine's clock, whatever the event loop is busy with."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final


class Watchdog:
    """One thread for all deadlines: starting one for each would cost more than most units."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int]] = []
        self._actions: dict[int, Callable[[], None]] = {}
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextmanager
    def after(self, seconds: float, action: Callable[[], None]) -> Generator[None]:
        """Inside, ``action`` is called once so many seconds have passed; from the watchdog's thread."""
        with self._changed:
            number = next(self._numbers)
            self._actions[number] = action
            due = (time.monotonic() + seconds, number)
            heapq.heappush(self._due, due)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="sayso-watchdog", daemon=True)
                self._thread.start()
            elif self._due[0] == due:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._actions.pop(number, None)

    def _watch(self) -> None:
        while True:
            with self._changed:
                while self._due and self._due[0][1] not in self._actions:
                    heapq.heappop(self._due)  # what it was for has ended
                left_s = self._due[0][0] - time.monotonic() if self._due else None
                if left_s is None or left_s > 0:
                    self._changed.wait(left_s)
                    continue
                action = self._actions.pop(heapq.heappop(self._due)[1])
            action()


WATCHDOG: Final = Watchdog()
"""That of this process."""
