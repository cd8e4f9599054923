"""Whether a call is the right one: the rules of `benchmarks/requests`, one request a line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sayso.errors import ToolError
from sayso.tools.builtin.calculate import evaluate
from sayso.tools.builtin.durations import parse_duration

REQUESTS = Path(__file__).parent / "requests"


@dataclass(frozen=True, slots=True)
class Request:
    """One request and what it must lead to.

    Attributes:
        text: What a person says.
        tool: The tool that must be called, or None for none.
        arguments: A rule for each argument, by name.
    """

    text: str
    tool: str | None
    arguments: Mapping[str, Mapping[str, Any]]


def read_requests(path: Path | str) -> list[Request]:
    """Read a file of requests; a bare name is looked for in `REQUESTS`."""
    path = Path(path)
    if not path.suffix:
        path = REQUESTS / f"{path.name}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [Request(row["text"], row["tool"], row.get("arguments") or {}) for row in rows]


def right_call(request: Request, tool: str | None, arguments: Mapping[str, Any] | None) -> bool:
    """Whether calling ``tool`` with ``arguments`` (None: no call) is what ``request`` asks for.

    An argument without a rule must be left out or empty.
    """
    if tool != request.tool:
        return False
    given = dict(arguments or {})
    if any(value not in ("", None) for name, value in given.items() if name not in request.arguments):
        return False
    return all(_fits(rule, given, name) for name, rule in request.arguments.items())


def _fits(rule: Mapping[str, Any], given: Mapping[str, Any], name: str) -> bool:
    if given.get(name) in ("", None) and (rule.get("optional") or "" in rule.get("any_of", ())):
        return True
    if name not in given:
        return False
    value = given[name]
    if "any_of" in rule:
        return _fold(value) in {_fold(option) for option in rule["any_of"]}
    if "value" in rule:
        found = _value_of(str(value))
        return found is not None and math.isclose(found, float(rule["value"]), rel_tol=1e-6, abs_tol=1e-9)
    if "seconds" in rule:
        return parse_duration(str(value)) == float(rule["seconds"])
    if "contains" in rule:
        wanted = rule["contains"]
        words = cast("list[str]", [wanted] if isinstance(wanted, str) else wanted)
        return all(word.casefold() in str(value).casefold() for word in words)
    raise ValueError(f"no known rule for {name}: {dict(rule)}")


def _fold(value: object) -> str:
    return str(value).strip().casefold()


def _value_of(expression: str) -> float | None:
    try:
        return float(evaluate(expression))
    except ToolError:
        return None
