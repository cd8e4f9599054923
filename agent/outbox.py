"""`Outbox`: the events of a session on their way to whoever follows."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias

from sayso.events import CallProgress, Event

Push: TypeAlias = Callable[[Event], None]
"""Takes an event; never fails, never waits."""

KEPT_PROGRESS = 100
"""Of one call, while nobody follows."""


class Outbox:
    """Stamps events, numbers them and hands them on. What happens while nobody follows, the next one who does gets.

    Of a call's progress that is the last `KEPT_PROGRESS`: a call may go on for hours.

    Args:
        now: The session's clock in seconds.

    Attributes:
        turn: The number of the running turn, or of the last.
        generation: Raised by every interruption.
    """

    def __init__(self, now: Callable[[], float], *, turn: int) -> None:
        self.turn = turn
        self.generation = 0
        self._now = now
        self._seq = 0
        self._pushes: list[Push] = []  # whoever came last takes the events
        self._watchers: list[Push] = []
        self._unsent: list[Event] = []
        self._held: list[Event] | None = None  # of a turn that does not count yet

    @contextmanager
    def to(self, push: Push) -> Generator[None]:
        """Inside, ``push`` takes the events. Such scopes may end in any order."""
        self._pushes.append(push)
        unsent, self._unsent = self._unsent, []
        for event in unsent:
            push(event)
        try:
            yield
        finally:
            self._pushes.remove(push)

    def watch(self, push: Push) -> None:
        """Let ``push`` see every event too, once, when it is handed on; whoever follows gets it all the same."""
        self._watchers.append(push)

    def hold(self) -> None:
        """A turn begins that does not count yet: what it emits is kept back."""
        self._held = []

    def release(self) -> None:
        """The turn counts: what it emitted so far is handed on."""
        held, self._held = self._held, None
        for event in held or ():
            self._deliver(replace(event, seq=self._next_seq()))

    def drop(self) -> None:
        """The turn never happened."""
        self._held = None

    def emit(self, event: Event) -> None:
        """An event of the running turn."""
        if self._held is None:
            self.tell(event)
        else:
            self._held.append(self._stamped(event, seq=0))

    def tell(self, event: Event) -> None:
        """An event that belongs to no turn."""
        self._deliver(self._stamped(event, self._next_seq()))

    def _stamped(self, event: Event, seq: int) -> Event:
        return replace(event, turn=self.turn, generation=self.generation, seq=seq, time_s=self._now())

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _deliver(self, event: Event) -> None:
        for watcher in self._watchers:
            watcher(event)
        if self._pushes:
            self._pushes[-1](event)
            return
        self._unsent.append(event)
        if isinstance(event, CallProgress):
            known = [at for at, old in enumerate(self._unsent) if _is_progress(old, event.call_id)]
            if len(known) > KEPT_PROGRESS:
                del self._unsent[known[0]]


def _is_progress(event: Event, call_id: str) -> bool:
    return isinstance(event, CallProgress) and event.call_id == call_id
