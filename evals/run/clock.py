"""The clock of a unit: virtual where a scenario does not ask for the real one."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime

from sayso.evals.scenario import Clock
from sayso.testing import EPOCH_S, GRACE_S, VirtualClockLoop


class UnitLoop(VirtualClockLoop):
    """A virtual clock that waits for models: while one computes, the machine's clock decides which is first.

    A model may compute where the loop does not see it (a thread of its own, a server). Then a timer may not jump ahead
    of it: the loop really waits, and what the model brings in the meantime comes at the same virtual moment.

    Args:
        epoch_s: Unix time at which the clock starts.
    """

    def __init__(self, epoch_s: float = EPOCH_S) -> None:
        asyncio.SelectorEventLoop.__init__(self, _Selector(self))
        self._now_s = 0.0
        self.busy_threads = 0
        self.computing = 0
        self.epoch_s = epoch_s

    def wall_time(self) -> float:
        """Unix seconds, for tools."""
        return self.epoch_s + self.time()


@contextmanager
def computing() -> Generator[None]:
    """Inside, a model computes."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, UnitLoop):
        yield
        return
    loop.computing += 1
    try:
        yield
    finally:
        loop.computing -= 1


def epoch_of(clock: Clock) -> float:
    """When a scenario's clock starts, in Unix seconds."""
    return EPOCH_S if clock.now is None else clock.now.timestamp()


def zone_of(clock: Clock) -> str | None:
    """The IANA name of the user's time zone: as said; else of the clock's offset, in whole hours; else UTC."""
    if clock.timezone is not None:
        return clock.timezone
    offset = None if clock.now is None else clock.now.utcoffset()
    hours = 0 if offset is None else round(offset.total_seconds() / 3600)
    return "UTC" if hours == 0 else f"Etc/GMT{-hours:+d}"  # POSIX signs: GMT+5 is behind


def start_of(clock: Clock) -> datetime:
    """When a scenario's clock starts, in its own zone."""
    return clock.now if clock.now is not None else datetime.fromtimestamp(EPOCH_S).astimezone()


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: UnitLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self._loop
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if loop.busy_threads:
            return super().select(None)  # a thread will wake the loop
        if loop.computing:
            ready = super().select(timeout)
        elif timeout is None:
            ready = super().select(GRACE_S)
            if not ready:
                raise RuntimeError("Everything waits and nothing will ever happen: this code hangs.")
        if not ready and timeout is not None:
            loop.advance(timeout)
        return ready
