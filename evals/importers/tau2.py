"""tau2-bench (Sierra): tasks with a policy and a database; the caller is simulated, the end state is compared.

A folder of domains is read, each with ``tasks.json``, ``policy.md`` and ``db.json`` (or ``db.json.gz``). The tools are
written anew for the airline and the mock domain; a domain whose tools are not here is left out.
"""

from __future__ import annotations

import asyncio
import copy
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

from sayso.errors import ToolError, UsageError
from sayso.evals.importers.base import (
    Folder,
    Imported,
    Row,
    Source,
    changed_world,
    json_array,
    json_object,
    objects,
    read,
    texts,
    tools_file,
    world_text,
)
from sayso.evals.loader import as_object
from sayso.evals.scenario import ReferenceCall
from sayso.evals.tools import replayed
from sayso.items import JsonObject
from sayso.tools.context import Context
from sayso.tools.tool import Tool

SOURCE: Final = Source("tau2", "tau2-bench", "a2c02472", "MIT")
DOMAINS: Final = {
    "airline": ("sayso.evals.importers.tau2_airline", "2024-05-15T15:00:00-05:00"),
    "mock": ("sayso.evals.importers.tau2_mock", "2025-01-01T09:00:00Z"),
}
"""Those whose tools are here: the module, and when the conversations take place."""
STOP: Final = ("###STOP###", "###TRANSFER###", "###OUT-OF-SCOPE###")
MAX_TURNS: Final = 30
WORLD: Final = "worlds/start.json"
_LONGEST_SAID: Final = 5
"""Words; what has to be communicated and is longer is a sentence about the agent, not its words."""


class LeftOut(ValueError):
    """A task that is not imported; the message is the reason that is counted."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of the set.

    Attributes:
        name: Its folder's.
        tools: By name.
        start: Its database.
        clock: When its conversations take place.
    """

    name: str
    tools: dict[str, Tool]
    start: JsonObject
    clock: str


def load(path: Path, source: Source = SOURCE) -> Imported:
    """Read all domains in a folder, or one domain's folder.

    Raises:
        UsageError: There is no domain.
        ScenarioError: A file is not as expected; file and line are told.
    """
    found = [path] if list(path.glob("tasks*.json")) else sorted(one.parent for one in path.glob("*/policy.md"))
    found += [one.parent for one in sorted(path.glob("*/main_policy.md"))]
    if not found:
        raise UsageError(f"There is no domain of tau2-bench in {path}.", "Expected are folders with tasks.json.")
    imported = Imported(source)
    for folder in found:
        if folder.name in DOMAINS:
            imported.folders.append(_domain(imported, folder))
        else:
            tasks = next(iter(sorted(folder.glob("tasks*.json"))), None)
            count = 0 if tasks is None else sum(1 for _ in json_array(tasks))
            imported.left_out[f"{folder.name}: its tools, or those on the caller's side, are not here"] += count
    imported.notes += [
        "Adapted: numbers to be said count in any spoken form; sentences about the agent are left to a judge.",
        "Scores depend on the simulated caller: name it beside them.",
    ]
    return imported


def _domain(imported: Imported, where: Path) -> Folder:
    module, clock = DOMAINS[where.name]
    tools = {tool.name: tool for tool in cast("list[Tool]", import_module(module).TOOLS)}
    database = where / "db.json"
    start = json_object(database if database.is_file() else where / "db.json.gz")
    domain = Domain(where.name, tools, start, clock)
    agent = {"policy": read(where / "policy.md").strip(), "tools": list(tools), "max_tool_rounds": 12}
    folder = Folder(
        where.name,
        defaults={"clock": {"now": clock}, "agent": agent},
        files={"tools.py": tools_file(module), WORLD: world_text(start)},
    )
    for row in json_array(where / "tasks.json"):
        identity = row.need("id", str)
        try:
            data = _scenario(row, domain)
        except LeftOut as error:
            imported.left_out[f"{where.name}: {error}"] += 1
            continue
        folder.scenarios.append(imported.scenario(row, f"{where.name}.{identity}", where.name, data))
    return folder


def _scenario(row: Row, domain: Domain) -> JsonObject:
    caller = _caller(row)
    initial = as_object(row.data.get("initial_state")) or {}
    history = objects(initial.get("message_history"))
    start = asyncio.run(_start(row, domain, initial, history))
    final = _final(row, domain)
    about = as_object(row.data.get("description")) or {}
    data: JsonObject = {
        "title": str(about.get("purpose") or f"{domain.name} {row.data['id']}")[:200],
        "tags": [domain.name],
        "target_tools": [],
        "world": changed_world(WORLD, domain.start, start),
        "user_sim": caller,
        "final": final,
    }
    return data | ({"history": _past(history)} if history else {})


def _caller(row: Row) -> JsonObject:
    scenario = row.part("user_scenario")
    told: Any = scenario.get("instructions")
    about = as_object(told) or {"task_instructions": told}
    parts = {
        "reason": about.get("reason_for_call"),
        "persona": scenario.get("persona"),
        "instructions": about.get("task_instructions"),
        "known": about.get("known_info"),
        "unknown": about.get("unknown_info"),
    }
    given = {name: value for name, value in parts.items() if value}
    if not given:
        raise row.wrong("user_scenario: instructions are expected")
    return given | {"stop": list(STOP), "max_turns": MAX_TURNS, "expect": {"extra": "any"}}


