"""What all importers share: rows with their lines, scenarios with their origin, and a suite's folder from them."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, cast

from pydantic import ValidationError

from sayso.errors import UsageError
from sayso.evals.file_errors import ScenarioError, invalid
from sayso.evals.loader import SUITE_FILE, as_object, load_suite, save, save_lines
from sayso.evals.patch import pointer_of
from sayso.evals.scenario import SCHEMA, Scenario
from sayso.evals.yaml_text import write_document
from sayso.items import JsonObject

SUMMARY_FILE: Final = "import.json"
MOST_FILES: Final = 500
"""Scenarios of a folder that have files of their own; more are lines of one file."""
Kind = TypeVar("Kind")
Content: TypeAlias = str | Path
"""Of a file in a suite: its text, or the file that is copied."""


@dataclass(frozen=True, slots=True)
class Source:
    """A set that is imported.

    Attributes:
        name: As in ``sayso eval import``.
        title: As its authors call it.
        version: The one that the importer was written against.
        licence: Of its texts.
    """

    name: str
    title: str
    version: str
    licence: str


@dataclass(frozen=True, slots=True)
class Row:
    """One JSON object of a file.

    Attributes:
        path: The file.
        line: Where it begins, from 1.
        data: The object.
    """

    path: Path
    line: int
    data: JsonObject

    def need(self, key: str, kind: type[Kind]) -> Kind:
        """A value that has to be there.

        Raises:
            ScenarioError: It is not, or is of another kind.
        """
        value = self.data.get(key)
        if not isinstance(value, kind):
            found = kind_of(value) if key in self.data else "nothing"
            raise self.wrong(f"{key}: {_KINDS.get(kind, kind.__name__)} is expected, there is {found}")
        return value

    def items(self, key: str) -> list[Any]:
        """A list that has to be there; see `need`."""
        return cast("list[Any]", self.need(key, list))

    def part(self, key: str) -> JsonObject:
        """An object that has to be there; see `need`."""
        return cast("JsonObject", self.need(key, dict))

    def wrong(self, message: str) -> ScenarioError:
        """What is wrong with the row."""
        return invalid(self.path, self.line, message)


@dataclass(slots=True)
class Folder:
    """Scenarios with what they have in common.

    Attributes:
        name: Below the suite's; empty for the suite's own.
        scenarios: They are written as ``ID.yaml``; more than `MOST_FILES` as lines of ``scenarios.jsonl``.
        defaults: Parts of a scenario.
        files: By path.
    """

    name: str = ""
    scenarios: list[Scenario] = field(default_factory=list[Scenario])
    defaults: JsonObject = field(default_factory=dict[str, Any])
    files: dict[str, Content] = field(default_factory=dict[str, Content])


@dataclass(slots=True)
class Imported:
    """What an importer made.

    Attributes:
        source: Where from, in the version that was asked for.
        folders: What is written.
        groups: How many scenarios of each kind.
        left_out: How many rows were not imported, by the reason.
        notes: What one has to know about the scores.
    """

    source: Source
    folders: list[Folder] = field(default_factory=list[Folder])
    groups: Counter[str] = field(default_factory=Counter[str])
    left_out: Counter[str] = field(default_factory=Counter[str])
    notes: list[str] = field(default_factory=list[str])

    @property
    def count(self) -> int:
        """How many scenarios there are."""
        return sum(len(folder.scenarios) for folder in self.folders)

    def origin(self, id: str) -> JsonObject:
        """Of one row."""
        source = self.source
        return {"set": source.title, "id": id, "version": source.version, "licence": source.licence}

    def scenario(self, row: Row, id: str, group: str, data: JsonObject) -> Scenario:
        """A scenario of this set; it is counted in its group.

        Raises:
            ScenarioError: The row does not make one.
        """
        about = {"schema": SCHEMA, "id": f"{self.source.name}.{slug(id)}", "suite": f"imported/{self.source.name}"}
        tags = ["imported", self.source.name, *data.pop("tags", [])]
        try:
            made = Scenario.model_validate(about | {"tags": tags} | data | {"origin": self.origin(id)})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise row.wrong(f"{id} makes no scenario: {place}: {first['msg']}") from None
        self.groups[group] += 1
        return made

    def summary(self) -> JsonObject:
        """What `SUMMARY_FILE` holds."""
        source = self.source
        return {
            "set": source.name,
            "title": source.title,
            "version": source.version,
            "licence": source.licence,
            "scores": "adapted",
            "imported": self.count,
            "groups": dict(sorted(self.groups.items())),
            "left_out": dict(sorted(self.left_out.items())),
            "notes": self.notes,
        }


_KINDS: Final[Mapping[type, str]] = {
    **{str: "a text", int: "a number", float: "a number", bool: "true or false"},
    **{list: "a list", dict: "an object", type(None): "null"},
}


def kind_of(value: object) -> str:
    """What a JSON value is, in a word."""
    return _KINDS.get(type(value), type(value).__name__)


def slug(text: str) -> str:
    """A text as part of an id."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-")[:100] or "x"


