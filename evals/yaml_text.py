"""YAML text in and out: plain values with the line of each. Dates stay texts, keys are never given twice.

``!include PATH`` puts a text file in, or the value of a ``.json`` or ``.yaml`` file; the path is relative to the file.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from sayso.errors import ModelMissingError
from sayso.evals.file_errors import Line, ScenarioError, invalid

_Parts: TypeAlias = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Document:
    """One value, and where its parts stand.

    Attributes:
        value: As `json.loads` would have it.
        line: From the keys that lead to a part to its line, from 1.
    """

    value: Any
    line: Line


def read_documents(path: Path) -> list[Document]:
    """The documents of a YAML file; empty ones are left out.

    Raises:
        ScenarioError: It cannot be read, or is no YAML.
    """
    text = _text(path)
    yaml = _yaml(path)
    from ruamel.yaml.error import YAMLError

    try:
        values: list[Any] = list(yaml.load_all(text))
    except YAMLError as error:
        about: Any = error
        mark = getattr(about, "problem_mark", None) or getattr(about, "context_mark", None)
        problem = getattr(about, "problem", None) or str(error)
        raise invalid(path, mark.line + 1 if mark else 1, f"no YAML: {problem.splitlines()[0]}") from None
    return [Document(value, _finder(text, index)) for index, value in enumerate(values) if value is not None]


def read_json_lines(path: Path) -> list[Document]:
    """The values of a file with one JSON value a line.

    Raises:
        ScenarioError: It cannot be read, or a line is no JSON.
    """
    found: list[Document] = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(Document(json.loads(line), lambda _, number=number: number))
        except ValueError as error:
            raise invalid(path, number, f"no JSON: {error}") from None
    return found


def write_document(value: Any) -> str:
    """A value as YAML; texts of several lines as blocks."""
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import LiteralScalarString

    def shown(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: shown(inner) for key, inner in cast("dict[str, Any]", part).items()}
        if isinstance(part, list | tuple):
            return [shown(inner) for inner in cast("list[Any]", part)]
        return LiteralScalarString(part) if isinstance(part, str) and "\n" in part else part

    yaml: Any = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(shown(value), out)
    return out.getvalue()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError([f"{path}: cannot be read: {error}"]) from None


def _yaml(path: Path) -> Any:
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.constructor import SafeConstructor
    except ModuleNotFoundError as error:
        raise ModelMissingError(
            f"Scenarios need the package {error.name}.", "Install it with: pip install 'sayso[evals]'"
        ) from error

    class Constructor(SafeConstructor):  # of its own: constructors are kept by class
        """Plain values."""

    def include(_: Any, node: Any) -> Any:
        return _included(path, str(node.value), int(node.start_mark.line) + 1)

    def as_text(_: Any, node: Any) -> str:
        return str(node.value)

    made: Any = Constructor
    made.add_constructor("!include", include)
    made.add_constructor("tag:yaml.org,2002:timestamp", as_text)
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.Constructor = Constructor
    return yaml


def _included(path: Path, name: str, line: int) -> Any:
    file = path.parent / name
    if not file.is_file():
        raise invalid(path, line, f"!include: there is no {name}")
    if file.suffix == ".json":
        try:
            return json.loads(_text(file))
        except ValueError as error:
            raise invalid(path, line, f"!include: {name} is no JSON: {error}") from None
    if file.suffix in (".yaml", ".yml"):
        documents = read_documents(file)
        return documents[0].value if documents else None
    return _text(file).rstrip("\n")


def _finder(text: str, index: int) -> Line:
    """Finds lines when they are asked for: only what is wrong has to be found."""

    def line(parts: _Parts) -> int:
        from ruamel.yaml import YAML

        yaml: Any = YAML(typ="safe", pure=True)
        return _line_in(list(yaml.compose_all(text))[index], parts)

    return cast("Callable[[_Parts], int]", line)


def _line_in(node: Any, parts: _Parts) -> int:
    """The line of the part, or of the last one on the way to it that is there."""
    line = int(node.start_mark.line) + 1
    for part in parts:
        below = _below(node, part)
        if below is None:
            continue  # a step that the file has no place for, such as the kind of a union
        key, node = below
        line = int((key or node).start_mark.line) + 1
    return line


def _below(node: Any, part: str | int) -> tuple[Any, Any] | None:
    """The key's node, if any, and the node of one part."""
    value: object = node.value
    if not isinstance(value, list):
        return None
    inner = cast("list[Any]", value)
    if isinstance(part, int):
        return (None, inner[part]) if part < len(inner) and not isinstance(inner[part], tuple) else None
    pairs = [cast("tuple[Any, Any]", pair) for pair in inner if isinstance(pair, tuple)]
    return next((pair for pair in pairs if pair[0].value == part), None)
