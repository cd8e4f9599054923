"""aiewf-eval: one long spoken conversation with a conference's assistant; thirty turns, tools and a knowledge base."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sayso.errors import UsageError
from sayso.evals.importers.base import Folder, Imported, Row, Source, json_array, read
from sayso.evals.loader import as_object
from sayso.items import JsonObject

SOURCE: Final = Source("aiewf", "aiewf-eval", "9526aacf", "MIT")
POLICY: Final = (
    "You are a conference's voice assistant. Answer in one or two short sentences, from what stands below alone. "
    "Use a tool once you know all that it needs; ask for what is missing. End the session when the user is done.\n\n"
)
TYPED: Final = {"name": ("text", 0.8), "session_id": ("code", None)}
"""Arguments that have one right value; others are texts in any words."""
MIN_SIMILARITY: Final = 0.3


def load(path: Path, source: Source = SOURCE) -> Imported:
    """Read a folder with ``turns.json``, ``tools.json`` and ``knowledge_base.txt``.

    Raises:
        UsageError: It is not there.
        ScenarioError: A row is not as expected; file and line are told.
    """
    if not (path / "turns.json").is_file():
        raise UsageError(f"There is no turns.json in {path}.", "Give the folder of aiewf-eval.")
    imported = Imported(source)
    tools = {row.need("name", str): {"define": _define(row)} for row in json_array(path / "tools.json")}
    folder = Folder()
    rows = list(json_array(path / "turns.json"))
    judge: list[JsonObject] = []
    turns: list[JsonObject] = []
    for index, row in enumerate(rows):
        turns.append(_turn(row, tools) | _sound(row, index, folder))
        question = f"Does the reply tell what is asked for, as this one does: {row.need('golden_text', str)}"
        judge.append({"id": f"turn_{index}", "turn": index, "question": question})
    data: JsonObject = {
        "title": f"{len(turns)} turns with a conference's assistant",
        "tags": ["long"],
        "agent": {"policy": POLICY + read(path / "knowledge_base.txt"), "tools": list(tools)},
        "tools": tools,
        "turns": turns,
        "final": {"judge": judge},
    }
    folder.scenarios.append(imported.scenario(Row(path / "turns.json", 1, {}), "conversation", "conversation", data))
    imported.folders.append(folder)
    imported.notes.append(
        f"Adapted: calls are checked in each of {len(turns)} turns; what is said is left to a judge. Look at turn pass."
    )
    return imported


def _define(row: Row) -> JsonObject:
    parameters = {"type": "object", "properties": row.part("properties"), "required": row.items("required")}
    about = {"description": row.need("description", str), "parameters": parameters}
    return about | {"effect": "write", "returns": {"status": "success"}}


def _turn(row: Row, tools: JsonObject) -> JsonObject:
    words = row.need("input", str)
    call = as_object(row.data.get("required_function_call"))
    if call is None:
        return {"user": words, "expect": {"no_calls": [{"tool": "*"}]}}
    if call.get("name") not in tools:
        raise row.wrong(f"required_function_call: {call.get('name')!r} was found; {', '.join(tools)} are expected")
    wanted: dict[str, Any] = {name: _typed(name, value) for name, value in (as_object(call.get("args")) or {}).items()}
    one = {"tool": call["name"], "args": wanted, "match": "subset", "result": "any"}  # the set leaves known names out
    return {"user": words, "expect": {"calls": [one], "extra": "none"}}


def _typed(name: str, value: Any) -> JsonObject:
    kind, least = TYPED.get(name, ("text", MIN_SIMILARITY))
    return {kind: value} if least is None else {kind: value, "min_sim": least}


def _sound(row: Row, index: int, folder: Folder) -> JsonObject:
    here = row.path.parent
    named = here / str(row.data.get("audio_file") or "none")
    for file in (named, here.parent / "speech" / "aiewf" / f"turn_{index:03}.flac"):
        if file.is_file():
            name = f"speech/{file.name}"
            folder.files[name] = file
            return {"audio": name}
    return {}
