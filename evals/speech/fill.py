"""Rendering the clips of whole suites before they are run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sayso.evals.loader import Loaded, Suite
from sayso.evals.run.unit import seed_of
from sayso.evals.speech.render import BadClip, Renderer


@dataclass(frozen=True, slots=True)
class Filled:
    """What came of it.

    Attributes:
        clips: How many turns now have a clip.
        made: How many sounds were made: with and without effects, and other speakers.
        bad: Clips that no recogniser understands, by the scenario's id and the turn's index: their units will be void.
    """

    clips: int
    made: int
    bad: tuple[tuple[str, int, str], ...]


def fill(
    suites: Sequence[Suite],
    renderer: Renderer,
    *,
    seed: int = 0,
    trials: int | None = None,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> Filled:
    """Render every scripted turn of every unit that a run with this seed and these trials would have.

    Args:
        suites: What will be run.
        renderer: Makes the clips and keeps them.
        seed: Of the run: it chooses the voices.
        trials: Of each scenario; None: as it says.
        tell: Told how many turns of how many are done.

    Raises:
        AudioError: A recording cannot be read.
        ModelMissingError: There is no synthesiser.
        UsageError: A line cannot be spoken.
    """
    units = [
        (loaded, seed_of(seed, loaded.id, "speech", trial))
        for suite in suites
        for loaded in suite.scenarios
        if "speech" in loaded.scenario.modes
        for trial in range(trials or loaded.scenario.trials)
    ]
    total = sum(len(loaded.scenario.turns) for loaded, _ in units)
    done, made = 0, renderer.cache.made
    bad: list[tuple[str, int, str]] = []
    for loaded, unit_seed in units:
        for index, _ in enumerate(loaded.scenario.turns):
            if reason := _wrong(renderer, loaded, index, unit_seed):
                bad.append((loaded.id, index, reason))
            done += 1
            tell(done, total)
    return Filled(done - len(bad), renderer.cache.made - made, tuple(bad))


def _wrong(renderer: Renderer, loaded: Loaded, index: int, seed: int) -> str:
    try:
        renderer.clip(loaded.scenario.turns[index], loaded, seed)
    except BadClip as error:
        return error.args[0]
    return ""
