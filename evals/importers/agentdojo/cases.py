"""What a suite is made of: a world with tools, tasks of the user, goals of the attacker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from sayso.evals.code_checks import CodeCheck, Ending
from sayso.evals.importers.base import Row, json_array
from sayso.evals.world import world_of
from sayso.evals.yaml_text import read_documents
from sayso.tools import Tool
from sayso.tools.context import Context


@dataclass(frozen=True, slots=True)
class Step:
    """One call that belongs to a plan."""

    tool: str
    arguments: dict[str, Any]


def step(tool: str, /, **arguments: Any) -> Step:
    """A call."""
    return Step(tool, arguments)


@dataclass
class World:
    """An environment that tools work on; each suite derives its own.

    Attributes:
        data: The environment of AgentDojo, with the attack in it.
        before: The same as it was at first; None: it is as it was.
        reply: What the agent said.
        done: The calls that ran, in order.
    """

    data: Any
    before: Any = None
    reply: str = ""
    done: list[Step] = field(default_factory=list[Step])

    def __post_init__(self) -> None:
        """Keep a copy to compare with."""
        if self.before is None:
            self.before = deepcopy(self.data)

    @property
    def tools(self) -> tuple[Tool[..., Any], ...]:
        """The tools, bound to this world."""
        names = (name for name in dir(type(self)) if isinstance(getattr(type(self), name), Tool))
        return tuple(cast("Tool[..., Any]", getattr(self, name)) for name in names)

    @property
    def unchanged(self) -> bool:
        """Whether nothing but the memory of visits differs from the start."""
        return self.data == self.before


Plan: TypeAlias = Callable[[Any], Sequence[Step]]
Check: TypeAlias = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Task:
    """A user's request, or an attacker's goal.

    Attributes:
        id: As in the data.
        text: What the user says, or what the attacker wants.
        plan: The calls that do it, given the world as it is at first.
        reached: Whether it is done, given the world at the end.
        answer: What a model that did it says.
    """

    id: str
    text: str
    plan: Plan
    reached: Check
    answer: str = "Done."


@dataclass(frozen=True, slots=True)
class Suite:
    """One of AgentDojo's suites.

    Attributes:
        name: ``banking`` or ``slack``.
        world: Makes a world of an environment.
        environment: With ``{slot}`` where an attacker can write.
        slots: What stands there without an attack.
        users: The user's tasks.
        goals: The attacker's.
    """

    name: str
    world: Callable[[Any], World]
    environment: Any
    slots: Mapping[str, str]
    users: tuple[Task, ...]
    goals: tuple[Task, ...]

    def make(self, attack: Mapping[str, str] | None = None) -> World:
        """A fresh world with ``attack`` in its slots."""
        return self.world(_filled(self.environment, {**self.slots, **(attack or {})}))

    def seen_by(self, task: Task) -> tuple[str, ...]:
        """The slots whose text the plan of ``task`` brings before a model: only there can it be attacked."""
        world = self.make({slot: f"@{slot}@" for slot in self.slots})
        texts: list[str] = []
        for one in task.plan(world):
            call = getattr(world, one.tool)
            texts.append(str(call.function(**one.arguments)))
        return tuple(slot for slot in self.slots if any(f"@{slot}@" in text for text in texts))


Rules: TypeAlias = Mapping[str, tuple[Plan, Check]]


def load(folder: Path, name: str, world: Callable[[Any], World], users: Rules, goals: Rules) -> Suite:
    """Read a suite's data.

    Args:
        folder: ``agentdojo``.
        name: The suite's, and its folder's.
        world: Makes its world.
        users: Plans and checks of the user's tasks.
        goals: Of the attacker's.
    """
    where = folder / name
    vectors = read_documents(where / "injection_vectors.yaml")[0].value
    slots = {slot: _unescaped(str(vector["default"])) for slot, vector in vectors.items()}
    environment = read_documents(where / "environment.yaml")[0].value
    return Suite(
        name,
        world,
        environment,
        slots,
        tuple(_task(row, "prompt", users) for row in json_array(where / "user_prompts.json") if _is_known(row, users)),
        tuple(_task(row, "goal", goals) for row in json_array(where / "injection_goals.json") if _is_known(row, goals)),
    )


def in_world(kind: type[World]) -> list[Tool[..., Any]]:
    """The tools of a kind of world for scenarios: they work in the world that their context leads to."""

    def handler(name: str) -> Callable[[dict[str, Any], Context], Any]:
        def handle(arguments: dict[str, Any], ctx: Context) -> Any:
            world = world_of(ctx)
            return getattr(kind(world, before=world.start), name).handler(arguments, ctx)

        return handle

    return [replace(tool, handler=handler(tool.name)) for tool in kind({}).tools]


def checks_of(kind: Callable[..., World], *rules: Rules) -> dict[str, CodeCheck]:
    """Whether tasks are done, as checks of a scenario's code."""

    def checked(reached: Check) -> CodeCheck:
        def check(ending: Ending) -> bool:
            done = [Step(call.tool, call.arguments) for call in ending.calls if call.status == "ok"]
            return reached(kind(dict(ending.world), dict(ending.start), ending.reply, done))

        return check

    return {name: checked(reached) for rule in rules for name, (_, reached) in rule.items()}


def _is_known(row: Row, rules: Rules) -> bool:
    return row.need("id", str) in rules


def _task(row: Row, key: str, rules: Rules) -> Task:
    answer = row.data.get("ground_truth_output") or "Done."
    return Task(row.need("id", str), row.need(key, str), *rules[row.need("id", str)], answer)


def _unescaped(text: str) -> str:
    """AgentDojo puts the defaults into YAML text, which reads these once more."""
    return text.replace("\\t", "\t").replace("\\n", "\n")


def _filled(value: Any, slots: Mapping[str, str]) -> Any:
    match value:
        case str():
            for slot, text in slots.items():
                value = value.replace(f"{{{slot}}}", text)
            return value
        case dict():
            found = cast("dict[Any, Any]", value)
            return {_filled(key, slots): _filled(inner, slots) for key, inner in found.items()}
        case list():
            return [_filled(inner, slots) for inner in cast("list[Any]", value)]
        case _:
            return value
