"""The rows of whole turns: how soon the first sound comes, plain, behind a tool, and after many turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmarks.step_audio.bench import Bench, Figure, quantile, speech, timed
from benchmarks.step_audio.model import Calling, RandomModel
from benchmarks.step_audio.sound import SMALL_CHUNK
from benchmarks.token2wav import CHUNK
from sayso import Agent, tool
from sayso.events import TurnDone
from sayso.items import AssistantReply, Item, UserInput
from sayso.models.base import Done, ModelRequest, Speech, Text
from sayso.tools import Journal
from sayso.turn_policy import TurnPolicy

FIRST_AUDIO_MS, FIRST_AUDIO_P95_MS = 200.0, 300.0
TOOL_TURN_MS = 450.0
GROWTH = 1.15
NEIGHBOURS = 5
INSTRUCTIONS = "You answer callers of a town hall in one or two short sentences. You never make anything up. " * 8


@tool(effect="pure", thread=False)
def opening_hours(
    day: Literal["monday", "tuesday", "wednesday", "thursday", "friday"], place: Literal["town hall", "library"]
) -> str:
    """When a place is open."""
    return f"{place}, {day}: from nine to five"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn took.

    Attributes:
        first_s: To its first sound.
        whole_s: To its end.
        prefilled: Positions that were computed before its first id.
    """

    first_s: float
    whole_s: float
    prefilled: int


@asynccontextmanager
async def prepared(
    bench: Bench, *, first: int, groups: int, sessions: int = 1, kind: type[RandomModel] = RandomModel
) -> AsyncGenerator[RandomModel, None]:
    """A model that is loaded, with all graphs captured."""
    model = kind(bench, sessions=sessions, groups=groups, first_chunk_tokens=first)
    try:
        await model.load()
        yield model
    finally:
        await model.aclose()
        bench.free()


async def converse(model: RandomModel, count: int, instructions: str = INSTRUCTIONS) -> list[Turn]:
    """One conversation of so many spoken turns, each as soon as the one before is over."""
    request = ModelRequest((), instructions=instructions, tools=(opening_hours.spec,), seed=0)
    await model.warm(request)
    items: list[Item] = []
    turns: list[Turn] = []
    for number in range(count):
        items.append(UserInput(audio=speech(number)))
        turn, text = await one_turn(model, replace(request, items=tuple(items)))
        turns.append(turn)
        items.append(AssistantReply(text))
    return turns


async def one_turn(model: RandomModel, request: ModelRequest) -> tuple[Turn, str]:
    """What a turn took, and its words."""
    first_s, prefilled, words = float("nan"), 0, ""
    start = time.perf_counter()
    async with aclosing(model.respond(request)) as stream:
        async for event in stream:
            if isinstance(event, Speech) and first_s != first_s:
                first_s = time.perf_counter() - start
            elif isinstance(event, Text):
                words += event.text
            elif isinstance(event, Done):
                prefilled = event.prompt_tokens
    return Turn(first_s, time.perf_counter() - start, prefilled), words


def first_audio(bench: Bench) -> list[Figure]:
    """From the end of a user's 3 s to the first sound, the instructions and earlier turns being in the cache."""
    figures: list[Figure] = []
    for first, turns in asyncio.run(_plain(bench)):
        figure = timed(
            f"first sound of a plain turn, first chunk of {first} codes",
            [turn.first_s for turn in turns],
            FIRST_AUDIO_MS,
            target_p95=FIRST_AUDIO_P95_MS,
            more={
                "turns": len(turns),
                "positions computed": quantile([turn.prefilled for turn in turns], 0.5),
                "forced": "the reply's text; audio ids are any code",
            },
        )
        figures.append(figure)
    return figures


async def _plain(bench: Bench) -> list[tuple[int, list[Turn]]]:
    found: list[tuple[int, list[Turn]]] = []
    async with prepared(bench, first=SMALL_CHUNK, groups=bench.plan.groups) as model:
        for first in (SMALL_CHUNK, CHUNK):
            model.options = replace(model.options, first_chunk_tokens=first)
            turns = await converse(model, bench.plan.uncounted + bench.plan.turns, INSTRUCTIONS + str(first))
            found.append((first, turns[bench.plan.uncounted :]))
    return found


def tool_turn(bench: Bench) -> list[Figure]:
    """The same through a session, with a call of a tool that takes no time."""
    stages, lengths = asyncio.run(_with_tool(bench))
    more: dict[str, Any] = {
        "turns": len(stages),
        "ids of the call": quantile(lengths, 0.5),
        "call ready ms": quantile([stage["call_ready"] for stage in stages], 0.5) * 1e3,
        "forced": "the call; its arguments are any that the schema allows; then as in a plain turn",
    }
    times = [stage["first_audio"] for stage in stages]
    what = f"first sound behind a tool of 0 ms, first chunk of {SMALL_CHUNK} codes"
    return [timed(what, times, TOOL_TURN_MS, more=more)]


async def _with_tool(bench: Bench) -> tuple[list[dict[str, float]], list[int]]:
    stages: list[dict[str, float]] = []
    async with prepared(bench, first=SMALL_CHUNK, groups=bench.plan.groups, kind=Calling) as model:
        agent = Agent(
            INSTRUCTIONS,
            [opening_hours],
            model,
            policy=TurnPolicy(filler_after_s=60.0),  # nothing but the reply is to be heard
            journal=Journal(),
            seed=0,
        )
        async with agent.session() as session:
            await session.warm()
            for number in range(bench.plan.uncounted + bench.plan.turns):
                session.add(UserInput(audio=speech(number)))  # where speech ends is not a question here
                async with aclosing(session.respond()) as events:
                    stages += [event.stages async for event in events if isinstance(event, TurnDone)]
        return stages[bench.plan.uncounted :], model.call_lengths[bench.plan.uncounted :]


def growth(bench: Bench) -> list[Figure]:
    """Late turns of a conversation against early ones, the new ids being as many."""
    turns = asyncio.run(_long(bench))
    near = min(NEIGHBOURS, len(turns) // 2)
    early, late = turns[1 : 1 + near], turns[-near:]
    more = {
        "early: positions computed": _median([turn.prefilled for turn in early]),
        "late: positions computed": _median([turn.prefilled for turn in late]),
        "early ms": _median([turn.whole_s for turn in early]) * 1e3,
        "late ms": _median([turn.whole_s for turn in late]) * 1e3,
    }
    what = f"turn {len(turns)} against turn 2 (medians of {near}, "
    whole = _median([turn.whole_s for turn in late]) / _median([turn.whole_s for turn in early])
    first = _median([turn.first_s for turn in late]) / _median([turn.first_s for turn in early])
    return [
        Figure(f"{what}whole turns)", whole, unit="times", target=GROWTH, more=more),
        Figure(f"{what}to the first sound)", first, unit="times", target=GROWTH),
    ]


async def _long(bench: Bench) -> list[Turn]:
    async with prepared(bench, first=SMALL_CHUNK, groups=bench.plan.short) as model:
        await converse(model, 1, "Warm up.")
        return await converse(model, bench.plan.grown)


def _median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)
