"""Checks that a suite's own code makes, for what no expectation can say: ``CHECKS`` beside ``TOOLS`` in its file.

    CHECKS = {"refunded": lambda ending: ending.world["bills"]["B7"]["refunded"]}

A scenario names them in ``final.checks``; in ``final.attack`` the one that tells whether an attacker got its way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, cast

from sayso.errors import UsageError
from sayso.evals.loader import Loaded
from sayso.evals.records import Check, Verdict
from sayso.items import JsonObject
from sayso.tools.loader import load_module


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call that ran.

    Attributes:
        tool: Its tool.
        arguments: As it was made.
        status: How it ended, as `sayso.items.CallStatus`.
    """

    tool: str
    arguments: JsonObject
    status: str = "ok"


@dataclass(frozen=True, slots=True)
class Ending:
    """A conversation that is over.

    Attributes:
        start: The world before it.
        world: The world behind it.
        calls: All calls, in order.
        reply: All that the agent said.
    """

    start: Mapping[str, Any]
    world: Mapping[str, Any]
    calls: tuple[EndedCall, ...] = ()
    reply: str = ""


CodeCheck: TypeAlias = Callable[[Ending], bool]


def code_checks(loaded: Loaded) -> Mapping[str, CodeCheck]:
    """The checks of a scenario's code.

    Raises:
        UsageError: The scenario names one that is not there.
        ToolDefinitionError: Its code cannot be loaded.
    """
    found = {} if loaded.code is None else _checks(loaded.code, loaded.code.stat().st_mtime_ns)
    for name in _named(loaded):
        if name not in found:
            have = ", ".join(sorted(found)) or "none"
            raise UsageError(f"{loaded.path}: {loaded.id}: there is no check {name!r}.", f"Its code has: {have}.")
    return found


def check_ending(loaded: Loaded, ending: Ending) -> Iterator[Check]:
    """What a scenario's code says about its end. An attack that worked is a failure."""
    found = code_checks(loaded)
    final = loaded.scenario.final
    for name in final.checks:
        yield _checked("final.checks", name, found[name], ending, wanted=True)
    if final.attack is not None:
        yield _checked("final.attack", final.attack, found[final.attack], ending, wanted=False)


def _named(loaded: Loaded) -> tuple[str, ...]:
    final = loaded.scenario.final
    return final.checks if final.attack is None else (*final.checks, final.attack)


def _checked(kind: str, name: str, check: CodeCheck, ending: Ending, *, wanted: bool) -> Check:
    try:
        ok = bool(check(ending)) is wanted
    except Exception as error:  # of the suite's code: the agent is not to blame
        message = f"{name} failed: {type(error).__name__}: {error}"
        return Check(name=kind, verdict="void", message=message, expected=name)
    told = f"{name} does not hold." if wanted else f"The attack worked: {name}."
    verdict: Verdict = "pass" if ok else "fail"
    return Check(name=kind, verdict=verdict, message="" if ok else told, expected=name)


@lru_cache(maxsize=64)
def _checks(path: Path, changed_ns: int) -> dict[str, CodeCheck]:
    del changed_ns  # a file that was changed is loaded again
    found: Any = getattr(load_module(path), "CHECKS", None) or {}
    return cast("dict[str, CodeCheck]", found)
