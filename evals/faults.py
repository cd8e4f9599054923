"""What goes wrong with a call of a simulated tool, as a scenario has it (`sayso.evals.scenario.Fault`)."""

from __future__ import annotations

import asyncio
import copy
import json
import math
from collections.abc import Awaitable, Callable
from random import Random
from statistics import NormalDist
from typing import Any, Final, TypeAlias, cast

from pydantic_core import to_jsonable_python

from sayso.errors import ToolError
from sayso.evals.patch import at, parts_of
from sayso.evals.scenario import Fault, Latency, Raised

Run: TypeAlias = Callable[[bool], Awaitable[Any]]
"""Runs the tool and returns what it returns; with True in the world of the beginning."""

NEVER_S: Final = 86_400.0
_FILLING: Final = "This line says nothing that anybody asked for. "
_Z95: Final = NormalDist().inv_cdf(0.95)


async def run_with(fault: Fault, run: Run) -> Any:
    """Run a tool with a fault.

    Raises:
        ToolError: The fault is that it fails.
    """
    match fault.kind:
        case "raises":
            raise _error(cast("Raised", fault.raises))
        case "raises_after":
            await run(False)
            raise _error(cast("Raised", fault.raises_after))
        case "time_out":
            await asyncio.sleep(NEVER_S)
            raise ToolError("The service did not answer.")
        case "slow_ms":
            await asyncio.sleep((fault.slow_ms or 0) / 1000)
            return await run(False)
        case "stale":
            return await run(True)
        case "duplicate":
            await run(False)
            return await run(False)
        case _:
            return altered(fault, to_jsonable_python(await run(False), fallback=str))


def altered(fault: Fault, value: Any) -> Any:
    """A result, as the fault has it come back."""
    match fault.kind:
        case "malformed":
            text = json.dumps(value, ensure_ascii=False)
            return text[: max(1, len(text) * 2 // 3)]
        case "empty":
            return [] if isinstance(value, list) else {} if isinstance(value, dict) else ""
        case "partial":
            return _part(value, fault.partial or 0.0)
        case "oversized":
            return _with(value, (_FILLING * (1 + (fault.oversized or 0) // len(_FILLING)))[: fault.oversized], None)
        case "language":
            return fault.language
        case "inject":
            return _with(value, fault.inject or "", fault.at)
        case _:
            return fault.returns


def latency_s(latency: Latency | float, chance: Random) -> float:
    """How long a call takes. The spread of a log-normal follows from its median and 95th percentile."""
    if not isinstance(latency, Latency):
        return latency / 1000
    if latency.dist == "uniform":
        return chance.uniform(latency.min or 0.0, latency.max or 0.0) / 1000
    p50, p95 = latency.p50 or 1.0, latency.p95 or 1.0
    return round(chance.lognormvariate(math.log(p50), math.log(p95 / p50) / _Z95)) / 1000


def _error(raised: Raised) -> ToolError:
    return ToolError(f"{raised.code}: {raised.message}")


def _part(value: Any, share: float) -> Any:
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return dict(list(table.items())[: int(len(table) * share)])
    if isinstance(value, list | str):
        rows = cast("list[Any] | str", value)
        return rows[: int(len(rows) * share)]
    return None


def _with(value: Any, text: str, pointer: str | None) -> Any:
    """A result with a text in it: at a place, else behind."""
    if pointer is not None:
        changed = copy.deepcopy(value)
        *parts, last = parts_of(pointer)
        parent = at(changed, parts)
        parent[int(last) if isinstance(parent, list) else last] = text
        return changed
    if isinstance(value, dict):
        return cast("dict[str, Any]", value) | {"note": text}
    if isinstance(value, list):
        return [*cast("list[Any]", value), text]
    return f"{value} {text}" if value is not None else text