def json_lines(path: Path) -> Iterator[Row]:
    """The objects of a file with one a line.

    Raises:
        ScenarioError: The file cannot be read, or a line is no JSON object.
    """
    for number, line in enumerate(read(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise invalid(path, number, f"a JSON object is expected: {error}") from None
        if (found := as_object(value)) is None:
            raise invalid(path, number, f"a JSON object is expected, there is {kind_of(value)}")
        yield Row(path, number, found)


def json_array(path: Path) -> Iterator[Row]:
    """The objects of a file that holds one array of them, each with its line.

    Raises:
        ScenarioError: The file cannot be read, or holds anything else.
    """
    text = read(path)
    decoder = json.JSONDecoder()
    at = _next(text, 0)
    if text[at : at + 1] != "[":
        raise invalid(path, _line(text, at), "an array of JSON objects is expected")
    at = _next(text, at + 1)
    while text[at : at + 1] != "]":
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError as error:
            where = error.pos if isinstance(error, json.JSONDecodeError) else at
            raise invalid(path, _line(text, where), f"a JSON object is expected: {error}") from None
        if (found := as_object(value)) is None:
            raise invalid(path, _line(text, at), f"a JSON object is expected, there is {kind_of(value)}")
        yield Row(path, _line(text, at), found)
        at = _next(text, end)
        if text[at : at + 1] == ",":
            at = _next(text, at + 1)
        elif text[at : at + 1] != "]":
            raise invalid(path, _line(text, at), "a comma or the end of the array is expected")


def json_object(path: Path) -> JsonObject:
    """The object that a file holds; a ``.gz`` file is unpacked.

    Raises:
        ScenarioError: The file cannot be read, or holds anything else.
    """
    try:
        value = json.loads(read(path))
    except json.JSONDecodeError as error:
        raise invalid(path, error.lineno, f"a JSON object is expected: {error.msg}") from None
    if (found := as_object(value)) is None:
        raise invalid(path, 1, f"a JSON object is expected, there is {kind_of(value)}")
    return found


def read(path: Path) -> str:
    """A text file; a ``.gz`` file is unpacked.

    Raises:
        ScenarioError: It cannot be read.
    """
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ScenarioError([f"{path}: cannot be read: {error}."]) from None


def found_file(path: Path, names: Sequence[str], what: str) -> Path:
    """The file that was named, or the first of these in the folder that was named.

    Raises:
        UsageError: There is none.
    """
    if path.is_file():
        return path
    for name in names:
        if (path / name).is_file():
            return path / name
    raise UsageError(f"There is no {what} in {path}.", f"Expected is {' or '.join(names)}.")


def write_suite(imported: Imported, out: Path) -> None:
    """Write a suite's folder, and load it once to see that it can be used.

    Raises:
        UsageError: Nothing was imported, or the folder holds something else.
        ScenarioError: A scenario cannot be used.
    """
    if imported.count == 0:
        reasons = "; ".join(f"{count} {reason}" for reason, count in imported.left_out.most_common(5))
        raise UsageError("Nothing was imported.", f"Left out: {reasons}." if reasons else "Look at the path.")
    _cleared(out, imported.source.name)
    for folder in imported.folders:
        here = out / folder.name
        here.mkdir(parents=True, exist_ok=True)
        about = {"schema": SCHEMA, "suite": f"imported/{imported.source.name}", "title": imported.source.title}
        (here / SUITE_FILE).write_text(write_document(about | {"defaults": folder.defaults}), encoding="utf-8")
        for name, content in sorted(folder.files.items()):
            _put(here / name, content)
        if len(folder.scenarios) > MOST_FILES:
            save_lines(folder.scenarios, here / "scenarios.jsonl")
        else:
            for scenario in folder.scenarios:
                save(scenario, here / f"{scenario.id}.yaml")
    summary = json.dumps(imported.summary(), ensure_ascii=False, indent=1)
    (out / SUMMARY_FILE).write_text(summary + "\n", encoding="utf-8")
    load_suite(out)


def tools_file(module: str, *parts: str) -> str:
    """The ``tools.py`` of a suite whose tools are part of sayso: with the hash of their code, for the suite's own.

    Args:
        module: Has TOOLS, and CHECKS where there are some.
        parts: Modules that it is made of.
    """
    digest = hashlib.sha256()
    for name in (module, *parts):
        digest.update(Path(str(import_module(name).__file__)).read_bytes())
    names = [name for name in ("CHECKS", "TOOLS") if hasattr(import_module(module), name)]
    listed = ", ".join(f'"{name}"' for name in names)
    about = f'"""Tools of sayso; sha256 {digest.hexdigest()}."""'
    return f"{about}\n\nfrom {module} import {', '.join(names)}\n\n__all__ = [{listed}]\n"


def world_text(world: Mapping[str, Any]) -> str:
    """A world as a file has it: one row a line."""
    parts: list[str] = []
    for table, rows in world.items():
        inner = as_object(rows)
        if not inner:
            parts.append(f"{json.dumps(table)}: {json.dumps(rows, ensure_ascii=False)}")
            continue
        lines = (f"  {json.dumps(key)}: {json.dumps(row, ensure_ascii=False)}" for key, row in inner.items())
        parts.append(f"{json.dumps(table)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def patches(before: Any, after: Any, path: tuple[str | int, ...] = ()) -> Iterator[JsonObject]:
    """The smallest changes that make one value out of another, as `sayso.evals.scenario.Patch`."""
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast("JsonObject", before), cast("JsonObject", after)
        for key in old:
            if key not in new:
                yield {"op": "remove", "path": pointer_of((*path, key))}
            else:
                yield from patches(old[key], new[key], (*path, key))
        for key in new:
            if key not in old:
                yield {"op": "add", "path": pointer_of((*path, key)), "value": new[key]}
        return
    if isinstance(before, list) and isinstance(after, list):
        rows, others = cast("list[Any]", before), cast("list[Any]", after)
        if len(rows) == len(others):
            for index, (one, two) in enumerate(zip(rows, others, strict=True)):
                yield from patches(one, two, (*path, index))
            return
    if before != after:
        yield {"op": "replace", "path": pointer_of(path), "value": after}


def changed_world(file: str, before: Any, after: Any) -> JsonObject:
    """A scenario's world: a file's, with what differs."""
    changes = [] if before is after else list(patches(before, after))
    return {"$ref": file, **({"patch": changes} if changes else {})}


def texts(values: Iterable[Any]) -> list[str]:
    """Those that are texts."""
    return [value for value in values if isinstance(value, str)]


def objects(value: object) -> list[JsonObject]:
    """The objects of a list."""
    rows = cast("list[Any]", value) if isinstance(value, list) else []
    return [found for row in rows if (found := as_object(row)) is not None]


def _put(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        shutil.copyfile(content, path)
    else:
        path.write_text(content, encoding="utf-8")


def _cleared(out: Path, name: str) -> None:
    """An import is replaced by the next one of the same set; nothing else is touched."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    old = out / SUMMARY_FILE
    if not old.is_file() or json_object(old).get("set") != name:
        raise UsageError(f"{out} is there already, and holds no import of {name}.", "Give --out a new folder.")
    shutil.rmtree(out)


def _next(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
