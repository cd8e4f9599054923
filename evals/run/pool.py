"""Units in several processes: each does one after the other; a process that dies or hangs takes one unit with it."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final

from sayso.evals.agents import AgentSource
from sayso.evals.loader import load_suites
from sayso.evals.records import Mode as ModeName
from sayso.evals.records import Unit, unit_from_line, unit_to_line
from sayso.evals.run.mode import Plan, make_mode
from sayso.evals.run.score import void
from sayso.evals.run.unit import ATTEMPTS, TIME_LIMIT_S, run_unit

GRACE_S: Final = 30.0
"""Beyond a unit's time limit: for what cannot be interrupted from inside."""


@dataclass(frozen=True, slots=True)
class Work:
    """What every process needs to know.

    Attributes:
        suites: Where the scenarios are.
        source: Makes the agents.
        agent: The fingerprint's id.
        mode: How to talk.
        mode_options: Keywords of the mode.
        out: The run's folder.
        limit_s: Of a unit, on the machine's clock.
    """

    suites: tuple[Path, ...]
    source: AgentSource
    agent: str
    mode: ModeName
    out: Path
    mode_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    limit_s: float = TIME_LIMIT_S


def run_here(plans: Sequence[Plan], work: Work) -> Generator[Unit]:
    """One unit after the other, in this process."""
    mode = make_mode(work.mode, work.mode_options)
    try:
        for plan in plans:
            yield run_unit(plan, mode, work.source, work.agent, limit_s=work.limit_s)
    finally:
        asyncio.run(work.source.aclose())


def run_spread(plans: Sequence[Plan], work: Work, jobs: int) -> Generator[Unit]:
    """Units over processes, as they end. Leaving the iterator ends the processes."""
    waiting = deque((plan, 1) for plan in plans)
    workers = [_Worker(work) for _ in range(min(jobs, len(plans)))]
    try:
        while waiting or any(worker.plan is not None for worker in workers):
            for index, worker in enumerate(workers):
                if worker.plan is None and waiting:
                    if worker.stopped:
                        workers[index] = worker = _Worker(work)
                    worker.give(*waiting.popleft())
            for worker in _ready(workers):
                yield from _take(worker, waiting, work)
    finally:
        for worker in workers:
            worker.stop()


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    busy = {worker.pipe: worker for worker in workers if worker.plan is not None}
    heard = wait(list(busy), timeout=1.0)
    found = [worker for pipe, worker in busy.items() if pipe in heard]
    return found or [worker for worker in busy.values() if worker.is_late]


def _take(worker: _Worker, waiting: deque[tuple[Plan, int]], work: Work) -> Iterator[Unit]:
    """What a process brings: its unit, or the news that it is no more."""
    plan, attempt, late = worker.plan, worker.attempt, worker.is_late
    assert plan is not None
    line: bytes | None = None
    if worker.pipe.poll():
        with suppress(EOFError, OSError):
            line = worker.pipe.recv_bytes()
    worker.plan = None
    if line is not None:
        yield unit_from_line(line)
        return
    worker.stop()
    if not late and attempt < ATTEMPTS:
        waiting.append((plan, attempt + 1))
        return
    reason = f"it took longer than {work.limit_s:g} s" if late else f"its process died {attempt} times"
    yield void(plan, work.agent, reason)


class _Worker:
    """A process that does units."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would take threads' locks with it
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, work), name="sayso-eval", daemon=True)
        self._process.start()
        theirs.close()
        self._limit_s = work.limit_s
        self._until_s = 0.0
        self.plan: Plan | None = None
        self.attempt = 0
        self.stopped = False

    @property
    def is_late(self) -> bool:
        """Whether its unit should have ended long ago."""
        return self.plan is not None and time.monotonic() > self._until_s

    def give(self, plan: Plan, attempt: int) -> None:
        """Let it do a unit."""
        limit_s = plan.loaded.scenario.time_limit_s or self._limit_s
        self.plan, self.attempt = plan, attempt
        self._until_s = time.monotonic() + limit_s * ATTEMPTS + GRACE_S
        with suppress(OSError):  # it has died: that is found out when it is listened to
            self.pipe.send((plan.loaded.id, plan.unit, plan.trial, plan.seed))

    def stop(self) -> None:
        """End the process."""
        self.stopped = True
        self.pipe.close()
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()


def _serve(pipe: Connection, work: Work) -> None:
    """The life of a process: load everything, then do what comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides what Ctrl-C means
    logging.getLogger("sayso").setLevel(logging.CRITICAL)
    loaded = {one.id: one for suite in load_suites(work.suites) for one in suite.scenarios}
    mode = make_mode(work.mode, work.mode_options)
    while True:
        try:
            scenario, unit, trial, seed = pipe.recv()
        except (EOFError, OSError):
            asyncio.run(work.source.aclose())
            return
        plan = Plan(unit=unit, loaded=loaded[scenario], mode=work.mode, trial=trial, seed=seed, out=work.out)
        pipe.send_bytes(unit_to_line(run_unit(plan, mode, work.source, work.agent, limit_s=work.limit_s)))
