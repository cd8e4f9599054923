"""What is kept between requests that name it: a client sends the conversation anew each time, but not all of it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from starlette.requests import Request

from sayso.items import Item

V = TypeVar("V")

KEPT_S = 3600.0
KEPT = 2000


class Kept(Generic[V]):
    """Values by id, each for the caller whose it is, for an hour; beyond `KEPT` of them those used longest ago go.

    Args:
        now: Unix time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._kept: OrderedDict[tuple[str, str], tuple[float, V]] = OrderedDict()

    def put(self, caller: str, id: str, value: V) -> int:
        """Keep a value; until when, in Unix time."""
        until_s = self._now() + KEPT_S
        self._kept[caller, id] = until_s, value
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return int(until_s)

    def get(self, caller: str, id: str) -> V | None:
        """The value, or None where it is not known (any more)."""
        found = self._kept.get((caller, id))
        if found is None or found[0] < self._now():
            self._kept.pop((caller, id), None)
            return None
        self._kept.move_to_end((caller, id))
        return found[1]


class Memory:
    """What one server keeps.

    Attributes:
        spoken: The words of spoken answers, by the id of their audio.
        heard: The words of users' speech, by the hash of the sound.
        before: What the agent's own tools did in a turn before the client's call of this id.
    """

    def __init__(self) -> None:
        self.spoken = Kept[str]()
        self.heard = Kept[str]()
        self.before = Kept[tuple[Item, ...]]()


def memory_of(request: Request) -> Memory:
    """The memory of the server that got ``request``."""
    state = request.app.state
    if not hasattr(state, "chat_memory"):
        state.chat_memory = Memory()
    return state.chat_memory