def _final(row: Row, domain: Domain) -> JsonObject:
    criteria = as_object(row.data.get("evaluation_criteria")) or {}
    basis = set(texts(cast("list[Any]", criteria.get("reward_basis") or ["DB", "COMMUNICATE"])))
    if unknown := basis - {"DB", "COMMUNICATE", "ENV_ASSERTION", "ACTION", "NL_ASSERTION"}:
        raise LeftOut(f"scored by {min(unknown)}")
    actions = objects(criteria.get("actions"))
    assertions = objects(criteria.get("env_assertions")) if "ENV_ASSERTION" in basis else []
    if any(one.get("env_type") == "user" for one in assertions) or any(
        one.get("requestor") == "user" for one in actions
    ):
        raise LeftOut("needs tools on the caller's side")
    final: JsonObject = {"calls": {"extra": "any"}}
    if "DB" in basis and isinstance(criteria.get("actions"), list):
        final["state"] = {"equals_after": [_call(row, domain, one) for one in actions if _writes(domain, one)]}
    elif assertions:
        final["state"] = {"assert": [_assertion(one) for one in assertions]}
    if "ACTION" in basis and actions:
        final["checks"] = sorted({f"called_{one['name']}" for one in actions})
    said = texts(cast("list[Any]", criteria.get("communicate_info") or [])) if "COMMUNICATE" in basis else []
    if literal := [_spoken(text) for text in said if len(text.split()) <= _LONGEST_SAID]:
        final["communicate"] = literal
    judged = [text for text in said if len(text.split()) > _LONGEST_SAID]
    judged += texts(cast("list[Any]", criteria.get("nl_assertions") or [])) if "NL_ASSERTION" in basis else []
    if judged:
        final["judge"] = [{"id": f"claim_{number}", "question": text} for number, text in enumerate(judged, 1)]
    if not final.keys() & {"state", "checks", "communicate"}:
        raise LeftOut("nothing to check without a judge")
    return final


def _call(row: Row, domain: Domain, action: JsonObject) -> JsonObject:
    name, arguments = action.get("name"), as_object(action.get("arguments"))
    if name not in domain.tools or arguments is None:
        raise row.wrong(f"actions: {name!r} with arguments is expected to be a call of one of {domain.name}'s tools")
    return {"tool": name, "args": arguments}


def _writes(domain: Domain, action: JsonObject) -> bool:
    tool = domain.tools.get(str(action.get("name")))
    return tool is None or tool.effect.changes_something


def _assertion(assertion: JsonObject) -> str:
    wanted = as_object(assertion.get("arguments")) or {}
    if assertion.get("func_name") != "assert_task_status":
        raise LeftOut(f"asks {assertion.get('func_name')}")
    return f"tasks.{wanted.get('task_id')}.status == '{wanted.get('expected_status')}'"


def _spoken(text: str) -> Any:
    plain = text.replace(",", "").removeprefix("$")
    if not re.fullmatch(r"-?\d+(\.\d+)?", plain):
        return text
    return {"number": float(plain) if "." in plain else int(plain)}


async def _start(row: Row, domain: Domain, initial: JsonObject, history: list[JsonObject]) -> JsonObject:
    """The database when the conversation begins: data of the task first, then its calls, then those of the past."""
    given = as_object((as_object(initial.get("initialization_data")) or {}).get("agent_data")) or {}
    start = _merged(domain.start, given) if given else domain.start
    actions = objects(initial.get("initialization_actions"))
    if any(one.get("env_type") == "user" for one in actions):
        raise LeftOut("needs tools on the caller's side")
    calls = [{"name": one.get("func_name"), "arguments": one.get("arguments")} for one in actions]
    calls += [call for message in history for call in objects(message.get("tool_calls"))]
    made = [_call(row, domain, call) for call in calls if _writes(domain, call)]
    if not made:
        return start
    try:
        return await replayed(domain.tools, start, [ReferenceCall(**call) for call in made], Context())
    except ToolError as error:
        raise row.wrong(f"initial_state: a call fails: {error}") from None


def _merged(before: JsonObject, changes: JsonObject) -> JsonObject:
    made = copy.copy(before)
    for key, value in changes.items():
        old, new = as_object(before.get(key)), as_object(value)
        made[key] = value if old is None or new is None else _merged(old, new)
    return made


def _past(history: list[JsonObject]) -> list[JsonObject]:
    results = {one.get("id"): one.get("content") for one in history if one.get("role") == "tool"}
    past: list[JsonObject] = []
    for message in history:
        words = message.get("content")
        role = {"user": "user", "assistant": "agent"}.get(str(message.get("role")))
        past += [{role: words}] if role is not None and words else []
        for call in objects(message.get("tool_calls")):
            arguments = as_object(call.get("arguments")) or {}
            result = results.get(call.get("id"))
            past.append({"call": {"tool": call.get("name"), "args": arguments, "result": result}})
    return past
