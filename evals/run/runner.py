"""A run: which units there are, which are done already, and every line on the disk before the next unit counts."""

from __future__ import annotations

import fnmatch
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeAlias

from sayso.errors import UsageError
from sayso.evals.agents import AgentSource
from sayso.evals.code_checks import code_checks
from sayso.evals.loader import Loaded, Suite, load_suites
from sayso.evals.records import RUN, UNITS, Run, Unit, append_unit, read_run, read_units, write_run
from sayso.evals.records import Mode as ModeName
from sayso.evals.run.mode import Plan
from sayso.evals.run.pool import Work, run_here, run_spread
from sayso.evals.run.unit import TIME_LIMIT_S, seed_of, unit_id
from sayso.evals.tools import tools_of

LIBRARIES: Final = ("sayso", "numpy", "pydantic", "torch", "faster-whisper", "xllamacpp", "onnxruntime")
FILTERS: Final = ("tag", "id", "suite", "language")

Tell: TypeAlias = Callable[[Unit], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run.

    Attributes:
        mode: Text or speech.
        trials: Of each scenario; None: as it says itself.
        seed: Of everything.
        jobs: Units at the same time, each in a process of its own.
        filters: ``tag=x``, ``id=glob``, ``suite=x``, ``language=x``; all have to hold.
        shard: ``(2, 5)``: the second fifth of the units.
        limit_s: Of a unit, on the machine's clock.
        mode_options: Keywords of the mode.
    """

    mode: ModeName = "text"
    trials: int | None = None
    seed: int = 0
    jobs: int = 1
    filters: tuple[str, ...] = ()
    shard: tuple[int, int] = (1, 1)
    limit_s: float = TIME_LIMIT_S
    mode_options: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that can begin.

    Attributes:
        plans: All its units.
        left: Those that are still to be run.
        done: Those of an earlier attempt that count.
        changed: Units that were run, but of another scenario or agent: they are run again.
        run: Its description.
        work: What its processes need.
    """

    plans: tuple[Plan, ...]
    left: tuple[Plan, ...]
    done: tuple[Unit, ...]
    changed: tuple[str, ...]
    run: Run
    work: Work


def prepare(paths: Sequence[str | Path], source: AgentSource, out: Path, options: Options, *, resume: bool) -> Prepared:
    """Read suites, check what can be checked before a model is loaded, and find out what is left to do.

    Raises:
        UsageError: A scenario, an agent or an option cannot be used, or there is a run in ``out`` already.
    """
    suites = load_suites(paths)
    chosen = [loaded for suite in suites for loaded in suite.scenarios if _is_chosen(loaded, options)]
    _check(chosen, suites, options)
    if (out / RUN).exists() and not resume:
        raise UsageError(f"There is a run in {out}.", "Go on with it by --resume, or give another --out.")
    fingerprint = source.fingerprint()
    plans = _plans(chosen, options, out)
    run = Run(
        agent=fingerprint,
        suites={suite.name: suite.hash for suite in suites},
        versions=_versions(),
        machine=_machine(),
        options=_shown(paths, source, options),
        planned=len(plans),
        started=datetime.now(UTC).isoformat(),
    )
    done, changed = _done(out, plans, fingerprint.id) if resume else ({}, ())
    left = tuple(plan for plan in plans if plan.unit not in done)
    absolute = tuple(Path(path).absolute() for path in paths)
    work = Work(absolute, source, fingerprint.id, options.mode, out, options.mode_options, options.limit_s)
    return Prepared(plans, left, tuple(done.values()), changed, run, work)


def execute(prepared: Prepared, jobs: int, tell: Tell = lambda _: None) -> None:
    """Run what is left. What has ended is on the disk, whatever happens to this process.

    Raises:
        KeyboardInterrupt: The run was interrupted; it can be gone on with.
    """
    out = prepared.work.out
    out.mkdir(parents=True, exist_ok=True)
    write_run(out, prepared.run)
    _drop_torn_line(out / UNITS)
    units = run_spread(prepared.left, prepared.work, jobs) if jobs > 1 else run_here(prepared.left, prepared.work)
    with (out / UNITS).open("ab") as file, closing(units):
        for unit in units:
            append_unit(file, unit)
            tell(unit)
    write_run(out, replace(prepared.run, complete=True))


def _plans(chosen: Sequence[Loaded], options: Options, out: Path) -> tuple[Plan, ...]:
    found = [
        Plan(
            unit=unit_id(loaded.id, options.mode, trial),
            loaded=loaded,
            mode=options.mode,
            trial=trial,
            seed=seed_of(options.seed, loaded.id, options.mode, trial),
            out=out,
        )
        for loaded in chosen
        for trial in range(options.trials or loaded.scenario.trials)
    ]
    number, of = options.shard
    return tuple(found[number - 1 :: of])


def _check(chosen: Sequence[Loaded], suites: Sequence[Suite], options: Options) -> None:
    if not chosen:
        raise UsageError("No scenario is left to be run.", "See the filters, and the modes of the scenarios.")
    if not 1 <= options.shard[0] <= options.shard[1]:
        raise UsageError("There is no such shard.", "Give --shard 2/5 for the second of five.")
    seen: dict[str, Path] = {}
    for suite in suites:
        for loaded in suite.scenarios:
            if (other := seen.setdefault(loaded.id, loaded.path)) != loaded.path:
                raise UsageError(f"{other} and {loaded.path} have one id: {loaded.id}.", "Give each its own.")
    for loaded in chosen:
        tools_of(loaded)
        code_checks(loaded)


def _is_chosen(loaded: Loaded, options: Options) -> bool:
    scenario = loaded.scenario
    if options.mode not in scenario.modes:
        return False
    for one in options.filters:
        key, _, value = one.partition("=")
        match key:
            case "tag":
                fits = value in scenario.tags
            case "id":
                fits = fnmatch.fnmatchcase(scenario.id, value)
            case "suite":
                fits = scenario.suite == value
            case "language":
                fits = scenario.language == value
            case _:
                raise UsageError(
                    f"There is no filter {one!r}.", f"Give one of {', '.join(f'{k}=...' for k in FILTERS)}."
                )
        if not fits:
            return False
    return True


def _done(out: Path, plans: Sequence[Plan], agent: str) -> tuple[dict[str, Unit], tuple[str, ...]]:
    """The units of an earlier attempt that still count, and the names of those that do not."""
    read_run(out)
    if not (out / UNITS).exists():
        return {}, ()
    last = {unit.unit: unit for unit in read_units(out)}
    wanted = {plan.unit: plan for plan in plans}
    done: dict[str, Unit] = {}
    changed: list[str] = []
    for name, unit in last.items():
        plan = wanted.get(name)
        if plan is None:
            continue
        same = unit.scenario_hash == plan.loaded.hash and unit.agent == agent and unit.seed == plan.seed
        if same and not (unit.verdict == "void" and unit.events is None):  # what could not be run is tried again
            done[name] = unit
        elif not same:
            changed.append(name)
    return done, tuple(changed)


def _drop_torn_line(path: Path) -> None:
    """Take away the end of a file that a process did not live to finish."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(memory / 1e9, 1),
    }


def _shown(paths: Sequence[str | Path], source: AgentSource, options: Options) -> dict[str, Any]:
    return {
        "suites": [Path(path).name for path in paths],
        "paths": [str(Path(path).absolute()) for path in paths],
        "agent": source.name,
        "mode": options.mode,
        "trials": options.trials,
        "seed": options.seed,
        "jobs": options.jobs,
        "filters": list(options.filters),
        "shard": f"{options.shard[0]}/{options.shard[1]}",
        "limit_s": options.limit_s,
    }
