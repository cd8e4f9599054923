"""What a suite is made of: a world with tools, tasks of the user, goals of the attacker."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

from sayso.tools import Tool


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
        before: The same as it was at first.
        reply: What the agent said.
        done: The calls that ran, in order.
    """

    data: Any
    before: Any = None
    reply: str = ""
    done: list[Step] = field(default_factory=list[Step])

    def __post_init__(self) -> None:
        """Keep a copy to compare with."""
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
    import yaml

    where = folder / name
    vectors = yaml.safe_load((where / "injection_vectors.yaml").read_text(encoding="utf-8"))
    slots = {slot: _unescaped(str(vector["default"])) for slot, vector in vectors.items()}
    environment = yaml.safe_load((where / "environment.yaml").read_text(encoding="utf-8"))
    requests = _rows(where / "user_prompts.json")
    wanted = _rows(where / "injection_goals.json")
    return Suite(
        name,
        world,
        environment,
        slots,
        tuple(
            Task(row["id"], row["prompt"], *users[row["id"]], row.get("ground_truth_output") or "Done.")
            for row in requests
            if row["id"] in users
        ),
        tuple(Task(row["id"], row["goal"], *goals[row["id"]]) for row in wanted if row["id"] in goals),
    )


def _rows(file: Path) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", json.loads(file.read_text(encoding="utf-8")))


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
