"""`Memory`: a bounded cache whose entries grow old on a clock that the caller reads."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Memory(Generic[T]):
    """The last values by key.

    Args:
        size: Most entries; the one that was used longest ago goes first.
        age_s: How long an entry counts, in seconds.
    """

    def __init__(self, size: int, age_s: float) -> None:
        self._size = size
        self._age_s = age_s
        self._kept: OrderedDict[object, tuple[float, T]] = OrderedDict()

    def get(self, key: object, now_s: float) -> T | None:
        """The value, or None where it is unknown or too old.

        Args:
            key: What `put` was given.
            now_s: Of the session's clock. A clock that went back makes entries from its future too old as well.
        """
        found = self._kept.get(key)
        if found is None:
            return None
        if not 0 <= now_s - found[0] < self._age_s:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: object, value: T, now_s: float) -> None:
        """Keep ``value`` from ``now_s`` on."""
        self._kept[key] = (now_s, value)
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
