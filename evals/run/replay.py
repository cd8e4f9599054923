"""Checking stored events again: with new checks, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sayso.errors import UsageError
from sayso.evals.loader import Loaded, load_suites
from sayso.evals.records import Unit, read_run, read_units
from sayso.evals.run.mode import Plan, make_mode
from sayso.evals.run.score import make_replays, score
from sayso.evals.run.trace import read_trace


async def replay(run: Path, unit: str, suites: Sequence[Path] = ()) -> Unit:
    """The line of a unit as it would be with the scenario and the checks of now.

    Args:
        run: The run's folder.
        unit: The unit's id.
        suites: Where its scenario is; none: where the run had it.

    Raises:
        UsageError: There is no such unit, or its events or its scenario are not there.
    """
    described = read_run(run)
    stored = {one.unit: one for one in read_units(run)}.get(unit)
    if stored is None:
        raise UsageError(f"There is no unit {unit!r} in {run}.", "See units.jsonl for their ids.")
    if stored.events is None:
        raise UsageError(f"The unit {unit!r} was not run to its end: {stored.void_reason}.", "Run it again.")
    paths = suites or [Path(path) for path in described.options.get("paths", ())]
    plan = Plan(
        unit=unit,
        loaded=_scenario(paths, stored.scenario),
        mode=stored.mode,
        trial=stored.trial,
        seed=stored.seed,
        out=run,
    )
    trace = read_trace(run / stored.events)
    replays = await make_replays(plan.loaded, plan.seed)
    families = make_mode(stored.mode, {}).families if stored.mode == "speech" else ()
    found = score(plan, trace, replays, agent=stored.agent, more=families)
    return replace(found, audio=stored.audio, events=stored.events, wall=stored.wall)


def _scenario(paths: Sequence[Path], name: str) -> Loaded:
    for suite in load_suites(paths):
        for loaded in suite.scenarios:
            if loaded.id == name:
                return loaded
    raise UsageError(f"There is no scenario {name!r}.", "Say where it is with --suite.")
