"""Whether the checks of evaluations find what they are for: agents with one fault each, on the suites that come along.

    python -m benchmarks.eval_mutants [SUITE ...]

A mutant is the perfect agent with one change in one turn of one scenario. Turns in which a change would be no fault (an
argument left out that has its default, say) are no places for it, and a change that never came to pass is not counted.
A mutant is caught where the scenario fails, and caught as meant where a check fails that is there for this fault. Bar:
95 % as meant.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, TypeAlias, cast

from benchmarks.report import write
from sayso.agent import Agent
from sayso.evals.agents import AgentSource, ReferenceModel
from sayso.evals.expectations import Budget, CallExpectation, TurnExpectation
from sayso.evals.loader import Loaded, load_suites
from sayso.evals.match import MISSING, parameters
from sayso.evals.records import Turn, Unit
from sayso.evals.reference import Planned
from sayso.evals.run.mode import Plan, make_mode
from sayso.evals.run.unit import run_unit, seed_of, unit_id
from sayso.items import JsonObject, ToolCall
from sayso.models.base import ModelEvent, ModelRequest
from sayso.tools.tool import Tool

SUITES: Final = Path(__file__).parent.parent / "evals" / "suites"
BAR: Final = 0.95
LATE_S: Final = 3.0
FAR: Final = 35
"""What is added to a number: fifteen becomes fifty."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a change may be made: a turn, and what the perfect agent did up to it."""

    turn: int
    expect: TurnExpectation
    perfect: Sequence[Turn]
    tools: dict[str, Tool]
    language: str

    @property
    def grounded(self) -> str | None:
        """What of the reply has to have support."""
        return None if self.expect.reply is None else self.expect.reply.grounded

    @property
    def asks(self) -> bool:
        """Whether the reply has to be a question."""
        return self.expect.reply is not None and self.expect.reply.asks is True

    def wanted(self, tool: str) -> CallExpectation | None:
        """The one call of a tool that has to be made."""
        found = [one for one in self.expect.calls if one.tool == tool]
        return found[0] if len(found) == 1 and found[0].least == 1 and found[0].args is not None else None

    def is_write(self, tool: str) -> bool:
        """Whether a tool changes something."""
        return tool in self.tools and self.tools[tool].effect.changes_something

    def worked(self) -> bool:
        """Whether a "done" would be true: the last write of each tool worked, in this turn or in an earlier one."""
        turns = ({call.tool: call.status for call in one.calls if self.is_write(call.tool)} for one in self.perfect)
        writes = [set(last.values()) for last in turns]
        return writes[-1] == {"ok"} if writes[-1] else {"ok"} in writes

    def is_late(self) -> bool:
        """Whether a time is asked for that the perfect agent would not reach if it began later."""
        took_s = self.perfect[-1].stages
        for stage, budget in self.expect.latency_ms.items():
            most = budget.max if isinstance(budget, Budget) else budget
            if most is not None and (took_s.get(str(stage), 0.0) + LATE_S) * 1000 > most:
                return True
        return False


ChangeCalls: TypeAlias = Callable[[Place, Sequence[Planned], Sequence[ToolCall]], Sequence[Planned] | None]
"""From the calls that are due and those made in the turn to others; None: nothing to change."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One fault: the checks that are there for it (beginnings of names), where it may be made, what it changes."""

    name: str
    checks: tuple[str, ...]
    fits: Callable[[Place], bool]
    calls: ChangeCalls | None = None
    words: Callable[[Place, str], str] | None = None
    delay_s: float = 0.0


def _swap_tool(place: Place, due: Sequence[Planned], made: Sequence[ToolCall]) -> Sequence[Planned] | None:
    """The first call that is wanted is made of another tool."""
    expected = {one.tool for one in place.expect.calls}
    others = [name for name in place.tools if name not in expected]
    if not due or made or not others or (wanted := place.wanted(due[0][0])) is None or wanted.optional:
        return None
    return [(others[0], _any_arguments(place.tools[others[0]])), *due[1:]]


def _argument(change: Callable[[str, Any], Any]) -> ChangeCalls:
    """The first argument that ``change`` changes is another; with an Ellipsis it is left out."""

    def calls(place: Place, due: Sequence[Planned], made: Sequence[ToolCall]) -> Sequence[Planned] | None:
        for at, (tool, arguments) in enumerate(due):
            wanted = place.wanted(tool)
            if wanted is None:
                continue
            for name, value in arguments.items():
                if (changed := change(name, value)) is None:
                    continue
                kept = {key: one for key, one in arguments.items() if key != name}
                other = kept if changed is ... else kept | {name: changed}
                if _is_wrong(place, wanted, other):
                    return [*due[:at], (tool, other), *due[at + 1 :]]
        return None

    return calls


def _left_out(name: str, value: Any) -> Any:
    return ...


