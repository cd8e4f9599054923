"""What evaluations cost beside the agent: 100 text scenarios with a model that answers at once.

    python -m benchmarks.eval_harness

The time of a whole run in one and in two processes, the whole time of a turn, and what of it is the harness: the same
turns through a session alone are subtracted. Bars: 10 s for the run, 5 ms a turn for the harness.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import aclosing
from pathlib import Path
from typing import Final

from benchmarks.report import write
from sayso.evals.agents import AgentSource
from sayso.evals.loader import Loaded, load_suite
from sayso.evals.run.clock import UnitLoop, epoch_of
from sayso.evals.run.mode import Plan
from sayso.evals.run.runner import Options, execute, prepare
from sayso.evals.run.text import TextMode
from sayso.evals.run.unit import run_unit, unit_id
from sayso.evals.tools import Simulation, simulated, tools_of
from sayso.evals.world import KEY, World

SUITE: Final = Path(__file__).parent.parent / "evals" / "suites" / "smoke"
SCENARIOS: Final = 100
ROUNDS: Final = 5
RUN_BAR_S: Final = 10.0
TURN_BAR_MS: Final = 5.0


def main() -> None:
    """Measure and print."""
    suite = load_suite(SUITE)
    scenarios = [suite.scenarios[index % len(suite.scenarios)] for index in range(SCENARIOS)]
    turns = sum(len(loaded.scenario.turns) for loaded in scenarios)
    source = AgentSource("perfect")
    both = [(_harness_s(scenarios, source), _session_s(scenarios, source)) for _ in range(ROUNDS)]
    whole_ms = statistics.median(harness for harness, _ in both) / turns * 1000
    added_ms = statistics.median(harness - session for harness, session in both) / turns * 1000
    rows = [
        {"what": "run of 100 scenarios, 1 process", "value": round(_run_s(1), 2), "unit": "s", "bar": RUN_BAR_S},
        {"what": "run of 100 scenarios, 2 processes", "value": round(_run_s(2), 2), "unit": "s", "bar": RUN_BAR_S},
        {"what": "a turn, all of it", "value": round(whole_ms, 2), "unit": "ms", "bar": None},
        {"what": "a turn, the harness", "value": round(added_ms, 2), "unit": "ms", "bar": TURN_BAR_MS},
    ]
    note = (
        f"{turns} turns of the smoke suite by the perfect reference agent; median of {ROUNDS}; turns in processor time."
    )
    write("eval_harness", rows, [note])


def _run_s(jobs: int) -> float:
    """A whole run, as `sayso eval run` makes it: loading, processes, files that are synced."""
    trials = -(-SCENARIOS // len(load_suite(SUITE).scenarios))
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.perf_counter()
        options = Options(trials=trials, jobs=jobs)
        execute(prepare([SUITE], AgentSource("perfect"), Path(folder), options, resume=False), jobs)
        return time.perf_counter() - began_s


def _harness_s(scenarios: list[Loaded], source: AgentSource) -> float:
    mode = TextMode()
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.process_time()
        for number, loaded in enumerate(scenarios):
            name = unit_id(loaded.id, "text", number)
            plan = Plan(unit=name, loaded=loaded, mode="text", trial=number, seed=number, out=Path(folder))
            run_unit(plan, mode, source, "")
        return time.process_time() - began_s


def _session_s(scenarios: list[Loaded], source: AgentSource) -> float:
    """The same turns without play-out, checks and files."""
    began_s = time.process_time()
    for number, loaded in enumerate(scenarios):
        epoch_s = epoch_of(loaded.scenario.clock)
        with asyncio.Runner(loop_factory=lambda epoch_s=epoch_s: UnitLoop(epoch_s)) as runner:
            runner.run(_converse(loaded, source, number))
    return time.process_time() - began_s


async def _converse(loaded: Loaded, source: AgentSource, seed: int) -> None:
    world = World(loaded.world, seed)
    tools = simulated(tools_of(loaded), loaded.scenario.tools, Simulation(world, seed))
    async with source.made_for(loaded, tools, seed).session(speak=False) as session:
        session.state[KEY] = world
        for turn in loaded.scenario.turns:
            async with aclosing(session.stream(turn.user)) as events:
                async for _ in events:
                    pass


if __name__ == "__main__":
    main()
