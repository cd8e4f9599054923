"""EVA (ServiceNow), airline: calls to an airline with a caller's goal, a fixed clock, and the database at the end.

The set's calls that lead to that database are kept where they do so with the tools here, which is tried at import;
else the whole database is. Names that the set leaves open are filled in alike everywhere.
"""

from __future__ import annotations

import asyncio
import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final, cast

from sayso.errors import ToolError, UsageError
from sayso.evals.importers.base import (
    Folder,
    Imported,
    Row,
    Source,
    json_array,
    json_object,
    objects,
    texts,
    tools_file,
    world_text,
)
from sayso.evals.importers.eva_money import TOOLS
from sayso.evals.loader import as_object
from sayso.evals.scenario import ReferenceCall
from sayso.evals.tools import replayed
from sayso.evals.world import difference
from sayso.evals.yaml_text import read_documents
from sayso.items import JsonObject
from sayso.tools.context import Context

SOURCE: Final = Source("eva", "EVA", "997ae977", "MIT")
MODULE: Final = "sayso.evals.importers.eva_money"
DATASET: Final = "airline_dataset.json"
FILLED: Final = {
    "FIRST_NAME": "Robin",
    "LAST_NAME": "Carter",
    "FIRST_NAME_ROMANIZED": "Robin",
    "LAST_NAME_ROMANIZED": "Carter",
    "PHONE": "+1 555 0100",
}
"""What stands for the set's placeholders."""
OFFSETS: Final = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "UTC": 0}
EXCLUDED: Final = ["/session"]
"""Who was authenticated; it is no table of the airline."""
MAX_TURNS: Final = 30
_TELLS: Final = (
    "negotiation_behavior",
    "resolution_condition",
    "failure_condition",
    "escalation_behavior",
    "edge_cases",
)


def load(path: Path, source: Source = SOURCE) -> Imported:
    """Read a folder with ``airline_dataset.json``, ``airline_agent.yaml`` and ``airline_scenarios``.

    Raises:
        UsageError: It is not there.
        ScenarioError: A file is not as expected; file and line are told.
    """
    dataset = path / DATASET
    if not dataset.is_file():
        raise UsageError(f"There is no {DATASET} in {path}.", "Give the folder of EVA's airline.")
    imported = Imported(source)
    agent = as_object(read_documents(path / "airline_agent.yaml")[0].value) or {}
    policy = f"{agent.get('role', '')}\n\n{agent.get('instructions', '')}".strip()
    setup = {"policy": policy, "tools": [tool.name for tool in TOOLS], "max_tool_rounds": 12}
    folder = Folder(
        defaults={"agent": setup}, files={"tools.py": tools_file(MODULE, "sayso.evals.importers.eva_airline")}
    )
    for other in sorted(path.glob("*_dataset.json")):
        if other.name != DATASET:
            reason = f"{other.stem.removesuffix('_dataset')}: its tools are not here"
            imported.left_out[reason] += sum(1 for _ in json_array(other))
    for row in json_array(dataset):
        identity = row.need("id", str)
        start_file = path / "airline_scenarios" / f"{identity}.json"
        if not start_file.is_file():
            imported.left_out["no start database"] += 1
            continue
        start = cast("JsonObject", filled(json_object(start_file)))
        world = f"worlds/{identity}.json"
        folder.files[world] = world_text(start)
        data = _scenario(Row(row.path, row.line, filled(row.data)), start, world)
        how = "by calls" if "equals_after" in data["final"]["state"] else "by database"
        folder.scenarios.append(imported.scenario(row, identity, f"airline, {how}", data))
    imported.folders.append(folder)
    imported.notes += [
        "Adapted from EVA-A: the end state, and in speech that entities are heard; faithfulness is left to a judge.",
        "Scores depend on the simulated caller: name it beside them.",
    ]
    return imported


def filled(value: Any) -> Any:
    """A value with the set's placeholders filled in."""
    text = json.dumps(value, ensure_ascii=False)
    return json.loads(re.sub(r"<([A-Z_]+)>", lambda found: FILLED.get(found[1], found[0]), text))


def _scenario(row: Row, start: JsonObject, world: str) -> JsonObject:
    truth = row.part("ground_truth")
    expected = as_object(truth.get("expected_scenario_db"))
    if expected is None:
        raise row.wrong("ground_truth: expected_scenario_db, an object, is expected")
    calls = _calls(truth)
    leads = asyncio.run(_leads_to(start, calls, expected))
    state: JsonObject = {"equals_after": calls} if leads else {"equals": expected}
    goal = row.part("user_goal")
    return {
        "title": str(goal.get("high_level_user_goal") or row.data["id"])[:160],
        "tags": ["airline", *(["adversarial"] if str(row.data["id"]).startswith("7.") else [])],
        "target_tools": [],
        "clock": {"now": _now(row)},
        "world": {"$ref": world},
        "user_sim": _caller(row, goal),
        "final": {
            "state": state | {"exclude": EXCLUDED},
            "calls": {"extra": "any"},
            "speech": {"entities_heard": True},
        },
    }


def _calls(truth: JsonObject) -> list[JsonObject]:
    """The calls of the expected trace that change something."""
    writes = {tool.name for tool in TOOLS if tool.effect.changes_something}
    trace = as_object(truth.get("expected_trace")) or {}
    made = [event for event in objects(trace.get("trace")) if event.get("event_type") == "tool_call"]
    return [{"tool": one["tool_name"], "args": one.get("params") or {}} for one in made if one["tool_name"] in writes]


async def _leads_to(start: JsonObject, calls: list[JsonObject], expected: JsonObject) -> bool:
    tools = {tool.name: tool for tool in TOOLS}
    try:
        found = await replayed(tools, start, [ReferenceCall(**call) for call in calls], Context())
    except ToolError:
        return False
    return not difference(expected, found, EXCLUDED)


def _now(row: Row) -> str:
    text = row.need("current_date_time", str)
    found = re.fullmatch(r"(\d{4}-\d{2}-\d{2} \d{2}:\d{2}) ([A-Z]{3})", text)
    if found is None or found[2] not in OFFSETS:
        raise row.wrong(f"current_date_time: {text!r} was found; expected is such as 2026-03-17 10:45 CST")
    zone = timezone(timedelta(hours=OFFSETS[found[2]]))
    return datetime.fromisoformat(found[1]).replace(tzinfo=zone).isoformat()


def _caller(row: Row, goal: JsonObject) -> JsonObject:
    tree = as_object(goal.get("decision_tree")) or {}
    config = as_object(row.data.get("user_config")) or {}
    opening = (as_object(row.data.get("starting_utterances")) or {}).get("en")
    told: list[str] = []
    for key in _TELLS:
        value: Any = tree.get(key)
        told += texts(cast("list[Any]", value)) if isinstance(value, list) else [value] if value else []
    return {
        "opening": opening,
        "reason": str(goal.get("high_level_user_goal") or ""),
        "persona": str(config.get("user_persona") or ""),
        "instructions": "\n".join(told),
        "known": goal.get("information_required"),
        "must_have": texts(cast("list[Any]", tree.get("must_have_criteria") or [])),
        "nice_to_have": texts(cast("list[Any]", tree.get("nice_to_have_criteria") or [])),
        "stop": ["end_call"],
        "max_turns": MAX_TURNS,
        "expect": {"extra": "any"},
    }
