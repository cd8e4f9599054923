"""Account of what the network's cache holds: which sequence lies in which slot, and how much of a prompt is there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sayso.engine.request import Prompt, Vectors

Keys: TypeAlias = list[int]
"""What each position of a prompt holds: an id, or a negative number that names a vector."""


@dataclass(slots=True)
class CachedSequence:
    """What one slot of the cache holds.

    Attributes:
        slot: Which one.
        keys: Its positions; those above are not valid.
        busy: A request uses it now.
        used_at: When it was used last, counted in uses.
    """

    slot: int
    keys: Keys = field(default_factory=Keys)
    busy: bool = False
    used_at: int = 0

    def checkpoint(self) -> int:
        """A position to return to with `roll_back`."""
        return len(self.keys)

    def roll_back(self, position: int) -> None:
        """Forget everything from ``position`` on: the next that is written goes there."""
        if not 0 <= position <= len(self.keys):
            raise ValueError(f"position {position} is not in a sequence of {len(self.keys)}")
        del self.keys[position:]

    def common(self, keys: Keys) -> int:
        """How many positions at the start are those of ``keys``."""
        length = min(len(self.keys), len(keys))
        if self.keys[:length] == keys[:length]:  # the usual case, at the speed of C
            return length
        return next(at for at in range(length) if self.keys[at] != keys[at])


class Slots:
    """Hands the slots of sessions out: a session keeps its own until another one needs it."""

    def __init__(self, slots: Sequence[int]) -> None:
        self._free = sorted(slots, reverse=True)  # low ones first: a step runs over all up to the highest in use
        self._held: dict[str, CachedSequence] = {}
        self._uses = 0

    def take(self, session: str) -> CachedSequence | None:
        """The session's sequence, or an empty one; None where all slots are busy or the session itself is."""
        sequence = self._held.get(session)
        if sequence is None:
            sequence = self._place()
        elif sequence.busy:
            return None
        if sequence is not None:
            self._uses += 1
            sequence.busy, sequence.used_at = True, self._uses
            self._held[session] = sequence
        return sequence

    def give_back(self, session: str) -> None:
        """The request is over; the sequence stays for the session's next one."""
        if sequence := self._held.get(session):
            sequence.busy = False

    def forget(self, session: str) -> None:
        """The session's sequence is no longer wanted, or not to be trusted."""
        if sequence := self._held.pop(session, None):
            self._free.append(sequence.slot)
            self._free.sort(reverse=True)

    def sequence(self, session: str) -> CachedSequence | None:
        """What is held for a session."""
        return self._held.get(session)

    def lengths(self) -> dict[int, int]:
        """How long the sequence in each slot is."""
        return {held.slot: len(held.keys) for held in self._held.values()}

    def _place(self) -> CachedSequence | None:
        if not self._free:
            idle = [(held.used_at, session) for session, held in self._held.items() if not held.busy]
            if not idle:
                return None
            self.forget(min(idle)[1])
        return CachedSequence(self._free.pop())


class Prefixes:
    """Shared beginnings of prompts, each in a slot of its own; the one used longest ago makes way."""

    def __init__(self, slots: Sequence[int]) -> None:
        self._free = list(slots)
        self._held: dict[str, CachedSequence] = {}  # in the order of use

    def find(self, keys: Keys) -> CachedSequence | None:
        """The sequence for these keys, whole or still being filled (``busy``)."""
        handle = prefix_handle(keys)
        if (sequence := self._held.pop(handle, None)) is not None:
            self._held[handle] = sequence
        return sequence

    def add(self, keys: Keys) -> CachedSequence | None:
        """An empty, busy sequence for these keys; None where every slot is being filled."""
        if not self._free:
            idle = next((handle for handle, held in self._held.items() if not held.busy), None)
            if idle is None:
                return None
            self._free.append(self._held.pop(idle).slot)
        self._held[prefix_handle(keys)] = sequence = CachedSequence(self._free.pop(), busy=True)
        return sequence

    def lengths(self) -> dict[int, int]:
        """How long the sequence in each slot is."""
        return {held.slot: len(held.keys) for held in self._held.values()}

    def forget(self, sequence: CachedSequence) -> None:
        """Give up a sequence that could not be filled."""
        for handle, held in list(self._held.items()):
            if held is sequence:
                del self._held[handle]
                self._free.append(sequence.slot)


def prefix_handle(keys: Keys) -> str:
    """Names a prefix by its content: SHA-256 of its keys."""
    return hashlib.sha256(" ".join(map(str, keys)).encode()).hexdigest()


def keys_of(prompt: Prompt) -> Keys:
    """The keys of a prompt's positions."""
    keys: Keys = []
    for piece in prompt:
        keys += _vector_keys(piece) if isinstance(piece, Vectors) else piece
    return keys


def penalty_ids(prompt: Prompt) -> list[int]:
    """The ids of a prompt's positions, as a repetition penalty counts them."""
    ids: list[int] = []
    for piece in prompt:
        ids += [piece.token_id] * len(piece.values) if isinstance(piece, Vectors) else piece
    return ids


def runs(prompt: Prompt, start: int, end: int) -> Iterator[Sequence[int] | Vectors]:
    """The pieces of ``prompt`` between two positions, cut to them; the key of a cut piece means nothing."""
    at = 0
    for piece in prompt:
        length = len(piece.values) if isinstance(piece, Vectors) else len(piece)
        low, high = max(start - at, 0), min(end - at, length)
        if low < high:
            yield Vectors(piece.values[low:high], "", 0) if isinstance(piece, Vectors) else piece[low:high]
        at += length


def _vector_keys(vectors: Vectors) -> Keys:
    count = len(vectors.values)
    digest = hashlib.sha256(f"{count} {vectors.key}".encode()).digest()
    base = int.from_bytes(digest[:12], "big") << 32
    return [-(1 + base + at) for at in range(count)]
