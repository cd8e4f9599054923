"""`Case`: what checks look at: a scenario, what happened, and which made call is which expected one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, TypeAlias

from sayso.evals.comparators import Known
from sayso.evals.expectations import CallExpectation, TurnExpectation
from sayso.evals.match import parameters
from sayso.evals.records import Check, Mode, Verdict
from sayso.evals.run.trace import CallTrace, Trace, TurnTrace
from sayso.evals.scenario import Scenario
from sayso.items import JsonObject

Replay: TypeAlias = JsonObject | str
"""The world that a replay of the expected calls leaves, or why it could not be made."""
FINAL = None
"""In place of a turn's index: the whole conversation."""
Fit: TypeAlias = Literal["right", "result", "arguments"]
"""How well a made call fits: in all; but for how it ended; but for its arguments too."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """An expected call, and the calls that were made for it."""

    expected: CallExpectation
    made: tuple[tuple[CallTrace, Fit], ...]


@dataclass(frozen=True, slots=True)
class CheckedTurn:
    """A turn with its expectations.

    Attributes:
        trace: What happened.
        expect: What should have.
        calls: All that were made.
        assigned: By expectation, in the scenario's order.
        extra: Calls that nobody expected.
        known: What comparators of this turn may look at.
    """

    trace: TurnTrace
    expect: TurnExpectation
    calls: tuple[CallTrace, ...]
    assigned: tuple[Assigned, ...]
    extra: tuple[CallTrace, ...]
    known: Known

    @property
    def index(self) -> int:
        """From 0."""
        return self.trace.index


@dataclass(frozen=True, slots=True)
class Case:
    """One unit to be checked.

    Attributes:
        scenario: What was run.
        trace: What happened.
        turns: The turns, with their calls assigned.
        replays: Worlds to compare with, by index of the turn; None: of the end.
        now: When the conversation began, in the user's zone.
        mode: How it was held.
    """

    scenario: Scenario
    trace: Trace
    turns: tuple[CheckedTurn, ...]
    replays: Mapping[int | None, Replay] = field(default_factory=dict[int | None, Replay])
    now: datetime | None = None
    mode: Mode = "text"

    @property
    def today(self) -> date | None:
        """The day of the conversation."""
        return None if self.now is None else self.now.date()

    @property
    def final_event(self) -> tuple[int, ...]:
        """The event that ends the conversation."""
        return self.trace.turns[-1].last_event if self.trace.turns else ()


def make_case(
    scenario: Scenario,
    trace: Trace,
    *,
    replays: Mapping[int | None, Replay],
    now: datetime | None,
    mode: Mode = "text",
) -> Case:
    """Assign the calls of every turn. What a call returned is known to the expectations behind it."""
    results: dict[str, Any] = {}
    turns: list[CheckedTurn] = []
    for turn in trace.turns:
        known = Known(None if now is None else now.date(), results)
        expect = expectation_of(scenario, turn.index)
        assigned, extra = assign(expect.calls, turn.calls(), known, trace, results)
        turns.append(CheckedTurn(turn, expect, tuple(turn.calls()), assigned, extra, known))
    return Case(scenario, trace, tuple(turns), replays, now, mode)


def expectation_of(scenario: Scenario, index: int) -> TurnExpectation:
    """What a turn has to bring: as scripted, or what is expected of every turn with a simulated caller."""
    if index < len(scenario.turns):
        return scenario.turns[index].expect
    return scenario.user_sim.expect if scenario.user_sim is not None else TurnExpectation()


def assign(
    expected: Sequence[CallExpectation],
    made: Sequence[CallTrace],
    known: Known,
    trace: Trace,
    results: dict[str, Any],
) -> tuple[tuple[Assigned, ...], tuple[CallTrace, ...]]:
    """Find the calls that were made for each expectation: first those that fit in all, then what is left.

    ``results`` gets what the calls of named expectations returned.
    """
    left = list(made)
    found: list[list[tuple[CallTrace, Fit]]] = [[] for _ in expected]
    wanted_fits: tuple[Fit, ...] = ("right", "result", "arguments")
    for wanted in wanted_fits:
        for slot, expectation in zip(found, expected, strict=True):
            for call in tuple(left):
                if _is_full(expectation, len(slot), wanted):
                    break
                if fit_of(expectation, call, known, trace) == wanted:
                    slot.append((call, wanted))
                    left.remove(call)
                    if expectation.id:
                        results[expectation.id] = call.result
    assigned = tuple(Assigned(expectation, tuple(slot)) for expectation, slot in zip(expected, found, strict=True))
    return assigned, tuple(left)


def fit_of(expected: CallExpectation, call: CallTrace, known: Known, trace: Trace) -> Fit | None:
    """How well a call fits an expectation; None: it is another tool's."""
    if expected.tool not in ("*", call.tool):
        return None
    verdicts = parameters(expected.args, call.arguments, expected.match, known, trace.defaults(call.tool))
    if not all(right for _, right in verdicts.values()):
        return "arguments"
    return "right" if expected.result in ("any", call.status) else "result"


def _is_full(expectation: CallExpectation, count: int, wanted: Fit) -> bool:
    """Whether an expectation takes no more calls; one that does not fit is taken only where one is missing."""
    most = expectation.most if wanted == "right" else max(expectation.least, 1 if expectation.optional else 0)
    return most is not None and count >= most


def verdict(ok: bool) -> Verdict:
    """As a verdict."""
    return "pass" if ok else "fail"


def checked(
    name: str,
    turn: CheckedTurn | None,
    ok: bool,
    message: str,
    *,
    events: Sequence[int] = (),
    expected: Any = None,
    found: Any = None,
) -> Check:
    """One check's record; the message is kept where it failed."""
    return Check(
        name=name,
        turn=None if turn is None else turn.index,
        verdict=verdict(ok),
        message="" if ok else message,
        events=tuple(events),
        expected=expected,
        found=found,
    )
