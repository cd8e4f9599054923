"""The simulated tools of a scenario: sayso's own `Tool`s over a `World`, with latency and faults."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, Final, cast

from pydantic_core import to_jsonable_python

from sayso.errors import ToolError, UsageError
from sayso.evals.faults import latency_s, run_with
from sayso.evals.loader import Loaded
from sayso.evals.match import is_match
from sayso.evals.scenario import Definition, Fault, ReferenceCall, ToolBehaviour
from sayso.evals.world import KEY, World
from sayso.items import JsonObject, ToolSpec
from sayso.tools.context import Context
from sayso.tools.invoke import run
from sayso.tools.loader import load_tools
from sayso.tools.policy import Policy
from sayso.tools.say import compile_say
from sayso.tools.schema import InvalidArguments, Validate
from sayso.tools.tool import Effect, Mode, Tool

ALTERING: Final = frozenset({"malformed", "empty", "partial", "oversized", "language", "inject", "returns"})
"""Faults after which a result is not what the tool's own words about it were written for."""
PLAIN: Final = ToolBehaviour()


@dataclass
class Simulation:
    """The tools of one conversation, and what became of their world.

    Attributes:
        world: What they work in.
        seed: Of latencies and chance.
        counts: How often each was called.
        broken: What broke in the tools' own code, which is no fault of the agent.
    """

    world: World
    seed: int = 0
    counts: dict[str, int] = field(default_factory=dict[str, int])
    broken: list[str] = field(default_factory=list[str])

    def begin(self, name: str) -> int:
        """A call begins; its number, from 1."""
        self.counts[name] = number = self.counts.get(name, 0) + 1
        return number

    def chance(self, name: str, number: int) -> Random:
        """The chance of one call, whatever else was called."""
        digest = hashlib.sha256(f"{self.seed}/{name}/{number}".encode()).digest()
        return Random(int.from_bytes(digest[:8]))


def tools_of(loaded: Loaded) -> list[Tool]:
    """The tools that a scenario names, without latency and faults.

    Raises:
        UsageError: There is no such tool.
        ToolDefinitionError: Its code cannot be loaded.
    """
    scenario = loaded.scenario
    known = known_tools(loaded)
    found: list[Tool] = []
    for name in scenario.agent.tools:
        tool = known.get(name) or _built_in(name)
        if tool is None:
            have = ", ".join(sorted(known)) or "none"
            raise UsageError(f"{loaded.path}: {scenario.id}: there is no tool {name!r}.", f"Its code has: {have}.")
        found.append(tool)
    return found


def known_tools(loaded: Loaded) -> dict[str, Tool]:
    """The tools of a scenario's code, and those that it defines itself, by name."""
    known = {tool.name: tool for tool in _code(loaded.code, loaded.code.stat().st_mtime_ns)} if loaded.code else {}
    for name, behaviour in loaded.scenario.tools.items():
        if behaviour.define is not None:
            known[name] = defined(name, behaviour.define)
    return known


def simulated(tools: Sequence[Tool], behaviours: Mapping[str, ToolBehaviour], simulation: Simulation) -> list[Tool]:
    """The tools as a conversation gets them."""
    return [_simulated(tool, behaviours.get(tool.name, PLAIN), simulation) for tool in tools]


async def replayed(
    tools: Mapping[str, Tool], start: JsonObject, calls: Sequence[ReferenceCall], context: Context, seed: int = 0
) -> JsonObject:
    """A fresh world after these calls, which no fault touches.

    Raises:
        ToolError: A call does not work: the scenario is at fault.
    """
    world = World(start, seed)
    ctx = replace(context, state={KEY: world})
    for call in calls:
        tool = tools.get(call.tool)
        if tool is None:
            raise ToolError(f"there is no tool {call.tool}")
        await perform(tool, tool.validate(call.args), ctx, world)
    return world.snapshot()


async def perform(tool: Tool, arguments: dict[str, Any], ctx: Context, world: World) -> Any:
    """Run a tool once in a world. A sync one runs on the loop: threads would end in any order."""
    writes = tool.effect.changes_something
    if writes:
        world.begin_write()
    try:
        if tool.mode in (Mode.ASYNC, Mode.STREAM):
            return await run(tool, arguments, ctx)
        value = tool.handler(arguments, ctx)
        return await value if inspect.isawaitable(value) else value
    finally:
        if writes:
            world.end_write()


