"""SLURP: one spoken request, its intent and entities. Each intent is a tool, each kind of entity a parameter.

Read are JSON lines with ``sentence_annotation`` and ``intent``, as the set has them. Where a row names recordings and
``slurp_real`` or ``audio`` beside the file holds one, that is the request's sound: the one that was recognised best.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from sayso.evals.importers.base import Folder, Imported, Row, Source, found_file, json_lines, objects
from sayso.evals.scenario import Scenario
from sayso.items import JsonObject

SOURCE: Final = Source("slurp", "SLURP", "8eb16545", "CC BY 4.0 (text); CC BY-NC 4.0 (sound)")
POLICY: Final = "You are a home assistant. Do what the user asks for with the one tool that fits."
OFFERED: Final = 12
"""Tools that a request meets: the right one, those of the same scenario, and others."""
MIN_SIMILARITY: Final = 0.5
_ENTITY: Final = re.compile(r"\[\s*(\w+)\s*:\s*([^\]]+?)\s*\]")
_SOUND: Final = ("slurp_real", "audio/slurp_real", "audio")
FILES: Final = ("devel_slice.jsonl", "devel.jsonl", "test.jsonl")


def load(path: Path, source: Source = SOURCE) -> Imported:
    """Read a file of SLURP, or the first that is known in a folder.

    Raises:
        UsageError: There is none.
        ScenarioError: A row is not as expected; file and line are told.
    """
    file = found_file(path, FILES, "file of SLURP")
    imported = Imported(source)
    rows = [(row, *_parsed(row)) for row in json_lines(file)]
    intents = _intents((intent, entities) for _, intent, entities in rows)
    defined = {name: {"define": _define(name, parameters)} for name, parameters in sorted(intents.items())}
    folder = Folder(defaults={"agent": {"policy": POLICY}, "tools": defined})
    for row, intent, entities in rows:
        tools = offered(intent, sorted(intents))
        folder.scenarios.append(_scenario(imported, folder, row, intent, entities, tools, intents))
    imported.folders.append(folder)
    imported.notes += [
        f"Adapted from intent accuracy and SLU-F1: of {len(intents)} intents {OFFERED} are offered, chosen by a hash.",
        "Entities are compared as similar texts.",
    ]
    return imported


def offered(intent: str, known: list[str], count: int = OFFERED) -> list[str]:
    """The tools that a request meets, in the order of their names: always the same."""
    area = intent.split("_")[0]

    def rank(name: str) -> tuple[bool, bool, str]:
        digest = hashlib.sha256(f"{intent}/{name}".encode()).hexdigest()
        return name != intent, name.split("_")[0] != area, digest

    return sorted(sorted(known, key=rank)[:count])


def _parsed(row: Row) -> tuple[str, list[tuple[str, str]]]:
    intent = row.need("intent", str)
    if not re.fullmatch(r"[A-Za-z_]\w{0,63}", intent):
        raise row.wrong(f"intent: {intent!r} was found; a name such as alarm_set is expected")
    return intent, [(found[1], found[2]) for found in _ENTITY.finditer(row.need("sentence_annotation", str))]


def _intents(rows: Iterable[tuple[str, list[tuple[str, str]]]]) -> dict[str, dict[str, bool]]:
    """Each intent's parameters, and whether one takes several values."""
    found: dict[str, dict[str, bool]] = defaultdict(dict)
    for intent, entities in rows:
        names = [name for name, _ in entities]
        parameters = found[intent]
        for name in names:
            parameters[name] = parameters.get(name, False) or names.count(name) > 1
    return found


def _define(intent: str, parameters: Mapping[str, bool]) -> JsonObject:
    area, _, action = intent.partition("_")
    text: JsonObject = {"type": "string"}
    properties: dict[str, Any] = {
        name: ({"type": "array", "items": text} if several else text)
        | {"description": f"{name.replace('_', ' ').capitalize()}, in the user's words; only where it is named."}
        for name, several in sorted(parameters.items())
    }
    return {
        "description": f"{action.replace('_', ' ').capitalize() or 'Do'}: for requests about {area.replace('_', ' ')}.",
        "parameters": {"type": "object", "properties": properties, "additionalProperties": False},
        "effect": "read",
        "returns": {"status": "done"},
    }


def _scenario(
    imported: Imported,
    folder: Folder,
    row: Row,
    intent: str,
    entities: list[tuple[str, str]],
    tools: list[str],
    intents: Mapping[str, Mapping[str, bool]],
) -> Scenario:
    sentence = row.need("sentence", str)
    arguments: JsonObject = {}
    for name, value in entities:
        wanted = {"text": value, "min_sim": MIN_SIMILARITY}
        if intents[intent][name]:
            arguments.setdefault(name, []).append(wanted)
        else:
            arguments[name] = wanted
    call = {"tool": intent, "args": arguments, "result": "any"}
    turn: JsonObject = {"user": sentence, "expect": {"calls": [call], "extra": "none"}}
    if (sound := _recording(row)) is not None:
        turn["audio"] = f"speech/{sound.name}"
        folder.files[turn["audio"]] = sound
    data: JsonObject = {
        "title": f"{intent}: {sentence[:80]}",
        "tags": [intent.split("_")[0], intent, *(["human"] if sound is not None else [])],
        "agent": {"tools": tools},
        "turns": [turn],
    }
    group = f"{intent.split('_')[0]}, {'with' if sound is not None else 'without'} sound"
    return imported.scenario(row, str(row.data.get("slurp_id", row.line)), group, data)


def _recording(row: Row) -> Path | None:
    """The recording that was recognised best, of those that are there."""
    named = sorted(
        objects(row.data.get("recordings")), key=lambda one: (float(one.get("wer") or 0.0), str(one.get("file")))
    )
    folders = [parent / name for parent in (row.path.parent, row.path.parent.parent) for name in _SOUND]
    for recording in named:
        for folder in folders:
            if (found := folder / str(recording.get("file"))).is_file():
                return found
    return None
