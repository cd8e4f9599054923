"""Picovoice's speech-to-intent benchmark: coffee orders by many people, with the slots that were meant.

Read is a ``manifest.jsonl`` with ``file``, ``intent`` and ``slots`` a line beside the clips, and their vocabulary in
``slots.yaml``. There is no transcript: these scenarios have sound alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from sayso.errors import UsageError
from sayso.evals.importers.base import Folder, Imported, Row, Source, found_file, json_lines
from sayso.evals.loader import as_object
from sayso.evals.yaml_text import read_documents
from sayso.items import JsonObject

SOURCE: Final = Source("orders", "Picovoice speech-to-intent", "47b1ca63", "Apache-2.0")
INTENT: Final = "orderDrink"
TOOL: Final = "order_drink"
POLICY: Final = "You take orders in a coffee shop. Order the drink that the user asks for, with what was said of it."
ABOUT: Final = {
    "coffeeDrink": "The drink.",
    "size": "How large; only where it was said.",
    "roast": "Which roast; only where it was said.",
    "numberOfShots": "How many shots; only where it was said.",
    "milkAmount": "Milk or cream, and how much; only where it was said.",
    "sugarAmount": "Sugar or sweetener, and how much; only where it was said.",
}


def load(path: Path, source: Source = SOURCE) -> Imported:
    """Read the manifest, or the folder that holds it.

    Raises:
        UsageError: It is not there, or has no orders.
        ScenarioError: A row is not as expected; file and line are told.
    """
    manifest = found_file(path, ("manifest.jsonl", "../manifest.jsonl"), "manifest of the orders")
    imported = Imported(source)
    rows = [row for row in json_lines(manifest) if row.data.get("intent") == INTENT]
    if not rows:
        raise UsageError(f"There are no orders in {manifest}.", f"Expected are rows with the intent {INTENT}.")
    slots = _slots(manifest, rows[0])
    folder = Folder(defaults={"agent": {"policy": POLICY, "tools": [TOOL]}, "tools": {TOOL: {"define": _tool(slots)}}})
    for row in rows:
        _add(imported, folder, row, slots)
    imported.folders.append(folder)
    imported.notes.append(
        "Adapted from the share of commands whose intent and slots are all right: the order has to be the only call."
    )
    return imported


def _add(imported: Imported, folder: Folder, row: Row, slots: dict[str, list[str]]) -> None:
    name = row.need("file", str)
    wanted = row.part("slots")
    clip = row.path.parent / name
    if not clip.is_file() and not (clip := row.path.parent.parent / name).is_file():
        imported.left_out["the clip is not there"] += 1
        return
    for slot, value in wanted.items():
        if value not in slots.get(slot, []):
            raise row.wrong(f"slots: {slot} is {value!r}; a value of the vocabulary is expected")
    arguments = {snake(slot): value for slot, value in wanted.items()}
    sound = f"speech/{clip.name}"
    folder.files[sound] = clip
    turn = {"user": "", "audio": sound, "expect": {"calls": [{"tool": TOOL, "args": arguments}], "extra": "none"}}
    data: JsonObject = {
        "title": f"Order: {', '.join(str(value) for value in wanted.values())}",
        "tags": ["human", f"slots-{len(wanted)}"],
        "modes": ["speech"],
        "turns": [turn],
    }
    folder.scenarios.append(imported.scenario(row, clip.stem, f"{len(wanted)} slots", data))


def snake(name: str) -> str:
    """``coffeeDrink`` as ``coffee_drink``."""
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


def _slots(manifest: Path, row: Row) -> dict[str, list[str]]:
    folders = (manifest.parent / Path(row.need("file", str)).parent.name, manifest.parent, manifest.parent / "commands")
    file = next((folder / "slots.yaml" for folder in folders if (folder / "slots.yaml").is_file()), None)
    if file is None:
        raise UsageError(f"There is no slots.yaml near {manifest}.", "It tells which values the slots have.")
    found: Any = as_object(read_documents(file)[0].value) or {}
    return {str(name): [str(value) for value in values] for name, values in found.get("slots", {}).items()}


def _tool(slots: dict[str, list[str]]) -> JsonObject:
    properties = {
        snake(name): {"type": "string", "enum": values, "description": ABOUT.get(name, "Only where it was said.")}
        for name, values in slots.items()
    }
    return {
        "description": "Order a drink, once the user has said what it is to be.",
        "parameters": {"type": "object", "properties": properties, "additionalProperties": False},
        "effect": "read",
        "returns": {"status": "ordered"},
    }