def defined(name: str, definition: Definition) -> Tool:
    """A tool without code."""

    def handler(arguments: dict[str, Any], ctx: Context) -> Any:
        for canned in definition.results:
            if canned.args is None or is_match(canned.args, arguments, "subset"):
                return canned.value
        return definition.returns

    def function(**arguments: Any) -> Any:
        return handler(arguments, Context())

    function.__name__ = function.__qualname__ = name
    effect = Effect(definition.effect)
    asks = effect is Effect.IRREVERSIBLE if definition.approval is None else definition.approval
    return Tool(
        function=function,
        spec=ToolSpec(name, definition.description, definition.parameters),
        effect=effect,
        mode=Mode.INLINE,
        validate=_validator(name, definition.parameters),
        handler=handler,
        speak=None if definition.say is None else compile_say(definition.say, inspect.Signature.empty, name),
        policy=Policy(approval=asks, untrusted=definition.untrusted),
        where=f"the scenario's tool {name}",
    )


def _simulated(tool: Tool, behaviour: ToolBehaviour, simulation: Simulation) -> Tool:
    async def handler(arguments: dict[str, Any], ctx: Context) -> Any:
        number = simulation.begin(tool.name)
        await asyncio.sleep(latency_s(behaviour.latency_ms, simulation.chance(tool.name, number)))
        fault = _fault(behaviour.faults, number, arguments)

        async def once(stale: bool) -> Any:
            world = World(simulation.world.start, simulation.seed) if stale else simulation.world
            there = replace(ctx, state={**ctx.state, KEY: world}) if stale else ctx
            try:
                return await perform(tool, arguments, there, world)
            except ToolError:
                raise
            except Exception as error:
                simulation.broken.append(f"the tool {tool.name} broke: {type(error).__name__}: {error}")
                raise

        return await (once(False) if fault is None else run_with(fault, once))

    alters = any(fault.kind in ALTERING for fault in behaviour.faults)
    return replace(
        tool,
        mode=Mode.ASYNC,
        handler=handler,
        speak=None if alters else tool.speak,
        timeout_s=tool.timeout_s if behaviour.timeout_ms is None else behaviour.timeout_ms / 1000,
    )


def _fault(faults: Sequence[Fault], number: int, arguments: dict[str, Any]) -> Fault | None:
    for fault in faults:
        numbers = (fault.on_call,) if isinstance(fault.on_call, int) else fault.on_call
        if numbers is not None and number not in numbers:
            continue
        if fault.args is None or is_match(fault.args, to_jsonable_python(arguments, fallback=str), "subset"):
            return fault
    return None


@lru_cache(maxsize=64)
def _code(path: Path, changed_ns: int) -> tuple[Tool, ...]:
    del changed_ns  # a file that was changed is loaded again
    return tuple(load_tools(path))


def _built_in(name: str) -> Tool | None:
    from sayso.tools.builtin.catalogue import GROUPS, named

    if name in GROUPS:
        return None
    try:
        (tool,) = named(name)
    except UsageError:
        return None
    return tool


def _validator(name: str, schema: JsonObject) -> Validate:
    """Checks arguments against a schema that is written down; made when it is first asked."""
    checkers: list[Callable[[JsonObject], str | None]] = []

    def validate(arguments: JsonObject) -> dict[str, Any]:
        if not checkers:
            checkers.append(_checker(schema))
        if problem := checkers[0](arguments):
            raise InvalidArguments(f"Wrong arguments for {name}: {problem}.")
        return arguments

    return validate


def _checker(schema: JsonObject) -> Callable[[JsonObject], str | None]:
    from jsonschema import Draft202012Validator, exceptions

    validator: Any = Draft202012Validator(schema)
    best_match = cast("Any", exceptions).best_match

    def check(arguments: JsonObject) -> str | None:
        error = best_match(validator.iter_errors(arguments))
        return None if error is None else f"{error.json_path.removeprefix('$.')}: {error.message}"

    return check
