"""One unit: an agent meets a scenario, once."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol, cast

from sayso.errors import SaysoError, UsageError
from sayso.evals.agents import AgentSource
from sayso.evals.loader import Loaded
from sayso.evals.records import Mode as ModeName
from sayso.evals.records import Unit
from sayso.evals.run.clock import epoch_of, zone_of
from sayso.evals.run.mode import Mode, Plan
from sayso.evals.run.score import make_replays, score, void
from sayso.evals.run.trace import Trace, TurnTrace, write_trace
from sayso.evals.run.watchdog import WATCHDOG
from sayso.evals.scenario import UserTurn
from sayso.evals.tools import Simulation, simulated, tools_of
from sayso.evals.world import KEY, World
from sayso.items import AssistantReply, Item, ToolCall, ToolOutput, UserInput
from sayso.session import Session
from sayso.tools.text import as_text

EVENTS: Final = "events"
ATTEMPTS: Final = 3
"""Of a unit that something else than the agent broke."""
TIME_LIMIT_S: Final = 300.0
OUTPUT_CHARS: Final = 4000
LARGE_ROWS: Final = 2000
"""Rows in a world's tables, from which on it is not looked whether a reading tool changed it."""
_log = logging.getLogger(__name__)


class TimeLimit(SaysoError):
    """A unit took too long on the machine's clock."""


class Caller(Protocol):
    """Who speaks for the user where no script does."""

    async def next(self, turns: list[TurnTrace]) -> UserTurn | None:
        """What is said after these turns; None: the conversation is over."""
        ...


