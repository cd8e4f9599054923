"""Changes of JSON documents: the operations add, replace and remove of RFC 6902, by the pointers of RFC 6901."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

from sayso.evals.scenario import Patch


class PatchError(ValueError):
    """A change that cannot be made.

    Attributes:
        index: Which of the changes.
    """

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


def patched(document: Any, patches: Sequence[Patch]) -> Any:
    """A copy of ``document`` with the changes.

    Raises:
        PatchError: A path leads nowhere.
    """
    found = copy.deepcopy(document)
    for index, patch in enumerate(patches):
        try:
            found = _apply(found, patch)
        except (LookupError, TypeError, ValueError):
            raise PatchError(index, f"{patch.op} {patch.path!r}: there is no such place") from None
    return found


def parts_of(pointer: str) -> list[str]:
    """The keys of a JSON pointer."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def pointer_of(parts: Sequence[str | int]) -> str:
    """A JSON pointer of keys."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def at(document: Any, parts: Sequence[str]) -> Any:
    """The part of a document that these keys lead to.

    Raises:
        LookupError: There is none.
        TypeError: As that.
        ValueError: As that.
    """
    here: list[Any] = [document]
    for part in parts:
        holder = here[-1]
        here.append(holder[_index(cast("list[Any]", holder), part)] if isinstance(holder, list) else holder[part])
    return here[-1]


def _apply(document: Any, patch: Patch) -> Any:
    parts = parts_of(patch.path)
    value = copy.deepcopy(patch.value)
    if not parts:
        return None if patch.op == "remove" else value
    parent = at(document, parts[:-1])
    if isinstance(parent, list):
        _change_list(cast("list[Any]", parent), parts[-1], patch.op, value)
    else:
        _change_dict(parent, parts[-1], patch.op, value)
    return document


def _change_list(parent: list[Any], part: str, op: str, value: Any) -> None:
    if op == "add":
        index = len(parent) if part == "-" else int(part)
        if not 0 <= index <= len(parent):
            raise IndexError(part)
        parent.insert(index, value)
    elif op == "replace":
        parent[_index(parent, part)] = value
    else:
        del parent[_index(parent, part)]


def _change_dict(parent: dict[str, Any], part: str, op: str, value: Any) -> None:
    if op != "add" and part not in parent:
        raise KeyError(part)
    if op == "remove":
        del parent[part]
    else:
        parent[part] = value


def _index(parent: list[Any], part: str) -> int:
    index = int(part)
    if not 0 <= index < len(parent):
        raise IndexError(part)
    return index