def _later(name: str, value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return (date.fromisoformat(value) + timedelta(1)).isoformat()
    return None


def _larger(name: str, value: Any) -> Any:
    return value + FAR if isinstance(value, int | float) and not isinstance(value, bool) else None


def _extra_write(place: Place, due: Sequence[Planned], made: Sequence[ToolCall]) -> Sequence[Planned] | None:
    """When all is done, something else is changed too."""
    expected = {one.tool for one in place.expect.calls}
    others = [name for name in place.tools if place.is_write(name) and name not in expected]
    if due or not others or any(call.name == others[0] for call in made):
        return None
    return [(others[0], _any_arguments(place.tools[others[0]]))]


def _write_twice(place: Place, due: Sequence[Planned], made: Sequence[ToolCall]) -> Sequence[Planned] | None:
    """When all is done, a write is made again."""
    writes = [call for call in made if place.is_write(call.name) and place.wanted(call.name) is not None]
    once = [call for call in writes if sum(one.name == call.name for one in made) == 1]
    wanted = place.wanted(once[0].name) if once else None
    if due or wanted is None or wanted.most != 1 or wanted.result != "ok":
        return None
    return [(once[0].name, once[0].arguments or {})]


def _done(place: Place, words: str) -> str:
    return "已经订好了。" if place.language.startswith("zh") else "It has been booked."


def _other_language(place: Place, words: str) -> str:
    chinese = "好的，这件事我听到了，请稍等一下。"
    return chinese if _language(place) == "en" else "All right, I have got that, and this is all that there is to it."


def _language(place: Place) -> str:
    found = None if place.expect.reply is None else place.expect.reply.language
    return found if isinstance(found, str) else ""


MUTATIONS: Final = (
    Mutation("another tool", ("calls.made",), lambda place: bool(place.expect.calls), _swap_tool),
    Mutation("an argument is missing", ("calls.arguments", "calls.made"), lambda place: True, _argument(_left_out)),
    Mutation("a day later", ("calls.arguments",), lambda place: True, _argument(_later)),
    Mutation("another number", ("calls.arguments",), lambda place: True, _argument(_larger)),
    Mutation("an extra write", ("calls.extra", "calls.forbidden"), lambda place: True, _extra_write),
    Mutation("a write twice", ("calls.extra", "calls.count", "calls.repeated"), lambda place: True, _write_twice),
    Mutation(
        "done, although it is not",
        ("claims.supported",),
        lambda place: place.grounded in ("claims", "all") and not place.worked(),
        words=_done,
    ),
    Mutation(
        "a time that nobody said",
        ("claims.grounded",),
        lambda place: place.grounded in ("entities", "all"),
        words=lambda place, words: f"{words} It is 3:47 p.m.",
    ),
    Mutation("another language", ("reply.language",), lambda place: bool(_language(place)), words=_other_language),
    Mutation(
        "no question",
        ("reply.asks",),
        lambda place: place.asks,
        words=lambda place, words: re.sub(r"[?？吗呢]", "", words) + " ok.",
    ),
    Mutation(
        "tool syntax is spoken",
        ("reply.leak",),
        lambda place: True,
        words=lambda place, words: f'{words} <tool_call>{{"name": "x"}}',
    ),
    Mutation("3 s late", ("timing.latency",), Place.is_late, delay_s=LATE_S),
)


class Mutant(ReferenceModel):
    """The perfect agent with one fault in one turn; ``fired`` once it came to pass."""

    def __init__(self, loaded: Loaded, mutation: Mutation, place: Place) -> None:
        super().__init__("perfect", loaded)
        self._mutation = mutation
        self._at = place
        self.fired = False

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """As the perfect agent, perhaps later."""
        if self._mutation.delay_s and not self.fired and self._place(request)[0] == self._at.turn:
            self.fired = True
            await asyncio.sleep(self._mutation.delay_s)
        async for event in super().respond(request):
            yield event

    def _calls(self, request: ModelRequest) -> Sequence[Planned]:
        due = [(tool, _known(arguments)) for tool, arguments in super()._calls(request)]
        turn, behind = self._place(request)
        if self._mutation.calls is None or turn != self._at.turn or self.fired:
            return due
        made = [item for item in behind if isinstance(item, ToolCall)]
        if (changed := self._mutation.calls(self._at, due, made)) is None:
            return due
        self.fired = True
        return changed

    def _words(self, request: ModelRequest) -> str:
        words = super()._words(request)
        if self._mutation.words is None or self._place(request)[0] != self._at.turn:
            return words
        self.fired = True
        return self._mutation.words(self._at, words)


@dataclass(frozen=True)
class MutantSource(AgentSource):
    """Makes one mutant."""

    mutation: Mutation = MUTATIONS[0]
    place: Place | None = None
    made: list[Mutant] = field(default_factory=list[Mutant], compare=False)

    def made_for(self, loaded: Loaded, tools: Sequence[Tool], seed: int) -> Agent:
        """The perfect agent with another model."""
        assert self.place is not None
        self.made.append(Mutant(loaded, self.mutation, self.place))
        return replace(super().made_for(loaded, tools, seed), model=self.made[-1])


@dataclass(slots=True)
class Tally:
    """What became of the mutants of one kind."""

    mutation: Mutation
    mutants: int = 0
    as_meant: int = 0
    caught: int = 0
    void: int = 0
    escaped: list[str] = field(default_factory=list[str])

    def add(self, unit: Unit, place: Place) -> None:
        """One mutant more."""
        if unit.verdict == "void":
            self.void += 1
            self.escaped.append(f"{unit.scenario}[{place.turn}] (void: {unit.void_reason})")
            return
        failed = [check.name for check in unit.checks if check.verdict == "fail"]
        meant = any(name.startswith(self.mutation.checks) for name in failed)
        self.mutants += 1
        self.as_meant += meant
        self.caught += unit.verdict == "fail"
        if not meant:
            self.escaped.append(f"{unit.scenario}[{place.turn}]")

    def row(self) -> dict[str, Any]:
        """Of the matrix."""
        share = self.as_meant / self.mutants if self.mutants else 0.0
        return {
            "fault": self.mutation.name,
            "meant for": ", ".join(self.mutation.checks),
            "mutants": self.mutants,
            "caught": self.caught,
            "as meant": self.as_meant,
            "share": round(share, 3),
            "void": self.void,
        }


def places(loaded: Loaded) -> Iterator[Place]:
    """The turns of a scenario, with what the perfect agent does in them."""
    found: list[Agent] = []

    class Seen(AgentSource):
        def made_for(self, loaded: Loaded, tools: Sequence[Tool], seed: int) -> Agent:
            found.append(super().made_for(loaded, tools, seed))
            return found[-1]

    unit = run(loaded, Seen("perfect"))
    tools = {tool.name: tool for tool in found[0].tools}
    for index, turn in enumerate(loaded.scenario.turns):
        language = turn.language or loaded.scenario.language
        yield Place(index, turn.expect, unit.turns[: index + 1], tools, language)


def run(loaded: Loaded, source: AgentSource) -> Unit:
    """One unit in words."""
    name, seed = unit_id(loaded.id, "text", 0), seed_of(1, loaded.id, "text", 0)
    plan = Plan(unit=name, loaded=loaded, mode="text", trial=0, seed=seed)
    return run_unit(plan, make_mode("text", {}), source, "mutant")


def matrix(scenarios: Sequence[Loaded], seed: int) -> list[Tally]:
    """Every fault in every scenario that has a place for it; of several places one is taken by chance."""
    tallies = [Tally(mutation) for mutation in MUTATIONS]
    for loaded in scenarios:
        everywhere = list(places(loaded))
        for tally in tallies:
            fitting = [place for place in everywhere if tally.mutation.fits(place)]
            Random(f"{seed}/{loaded.id}/{tally.mutation.name}").shuffle(fitting)
            for place in fitting:
                source = MutantSource("perfect", mutation=tally.mutation, place=place)
                unit = run(loaded, source)
                if any(mutant.fired for mutant in source.made):
                    tally.add(unit, place)
                    break
    return tallies


def _is_wrong(place: Place, wanted: CallExpectation, arguments: JsonObject) -> bool:
    properties: JsonObject = place.tools[wanted.tool].spec.parameters.get("properties", {})
    defaults = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    return any(not ok for _, ok in parameters(wanted.args, arguments, wanted.match, defaults=defaults).values())


def _any_arguments(tool: Tool) -> dict[str, Any]:
    """Arguments that the schema allows."""
    properties: JsonObject = tool.spec.parameters.get("properties", {})
    required = cast("list[str]", tool.spec.parameters.get("required", []))
    return {name: _any_value(properties[name]) for name in required}


def _any_value(schema: JsonObject) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    text = "2026-01-01" if schema.get("format") == "date" else "x"
    return {"integer": 1, "number": 5, "boolean": True}.get(schema.get("type", ""), text)


def _known(arguments: JsonObject) -> JsonObject:
    """Arguments out of an earlier result, which a mutant may not have."""
    return {name: None if value is MISSING else value for name, value in arguments.items()}


def main() -> int:
    """Make the mutants and print the matrix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", type=Path, default=[SUITES / "core", SUITES / "adversarial"])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    loaded = [one for suite in load_suites(options.suites) for one in suite.scenarios]
    scenarios = [one for one in loaded if "text" in one.scenario.modes and one.scenario.user_sim is None]
    tallies = matrix(scenarios, options.seed)
    total, meant = sum(one.mutants for one in tallies), sum(one.as_meant for one in tallies)
    notes = [
        f"{len(scenarios)} scenarios by text on the virtual clock, one place a fault and scenario, seed {options.seed}"
    ]
    notes.append(f"{meant} of {total} as meant ({meant / total:.1%}), bar {BAR:.0%}")
    notes += [f"{one.mutation.name}: not as meant: {', '.join(one.escaped)}" for one in tallies if one.escaped]
    write("eval_mutants", [one.row() for one in tallies], notes)
    return 0 if meant >= BAR * total else 1


if __name__ == "__main__":
    logging.getLogger("sayso").setLevel(logging.CRITICAL)  # mutants fail by the hundred
    sys.exit(main())