def seed_of(seed: int, scenario: str, mode: ModeName, trial: int) -> int:
    """The seed of a unit: SHA-256, first 8 bytes, of which 53 bits are kept: more is no number to many JSON readers."""
    digest = hashlib.sha256(f"{seed}/{scenario}/{mode}/{trial}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 11


def unit_id(scenario: str, mode: ModeName, trial: int) -> str:
    """The id of a unit, which is a file's name too."""
    return f"{scenario}~{mode}~{trial}"


def run_unit(
    plan: Plan,
    mode: Mode,
    source: AgentSource,
    agent: str,
    *,
    limit_s: float = TIME_LIMIT_S,
) -> Unit:
    """Run a unit to its line; it is tried again where something else than the agent broke. Never raises for that.

    Args:
        plan: The unit.
        mode: How to talk.
        source: Makes the agent.
        agent: The fingerprint's id.
        limit_s: Seconds on the machine's clock, unless the scenario has its own.
    """
    started, began_s = datetime.now(UTC).isoformat(), time.monotonic()
    found, attempts = void(plan, agent, "it was not run"), 0
    while attempts < ATTEMPTS:
        attempts += 1
        try:
            found = _attempt(plan, mode, source, agent, limit_s)
            break
        except (UsageError, TimeLimit) as error:
            found = void(plan, agent, str(error))
            break
        except Exception as error:
            _log.warning("unit %s broke off: %s", plan.unit, error, exc_info=not isinstance(error, SaysoError))
            found = void(plan, agent, f"{type(error).__name__}: {error}")
    wall: dict[str, Any] = {"started": started, "seconds": round(time.monotonic() - began_s, 3)}
    return replace(found, wall=wall | ({"attempts": attempts} if attempts > 1 else {}))


def _attempt(plan: Plan, mode: Mode, source: AgentSource, agent: str, limit_s: float) -> Unit:
    limit_s = plan.loaded.scenario.time_limit_s or limit_s

    async def main() -> Unit:
        with _limited(limit_s):
            replays = await make_replays(plan.loaded, plan.seed)
            trace, audio = await converse(plan, mode, source)
        found = score(plan, trace, replays, agent=agent, more=mode.families)
        if plan.out is None:
            return replace(found, audio=audio)
        events = f"{EVENTS}/{plan.unit}.jsonl"
        write_trace(trace, plan.out / events)
        return replace(found, audio=audio, events=events)

    try:
        return mode.run(plan, main)
    except asyncio.CancelledError:
        raise TimeLimit(f"The unit took longer than {limit_s:g} s.", "Give it more with --time-limit.") from None


async def converse(
    plan: Plan, mode: Mode, source: AgentSource, caller: Caller | None = None
) -> tuple[Trace, str | None]:
    """Hold the conversation of a unit.

    Returns:
        What happened, and the path of the recording, if any.

    Raises:
        SaysoError: The session failed, or the scenario cannot be used.
    """
    loaded, scenario = plan.loaded, plan.loaded.scenario
    simulation = Simulation(World(loaded.world, plan.seed), plan.seed)
    tools = simulated(tools_of(loaded), scenario.tools, simulation)
    made = replace(source.made_for(loaded, tools, plan.seed), timezone=zone_of(scenario.clock))
    agent = mode.agent(made, plan)
    loop = asyncio.get_running_loop()
    began_s, epoch_s = loop.time(), epoch_of(scenario.clock)
    untouched = _digest(loaded.world)
    speaker = caller or caller_of(loaded, plan.seed)
    trace = Trace(
        start=loaded.world,
        tools={tool.name: {"effect": tool.effect.value, "parameters": tool.spec.parameters} for tool in agent.tools},
        instructions=agent.instructions,
        broken=simulation.broken,
    )
    async with agent.session(clock=lambda: epoch_s + loop.time() - began_s) as session:
        session.state[KEY] = simulation.world
        session.add(*_past(loaded))
        async with mode.open(session, plan) as channel:
            before = loaded.world
            for index, (turn, then) in enumerate(_script(scenario.turns)):
                traced = await channel.turn(turn, index, then)
                before = _remember(traced, simulation.world, before)
                trace.turns.append(traced)
            while speaker is not None and (said := await speaker.next(trace.turns)) is not None:
                traced = await channel.turn(said, len(trace.turns), None)
                before = _remember(traced, simulation.world, before)
                trace.turns.append(traced)
            await _settle(session)
        trace.numbers |= channel.numbers  # some are measured once all is over
    if trace.turns:  # writes that were still running have ended by now
        _remember(trace.turns[-1], simulation.world, before)
    if _digest(loaded.world) != untouched:
        trace.broken.append("a tool that only reads changed the world: copy what you change, or declare effect='write'")
    return trace, channel.audio


def caller_of(loaded: Loaded, seed: int) -> Caller | None:
    """Who speaks for the user; None: the script alone.

    Raises:
        UsageError: There is no such caller.
    """
    sim = loaded.scenario.user_sim
    if sim is None:
        return None
    try:
        callers: Any = importlib.import_module("sayso.evals.callers")
    except ModuleNotFoundError as error:
        raise UsageError(f"{loaded.id} needs a simulated caller.", "There is none in this version.") from error
    return cast("Caller", callers.make_caller(loaded, seed))


def _script(turns: tuple[UserTurn, ...]) -> Generator[tuple[UserTurn, UserTurn | None]]:
    for index, turn in enumerate(turns):
        yield turn, turns[index + 1] if index + 1 < len(turns) else None


def _remember(turn: TurnTrace, world: World, before: dict[str, Any]) -> dict[str, Any]:
    """Keep the world after a turn, where the turn changed it."""
    after = world.snapshot()
    if after.keys() == before.keys() and all(table is before[name] for name, table in after.items()):
        return before
    turn.world = after
    return after


def _digest(world: dict[str, Any]) -> str:
    """Whether a start state, which all units share, is still what it was; large ones are taken on trust."""
    rows = sum(len(cast("list[Any]", table)) for table in world.values() if isinstance(table, dict | list))
    text = "" if rows > LARGE_ROWS else json.dumps(world, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


async def _settle(session: Session) -> None:
    """Let calls that still run come to their end."""
    for _ in range(1000):
        if not session.running:
            return
        await asyncio.sleep(0.1)


def _past(loaded: Loaded) -> list[Item]:
    """What happened before the first turn, as items."""
    items: list[Item] = []
    for number, past in enumerate(loaded.scenario.history, 1):
        if past.user is not None:
            items.append(UserInput(past.user))
        elif past.agent is not None:
            items.append(AssistantReply(past.agent))
        elif past.call is not None:
            call, call_id = past.call, f"past_{number}"
            items.append(ToolCall(call_id, call.tool, call.args))
            items.append(ToolOutput(call_id, call.tool, as_text(call.result, OUTPUT_CHARS), call.status))
    return items


@contextmanager
def _limited(seconds: float) -> Generator[None]:
    """Cancel this task after so many seconds of the machine's clock."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def cancel() -> None:
        try:
            loop.call_soon_threadsafe(task.cancel)
        except RuntimeError:  # the loop is closed: the unit has ended
            pass

    with WATCHDOG.after(seconds, cancel):
        yield
