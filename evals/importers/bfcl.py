"""Berkeley Function-Calling Leaderboard: functions, a request, and the accepted values of every argument.

The data of the package ``bfcl-eval`` is read as it is (``BFCL_v4_simple_python.json`` and ``possible_answer``), and
files that are named by category alone (``simple_python.jsonl`` and ``answers``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sayso.errors import UsageError
from sayso.evals.importers.base import Folder, Imported, Row, Source, json_lines, objects, read
from sayso.evals.importers.bfcl_schema import Unusable, accepted, schema_of, speakable, spelled, tool_name
from sayso.evals.loader import as_object
from sayso.items import JsonObject

SOURCE: Final = Source("bfcl", "BFCL", "2026.3.23", "Apache-2.0")
ANSWERED: Final = frozenset(
    {"simple_python", "simple", "multiple", "parallel", "parallel_multiple"}
    | {"live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"}
)
UNANSWERED: Final = frozenset({"irrelevance", "live_irrelevance", "live_relevance"})
LEFT_OUT: Final = {
    "multi_turn": "multi-turn: needs the set's own stateful interfaces",
    "simple_java": "functions of Java",
    "simple_javascript": "functions of JavaScript",
    "web_search": "agentic: needs the web",
    "memory": "agentic: needs the set's own memory",
    "format_sensitivity": "about the prompt's format",
}
POLICY: Final = "Use the tools to do what you are asked for. Where no tool fits, say so and call none."
_FILE: Final = re.compile(r"^(?:BFCL_v\d+_)?(?P<category>[a-z_]+)\.jsonl?$")


def load(path: Path, source: Source = SOURCE) -> Imported:
    """Read a folder of categories, or one category's file.

    Raises:
        UsageError: There is no category.
        ScenarioError: A row is not as expected; file and line are told.
    """
    imported = Imported(source)
    files = [path] if path.is_file() else sorted(path.glob("*.json")) + sorted(path.glob("*.jsonl"))
    known = [(file, found["category"]) for file in files if (found := _FILE.match(file.name))]
    if not known:
        raise UsageError(f"There is no category of BFCL in {path}.", "Expected are files such as simple_python.jsonl.")
    for file, category in known:
        if category in ANSWERED | UNANSWERED:
            imported.folders.append(_category(imported, file, category))
        else:
            reason = next((why for name, why in LEFT_OUT.items() if category.startswith(name)), "an unknown category")
            imported.left_out[reason] += max(1, sum(line.startswith('{"id"') for line in read(file).splitlines()))
    imported.folders = [folder for folder in imported.folders if folder.scenarios]
    imported.notes.append(
        "Adapted from the AST score: tools are called natively, dots in names are underscores, strings inside lists "
        "and objects are compared as they are."
    )
    return imported


def _category(imported: Imported, file: Path, category: str) -> Folder:
    folder = Folder(category, defaults={"agent": {"policy": POLICY}})
    answers = _answers(file) if category in ANSWERED else {}
    for row in json_lines(file):
        identity = row.need("id", str)
        try:
            data = _scenario(row, category, answers)
        except Unusable as error:
            imported.left_out[str(error)] += 1
            continue
        folder.scenarios.append(imported.scenario(row, identity, category, data))
    return folder


def _answers(file: Path) -> dict[str, Row]:
    folders = (file.parent / "possible_answer", file.parent / "answers")
    found = next((folder / file.name for folder in folders if (folder / file.name).is_file()), None)
    if found is None:
        raise UsageError(
            f"There are no answers to {file.name}.", "Expected are possible_answer/ or answers/ beside it."
        )
    return {row.need("id", str): row for row in json_lines(found)}


def _scenario(row: Row, category: str, answers: dict[str, Row]) -> JsonObject:
    tools = _tools(row)
    past, policy, words = _messages(row)
    turn: JsonObject = {"user": words, "expect": _expected(row, category, answers, tools)}
    if category == "live_relevance":
        turn["reference"] = {"rounds": [[{"tool": next(iter(tools))}]]}
    how = speakable(words)
    if how == "spell":
        turn["say"] = spelled(words)
    data: JsonObject = {
        "title": f"{category}: {words[:70]}",
        "tags": [category, f"speakable-{how}"],
        "agent": {"tools": list(tools), **({"policy": policy} if policy else {})},
        "tools": {name: {"define": define} for name, define in tools.items()},
        "turns": [turn],
    }
    if how == "no":
        data["modes"] = ["text"]
    return data | ({"history": past} if past else {})


def _tools(row: Row) -> dict[str, JsonObject]:
    functions = objects(row.items("function"))
    tools: dict[str, JsonObject] = {}
    for function in functions:
        name, parameters = function.get("name"), as_object(function.get("parameters"))
        if not isinstance(name, str) or parameters is None:
            raise row.wrong("function: a name and parameters are expected")
        tools[tool_name(name)] = {
            "description": str(function.get("description") or name),
            "parameters": schema_of(parameters),
            "effect": "read",
            "returns": {"status": "done"},
        }
    if len(tools) != len(functions):
        raise Unusable("two functions of one name")
    return tools


def _messages(row: Row) -> tuple[list[JsonObject], str, str]:
    """What was said before, the words of the system, and the last words of the user."""
    turns = row.items("question")
    if len(turns) != 1:
        raise Unusable("more than one turn")
    messages = objects(turns[0])
    if not messages or messages[-1].get("role") != "user":
        raise row.wrong("question: the last message is expected to be the user's")
    roles = {"user": "user", "assistant": "agent"}
    past = [{roles[one["role"]]: one.get("content")} for one in messages[:-1] if one.get("role") in roles]
    system = "\n".join(str(one.get("content")) for one in messages if one.get("role") == "system")
    return past, system, str(messages[-1].get("content")).strip()


def _expected(row: Row, category: str, answers: dict[str, Row], tools: dict[str, JsonObject]) -> JsonObject:
    if category.endswith("irrelevance"):
        return {"no_calls": [{"tool": "*"}]}
    if category.endswith("relevance"):
        return {"calls": [{"tool": "*", "result": "any", "times": {"min": 1}}], "extra": "any"}
    answer = answers.get(row.need("id", str))
    if answer is None:
        raise Unusable("no answer")
    calls: list[JsonObject] = []
    for call in objects(answer.items("ground_truth")):
        for name, parameters in call.items():
            wanted = as_object(parameters)
            if wanted is None or tool_name(name) not in tools:
                raise answer.wrong(f"ground_truth: {name} is expected to be one of the functions, with parameters")
            arguments = {key: accepted(values) for key, values in wanted.items()}
            calls.append({"tool": tool_name(name), "args": arguments, "match": "any_of", "result": "any"})
    return {"calls": calls, "extra": "none"}
