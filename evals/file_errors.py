"""What is wrong in a scenario's file, in words: file, line, which part, what was expected."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sayso.errors import UsageError

Line: TypeAlias = Callable[[Sequence[str | int]], int]
"""From the keys that lead to a part of a document to its line, from 1."""

SHOWN = 20
"""Most faults that are told at once."""


class ScenarioError(UsageError):
    """Scenarios that cannot be used.

    Attributes:
        faults: One line each: ``file:line: part: what was found; what is expected``.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        more = f"\n... and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        super().__init__("\n".join(self.faults[:SHOWN]) + more)


def invalid(path: Path, line: int, message: str) -> ScenarioError:
    """One fault."""
    return ScenarioError([f"{path}:{line}: {message}."])


def explain(error: ValidationError, model: type[BaseModel], path: Path, line: Line) -> list[str]:
    """Each fault that pydantic found, with its place in the file."""
    details = error.errors(include_url=False)
    found = [f"{path}:{line(detail['loc'])}: {_place(detail['loc'])}: {_words(detail, model)}." for detail in details]
    return list(dict.fromkeys(found))


def _words(detail: ErrorDetails, model: type[BaseModel]) -> str:
    loc = detail["loc"]
    match detail["type"]:
        case "extra_forbidden":
            known = _keys(model, loc[:-1])
            near = difflib.get_close_matches(str(loc[-1]), known, 1)
            hint = f"the nearest is {near[0]}" if near else f"expected are {', '.join(known)}"
            return f"there is no such key; {hint}"
        case "missing":
            return "is missing"
        case "value_error":
            return detail["msg"].removeprefix("Value error, ")
        case _:
            found = repr(detail["input"])
            expected = detail["msg"].removeprefix("Input should be ")
            return f"{found if len(found) <= 60 else found[:60] + '...'} was found; expected is {expected}"


def _place(loc: Sequence[str | int]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the scenario"


def _keys(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys that the part at ``loc`` may have."""
    here: list[Any] = [model]
    for part in loc:
        steps: list[Any] = []
        for kind in here:
            steps += list(_step(kind, part))
        here = steps or here  # a step without a place in the model, such as the kind of a union
    models = [kind for kind in _alternatives(here) if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return sorted({field.alias or name for found in models for name, field in found.model_fields.items()})


def _step(kind: Any, part: str | int) -> Iterator[Any]:
    for one in _alternatives([kind]):
        if isinstance(one, type) and issubclass(one, BaseModel):
            for name, field in one.model_fields.items():
                if part in (name, field.alias):
                    yield field.annotation
        elif get_args(one) and isinstance(part, int):
            yield get_args(one)[0]
        elif len(get_args(one)) == 2 and isinstance(part, str):  # a dict
            yield get_args(one)[1]


def _alternatives(kinds: Sequence[Any]) -> Iterator[Any]:
    """What a type may be: the members of unions, without annotations."""
    for kind in kinds:
        if hasattr(kind, "__metadata__"):
            yield from _alternatives([get_args(kind)[0]])
        elif get_origin(kind) in (Union, types.UnionType):
            yield from _alternatives(get_args(kind))
        else:
            yield kind
