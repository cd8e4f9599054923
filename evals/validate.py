"""Checking scenarios before they are run: tools, arguments, and worlds that can be reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from sayso.errors import SaysoError, ToolError
from sayso.evals.code_checks import code_checks
from sayso.evals.expectations import CallExpectation
from sayso.evals.file_errors import ScenarioError
from sayso.evals.loader import Loaded, load_suites
from sayso.evals.match import example
from sayso.evals.run.score import make_replays
from sayso.evals.tools import tools_of
from sayso.tools.tool import Tool


async def validate(paths: Sequence[str | Path]) -> int:
    """Check all scenarios of some suites.

    Returns:
        How many there are.

    Raises:
        ScenarioError: Something is wrong; all of it is told.
    """
    every = [loaded for suite in load_suites(paths) for loaded in suite.scenarios]
    wrong: list[str] = []
    for loaded in every:
        wrong += [f"{loaded.path}: {loaded.id}: {fault}" for fault in await _faults(loaded)]
    if wrong:
        raise ScenarioError(wrong)
    return len(every)


async def _faults(loaded: Loaded) -> list[str]:
    try:
        tools = {tool.name: tool for tool in tools_of(loaded)}
        code_checks(loaded)
    except SaysoError as error:
        return [str(error)]
    found = list(_calls(loaded, tools))
    for turn, world in (await make_replays(loaded, 0)).items():
        if isinstance(world, str):
            found.append(f"{'final' if turn is None else f'turns[{turn}].expect'}.state.equals_after: {world}")
    return found


def _calls(loaded: Loaded, tools: Mapping[str, Tool]) -> Iterator[str]:
    """Expected calls of tools that are not there, or with arguments that these do not take."""
    for index, turn in enumerate(loaded.scenario.turns):
        for number, call in enumerate(turn.expect.calls):
            place = f"turns[{index}].expect.calls[{number}]"
            if call.tool != "*" and call.tool not in tools:
                yield f"{place}: there is no tool {call.tool}; the scenario has {', '.join(tools) or 'none'}"
            elif call.tool != "*" and (problem := _problem(tools[call.tool], call)):
                yield f"{place}: {problem}"
    for name, behaviour in loaded.scenario.tools.items():
        if name not in tools and behaviour.define is None:  # a suite may define more tools than a scenario has
            yield f"tools.{name}: the agent has no such tool"


def _problem(tool: Tool, call: CallExpectation) -> str | None:
    """Why arguments that fit the expectation are none for the tool; only where all of them are known."""
    if call.match not in ("exact", "any_of") or call.result in ("invalid", "any"):
        return None
    arguments: Any = example(call.args, call.match)
    if not isinstance(arguments, dict) or _open(call.args):
        return None
    try:
        tool.validate(cast("dict[str, Any]", arguments))
    except ToolError as error:
        return str(error)
    return None


def _open(expected: Any) -> bool:
    """Whether a comparator leaves a value open."""
    if isinstance(expected, dict):
        table = cast("dict[str, Any]", expected)
        return bool({"re", "any", "from"} & table.keys()) or any(_open(value) for value in table.values())
    return isinstance(expected, list) and any(_open(value) for value in cast("list[Any]", expected))
