"""`World`: what the simulated tools of a scenario read and change, as tables in JSON.

A tool of a suite's ``tools.py`` is an ordinary `sayso.tool`: signature and docstring are its schema, ``effect`` says
what it does, and its `Context` leads to the world:

    @tool(effect="write")
    def move_appointment(ctx: Context, appointment: str, slot: str) -> Moved:
        \"\"\"Move an appointment to another slot.\"\"\"
        world = world_of(ctx)
        world.row("appointments", appointment)["slot"] = slot

Time, ids and chance come from ``ctx.now()``, `World.new_id` and `World.chance` alone, so that a run can be repeated.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final, cast

from sayso.errors import ToolError, UsageError
from sayso.evals.patch import parts_of, pointer_of
from sayso.evals.records import StateDiff
from sayso.items import JsonObject
from sayso.tools.context import Context

KEY: Final = "sayso.evals.world"
"""The key of `Context.state` under which tools find the world."""
SHOWN: Final = 100
"""Most differences of two worlds that are kept."""
DECIMALS: Final = 6


class World(Mapping[str, Any]):
    """A JSON object of tables. A table is copied when a write first touches it: snapshots cost nothing.

    Args:
        start: The start state; it is never changed.
        seed: Of `chance`.

    Attributes:
        chance: The only source of chance.
    """

    def __init__(self, start: JsonObject, seed: int = 0) -> None:
        self.start: Final = start
        self.chance = Random(seed)
        self._tables = dict(start)
        self._own: set[str] = set()  # tables that no snapshot shares
        self._writers = 0

    def __getitem__(self, table: str) -> Any:
        """A table; inside a write it may be changed in place."""
        if self._writers and table not in self._own and table in self._tables:
            self._tables[table] = copy.deepcopy(self._tables[table])
            self._own.add(table)
        return self._tables[table]

    def __setitem__(self, table: str, value: Any) -> None:
        """Replace a table."""
        self._tables[table] = value
        self._own.add(table)

    def __iter__(self) -> Iterator[str]:
        """The names of the tables."""
        return iter(self._tables)

    def __len__(self) -> int:
        """How many tables there are."""
        return len(self._tables)

    def row(self, table: str, key: str | int) -> Any:
        """One row of a table.

        Raises:
            ToolError: There is none; the message is for the model.
        """
        rows = self.get(table, {})
        try:
            return rows[key]
        except (LookupError, TypeError):
            raise ToolError(f"There is no {table.rstrip('s').replace('_', ' ')} {key!r}.") from None

    def rows(self, table: str, **fields: Any) -> list[Any]:
        """The rows of a table that have these values."""
        found = self.get(table, {})
        table_rows = cast("JsonObject", found).values() if isinstance(found, dict) else cast("list[Any]", found)
        return [row for row in table_rows if all(row.get(name) == value for name, value in fields.items())]

    def new_id(self, table: str, prefix: str = "") -> str:
        """An id that no row of a table has: the same in every world with the same rows."""
        taken = self.get(table, {})
        if isinstance(taken, dict):
            known = set(cast("JsonObject", taken))
        else:
            known = {str(row.get("id")) for row in cast("list[Any]", taken)}
        number = len(known) + 1
        while f"{prefix}{number}" in known:
            number += 1
        return f"{prefix}{number}"

    def begin_write(self) -> None:
        """What is touched from now on is copied first."""
        self._writers += 1

    def end_write(self) -> None:
        """The write is over."""
        self._writers -= 1

    def snapshot(self) -> JsonObject:
        """The world as it is; it stays so."""
        self._own.clear()
        return dict(self._tables)


def world_of(ctx: Context) -> World:
    """The world that a tool runs in.

    Raises:
        UsageError: It runs outside a scenario.
    """
    world = ctx.state.get(KEY)
    if not isinstance(world, World):
        raise UsageError("This tool works in the world of a scenario.", "Run it with: sayso eval run")
    return world


def canonical(world: JsonObject, exclude: Sequence[str] = (), decimals: int = DECIMALS) -> str:
    """A world as JSON that is equal where worlds are.

    Args:
        world: The tables.
        exclude: JSON pointers of what does not count; ``*`` is any key.
        decimals: To which floats are rounded.
    """
    plain = _rounded(world, decimals)
    for pointer in exclude:
        _remove(plain, parts_of(pointer))
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def world_hash(world: JsonObject, exclude: Sequence[str] = (), decimals: int = DECIMALS) -> str:
    """SHA-256 of `canonical`."""
    return hashlib.sha256(canonical(world, exclude, decimals).encode()).hexdigest()


def difference(
    expected: JsonObject, found: JsonObject, exclude: Sequence[str] = (), decimals: int = DECIMALS
) -> tuple[StateDiff, ...]:
    """Where two worlds differ: table, row and field, `SHOWN` at most."""
    pair = [json.loads(canonical(world, exclude, decimals)) for world in (expected, found)]
    differences: list[StateDiff] = []
    for path, wanted, there in _differences(pair[0], pair[1], ()):
        differences.append(StateDiff(path=pointer_of(path), expected=wanted, found=there))
        if len(differences) == SHOWN:
            break
    return tuple(differences)


def _differences(
    expected: Any, found: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Any, Any]]:
    if isinstance(expected, dict) and isinstance(found, dict):
        left, right = cast("JsonObject", expected), cast("JsonObject", found)
        for key in sorted(left.keys() | right.keys()):
            if key not in left or key not in right:
                yield (*path, key), left.get(key), right.get(key)
            else:
                yield from _differences(left[key], right[key], (*path, key))
    elif isinstance(expected, list) and isinstance(found, list):
        one, two = cast("list[Any]", expected), cast("list[Any]", found)
        for index in range(max(len(one), len(two))):
            if index >= len(one) or index >= len(two):
                wanted, there = (part[index] if index < len(part) else None for part in (one, two))
                yield (*path, index), wanted, there
            else:
                yield from _differences(one[index], two[index], (*path, index))
    elif expected != found:
        yield path, expected, found


def _rounded(value: Any, decimals: int) -> Any:
    match value:
        case dict():
            return {str(key): _rounded(part, decimals) for key, part in cast("JsonObject", value).items()}
        case list() | tuple():
            return [_rounded(part, decimals) for part in cast("list[Any]", value)]
        case float():
            rounded = round(value, decimals)
            return int(rounded) if rounded.is_integer() else rounded
        case _:
            return value


def _remove(value: Any, parts: Sequence[str]) -> None:
    if isinstance(value, list):
        rows = cast("list[Any]", value)
        for index in range(len(rows)) if parts[0] == "*" else [int(parts[0])] if parts[0].isdigit() else []:
            if len(parts) > 1 and index < len(rows):
                _remove(rows[index], parts[1:])
    elif isinstance(value, dict):
        table = cast("JsonObject", value)
        for key in list(table) if parts[0] == "*" else [parts[0]]:
            if len(parts) == 1:
                table.pop(key, None)
            elif key in table:
                _remove(table[key], parts[1:])
