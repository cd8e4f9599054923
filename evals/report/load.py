"""A run read back from its folder, measured and held against its gates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sayso.errors import UsageError
from sayso.evals.gates import GateResult, Gates, judge
from sayso.evals.metrics import Results, measure
from sayso.evals.records import Run, Unit, read_run, read_units


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report shows.

    Attributes:
        folder: Of the run.
        run: Its description.
        units: Each unit once, by scenario, mode and trial.
        results: The numbers.
        gates: What came of each gate.
    """

    folder: Path
    run: Run
    units: tuple[Unit, ...]
    results: Results
    gates: tuple[GateResult, ...]

    @property
    def partial(self) -> bool:
        """Units are missing: the run was interrupted, or goes on."""
        return not self.run.complete or len(self.units) < self.run.planned

    @property
    def passed(self) -> bool:
        """Every gate was reached."""
        return all(gate.passed for gate in self.gates)


def load(folder: Path, gates: Gates | None = None) -> Report:
    """Read and measure a run.

    Args:
        folder: With `run.json` and `units.jsonl`.
        gates: What it must reach; None: the scenarios that must pass, and no more than 2 % void.

    Raises:
        UsageError: It is no run, it has no unit yet, or a gate asks for what there is not.
    """
    run = read_run(folder)
    units = last_of_each(read_units(folder))
    if not units:
        raise UsageError(f"There is no finished unit in {folder}.", "Let the run go on with: sayso eval run --resume")
    results = measure(units)
    return Report(folder, run, units, results, tuple(judge(gates or Gates(), units, results)))


def last_of_each(units: Iterable[Unit]) -> tuple[Unit, ...]:
    """Each unit once, as it was run last: a scenario that was changed is run again when a run is resumed."""
    found = {unit.unit: unit for unit in units}
    order = {"text": 0, "speech": 1}
    return tuple(sorted(found.values(), key=lambda unit: (unit.scenario, order[unit.mode], unit.trial)))
