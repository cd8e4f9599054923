"""Scenarios from YAML files, and back. What is wrong in a file is told with file, line and what was expected.

A file holds one scenario, or several as YAML documents; a ``.jsonl`` file holds one a line. A suite is a folder of such
files. Beside the scenarios a suite's folder may hold ``suite.yaml`` (what its scenarios have in common), ``tools.py``
(its tools) and the folders of `HELPERS` (worlds, policies, sound), in which no scenario is looked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

from pydantic import ValidationError

from sayso.errors import UsageError
from sayso.evals.file_errors import Line, ScenarioError, explain, invalid
from sayso.evals.patch import PatchError, patched
from sayso.evals.scenario import SCHEMA, Scenario, WorldSource
from sayso.evals.yaml_text import Document, read_documents, read_json_lines, write_document
from sayso.items import JsonObject

SUITE_FILE: Final = "suite.yaml"
TOOLS_FILE: Final = "tools.py"
HELPERS: Final = frozenset({"worlds", "policies", "speech", "noise", "data"})
SUFFIXES: Final = (".yaml", ".yml", ".jsonl")
SUITE_KEYS: Final = frozenset({"schema", "suite", "title", "defaults"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scenario with what it names.

    Attributes:
        scenario: As written, defaults of its suite filled in.
        path: Its file.
        world: The start state.
        code: The Python file of its tools, or None.
        hash: SHA-256 of all that decides how it goes: the scenario, its world, its code, its sound.
    """

    scenario: Scenario
    path: Path
    world: JsonObject
    code: Path | None
    hash: str

    @property
    def id(self) -> str:
        """Of the scenario."""
        return self.scenario.id

    def file(self, name: str) -> Path:
        """A file that the scenario names."""
        return self.path.parent / name


@dataclass(frozen=True, slots=True)
class Suite:
    """Scenarios that are run together.

    Attributes:
        name: The folder's, or that of the file.
        path: The folder or the file.
        scenarios: By id.
        hash: SHA-256 of theirs.
    """

    name: str
    path: Path
    scenarios: tuple[Loaded, ...]
    hash: str


def load_suite(path: str | Path) -> Suite:
    """The scenarios of a file or of a folder.

    Raises:
        ScenarioError: A scenario cannot be used; all that is wrong in all files is told.
        UsageError: There is no such path, no scenario in it, or two have one id.
    """
    root = Path(path).expanduser()
    found: list[Loaded] = []
    wrong: list[str] = []
    for file in _scenario_files(root):
        try:
            found += load_file(file, root if root.is_dir() else file.parent)
        except ScenarioError as error:
            wrong += error.faults
    if wrong:
        raise ScenarioError(wrong)
    if not found:
        raise UsageError(f"There is no scenario in {root}.", "Scenarios are .yaml and .jsonl files.")
    found.sort(key=lambda loaded: loaded.id)
    for first, second in pairwise(found):
        if first.id == second.id:
            raise UsageError(f"{first.path} and {second.path} have one id: {first.id}.", "Give each its own.")
    digest = hashlib.sha256("".join(f"{loaded.id} {loaded.hash}\n" for loaded in found).encode())
    return Suite(root.resolve().stem, root, tuple(found), digest.hexdigest())


def load_suites(paths: Sequence[str | Path]) -> list[Suite]:
    """Several; see `load_suite`."""
    return [load_suite(path) for path in paths]


def load_file(path: Path, root: Path | None = None) -> list[Loaded]:
    """The scenarios of one file.

    Args:
        path: The file.
        root: The suite's folder; tools and defaults are looked for from the file's own up to it.

    Raises:
        ScenarioError: One cannot be used.
    """
    top = path.parent if root is None else root
    name, defaults = _defaults(path.parent, top)
    documents = read_json_lines(path) if path.suffix == ".jsonl" else read_documents(path)
    wrong: list[str] = []
    found: list[Loaded] = []
    for document in documents:
        try:
            found.append(_load(document, path, top, name, defaults))
        except ScenarioError as error:
            wrong += error.faults
    if wrong:
        raise ScenarioError(wrong)
    return found


def save(scenario: Scenario, path: Path) -> None:
    """Write a scenario as a YAML file, without what is left at its default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(write_document(as_data(scenario)), encoding="utf-8")


def save_lines(scenarios: Iterable[Scenario], path: Path) -> None:
    """Write scenarios as a ``.jsonl`` file, one a line: for large imported sets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(as_data(scenario), ensure_ascii=False) + "\n" for scenario in scenarios)
    path.write_text("".join(lines), encoding="utf-8")


def as_data(scenario: Scenario) -> JsonObject:
    """A scenario as JSON, as a file has it."""
    return scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)


def published_schema() -> str:
    """The JSON Schema of a scenario, as `schema.json` has it."""
    schema = Scenario.model_json_schema(by_alias=True)
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": f"version {SCHEMA}"}
    return json.dumps(about | schema, ensure_ascii=False, indent=1) + "\n"


def _scenario_files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    if not root.is_dir():
        raise UsageError(f"There is no {root}.", "Give a scenario's file or a suite's folder.")
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root).parts
        if path.suffix in SUFFIXES and path.name != SUITE_FILE and not HELPERS.intersection(inner[:-1]):
            yield path


def _load(document: Document, path: Path, top: Path, suite: str, defaults: JsonObject) -> Loaded:
    data = as_object(document.value)
    if data is None:
        raise invalid(path, document.line(()), "a scenario is expected: a mapping with schema, id, title, turns")
    merged = _merged(defaults, data)
    merged.setdefault("suite", suite)
    try:
        scenario = Scenario.model_validate(merged)
    except ValidationError as error:
        raise ScenarioError(explain(error, Scenario, path, document.line)) from None
    check_references(scenario, path, document.line)
    world = _world(scenario, path, document.line)
    code = _code(scenario, path, top, document.line)
    return Loaded(scenario, path, world, code, _hash(scenario, code, path))


def check_references(scenario: Scenario, path: Path, line: Line) -> None:
    """Whether what names another part of the scenario names one that is there.

    Raises:
        ScenarioError: It does not.
    """
    known: set[str] = set()
    for index, turn in enumerate(scenario.turns):
        own = [call.id for call in turn.expect.calls if call.id]
        for number, call in enumerate(turn.expect.calls):
            where = ("turns", index, "expect", "calls", number)
            if call.id in known:
                raise invalid(path, line((*where, "id")), f"calls[{number}].id: {call.id!r} is taken already")
            known |= {call.id} if call.id else set()
            for name in call.after:
                if name not in known | set(own) or name == call.id:
                    expected = f"the id of another call is expected, such as {', '.join(sorted(known)) or 'first'}"
                    raise invalid(path, line((*where, "after")), f"after: {name!r} is none; {expected}")
        for number, memory in enumerate(turn.expect.reply.remembers if turn.expect.reply else ()):
            if memory.turn >= index:
                where = ("turns", index, "expect", "reply", "remembers", number)
                raise invalid(path, line(where), f"remembers: turn {memory.turn} is not before turn {index}")


def _defaults(folder: Path, top: Path) -> tuple[str, JsonObject]:
    """The suite's name and what its scenarios have in common: the nearest `suite.yaml`, up to the suite's folder."""
    for here in _upwards(folder, top):
        file = here / SUITE_FILE
        if file.is_file():
            return _suite_file(file, file.stat().st_mtime_ns)
    return top.resolve().name, {}


@lru_cache(maxsize=64)
def _suite_file(file: Path, changed_ns: int) -> tuple[str, JsonObject]:
    """What a `suite.yaml` says; it is read once for all scenarios beside it."""
    del changed_ns
    (document,) = read_documents(file)[:1] or [Document({}, lambda _: 1)]
    found = as_object(document.value) or {}
    if unknown := set(found) - SUITE_KEYS:
        key = min(unknown)
        raise invalid(file, document.line((key,)), f"{key}: not known; expected are {', '.join(sorted(SUITE_KEYS))}")
    defaults: Any = found.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise invalid(file, document.line(("defaults",)), "defaults: parts of a scenario are expected")
    return str(found.get("suite") or file.parent.resolve().name), cast("JsonObject", defaults)


def as_object(value: object) -> JsonObject | None:
    """A value that is a JSON object; None for others."""
    return cast("JsonObject", value) if isinstance(value, dict) else None


def _merged(defaults: JsonObject, data: JsonObject) -> JsonObject:
    """``data`` over ``defaults``; clock, agent and audio key by key."""
    merged = defaults | data
    for key in ("clock", "agent", "audio"):
        parts: list[Any] = [defaults.get(key), data.get(key)]
        if all(isinstance(part, dict) for part in parts):
            merged[key] = parts[0] | parts[1]
    return merged


def _upwards(folder: Path, top: Path) -> Iterator[Path]:
    here, last = folder.resolve(), top.resolve()
    yield here
    while here != last and here.parent != here:
        here = here.parent
        yield here


def _world(scenario: Scenario, path: Path, line: Line) -> JsonObject:
    source = scenario.world
    if not isinstance(source, WorldSource):
        return source
    file = path.parent / source.ref
    try:
        found, _ = _parsed(file, file.stat().st_mtime_ns)
        world = patched(found, source.patch) if source.patch else found
    except OSError as error:
        raise invalid(path, line(("world", "$ref")), f"world: there is no {source.ref}") from error
    except PatchError as error:
        raise invalid(path, line(("world", "patch", error.index)), f"world.patch: {error}") from error
    except ValueError as error:
        raise invalid(path, line(("world", "$ref")), f"world: {source.ref} is no JSON: {error}") from error
    if (found := as_object(world)) is None:
        raise invalid(path, line(("world",)), f"world: {source.ref} has to hold a JSON object")
    return found


@lru_cache(maxsize=16)
def _parsed(file: Path, changed_ns: int) -> tuple[Any, bytes]:
    """A JSON file and the SHA-256 of its bytes; many scenarios share one, and none changes it."""
    del changed_ns
    content = file.read_bytes()
    return json.loads(content), hashlib.sha256(content).digest()


def _code(scenario: Scenario, path: Path, top: Path, line: Line) -> Path | None:
    if scenario.code is not None:
        file = path.parent / scenario.code
        if not file.is_file():
            raise invalid(path, line(("code",)), f"code: there is no {scenario.code}; a Python file is expected")
        return file
    return next((here / TOOLS_FILE for here in _upwards(path.parent, top) if (here / TOOLS_FILE).is_file()), None)


def _hash(scenario: Scenario, code: Path | None, path: Path) -> str:
    digest = hashlib.sha256(json.dumps(as_data(scenario), sort_keys=True, ensure_ascii=False).encode() + b"\n")
    if isinstance(scenario.world, WorldSource):
        file = path.parent / scenario.world.ref
        digest.update(_parsed(file, file.stat().st_mtime_ns)[1])
    sounds = [turn.audio for turn in scenario.turns if turn.audio]
    for file in [*([code] if code else []), *(path.parent / sound for sound in sounds)]:
        digest.update(hashlib.sha256(file.read_bytes()).digest() if file.is_file() else b"missing")
    return digest.hexdigest()


if __name__ == "__main__":
    (Path(__file__).parent / "schema.json").write_text(published_schema(), encoding="utf-8")
