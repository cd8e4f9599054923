"""How many sessions can speak at once, each in real time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import takewhile

from benchmarks.step_audio.bench import Bench, Figure, failed, quantile, speech
from benchmarks.step_audio.model import RandomModel
from benchmarks.step_audio.talk import INSTRUCTIONS, prepared
from benchmarks.token2wav import CHUNK
from sayso.items import UserInput
from sayso.models.base import ModelRequest, Speech
from sayso.models.step_audio2.interleave import AUDIO_IDS_PER_TEXT_ID, CODES_PER_SECOND

WARM_UP_S = 4.0
GRACE_S = 5.0
"""Beyond the length of the speech: who has not spoken all of it by then was not in time."""


@dataclass(frozen=True, slots=True)
class Playout:
    """How a session's speech would have been heard.

    Attributes:
        first_s: To its first sound.
        ahead: The share of the time in which there was sound to play.
        underruns: How often there was none.
    """

    first_s: float
    ahead: float
    underruns: int


def playout(pieces: Sequence[tuple[float, float]], wanted_s: float, now_s: float) -> Playout:
    """Play pieces of sound as they come.

    Args:
        pieces: When each came, and its length; seconds from the request.
        wanted_s: How much sound there was to be.
        now_s: When nobody waited any longer.
    """
    if not pieces:
        return Playout(now_s, 0.0, 1)
    ends = pieces[0][0]
    stalled, played, underruns = 0.0, 0.0, 0
    for arrived, length in [*pieces, *([] if sum(p[1] for p in pieces) >= wanted_s else [(now_s, 0.0)])]:
        if arrived > ends:
            underruns += 1
            stalled += arrived - ends
            ends = arrived
        ends += length
        played += length
    return Playout(pieces[0][0], played / (played + stalled) if played else 0.0, underruns)


def sessions(bench: Bench) -> list[Figure]:
    """Sessions that begin to speak at the same moment, and how many of them are in time all through."""
    figures: list[Figure] = []
    in_time: list[bool] = []
    for count in bench.plan.sessions:
        try:
            heard = asyncio.run(_speaking(bench, count))
        except Exception as error:  # such as memory that is not there
            figures.append(failed(f"{count} sessions", error))
            break
        underruns = sum(one.underruns for one in heard)
        first_ms = [one.first_s * 1e3 for one in heard]
        more = {
            "underruns": underruns,
            "first sound ms": quantile(first_ms, 0.5),
            "last session's ms": max(first_ms),
        }
        ahead = 100 * min(one.ahead for one in heard)
        figures.append(Figure(f"{count} sessions: how long the slowest was in time", ahead, unit="%", more=more))
        in_time.append(not underruns)
    held = list(takewhile(lambda pair: pair[1], zip(bench.plan.sessions, in_time, strict=False)))
    best = held[-1][0] if held else 0
    what = f"most sessions without an underrun in {bench.seconds:g} s of speech"
    return [*figures, Figure(what, best, unit="sessions", more={"forced": "as in a plain turn"})]


async def _speaking(bench: Bench, count: int) -> list[Playout]:
    groups = math.ceil(bench.seconds * CODES_PER_SECOND / AUDIO_IDS_PER_TEXT_ID)
    async with prepared(bench, first=CHUNK, sessions=count, groups=groups) as model:
        await _pieces(model, 0, WARM_UP_S)  # its session is given away
        start = time.perf_counter()
        wait_s = bench.seconds + GRACE_S
        spoken = await asyncio.gather(*(_pieces(model, 1 + number, wait_s) for number in range(count)))
        now_s = time.perf_counter() - start
    wanted_s = groups * AUDIO_IDS_PER_TEXT_ID / CODES_PER_SECOND
    return [playout(pieces, wanted_s - 0.01, now_s) for pieces in spoken]


async def _pieces(model: RandomModel, number: int, wait_s: float) -> list[tuple[float, float]]:
    """The pieces of a reply to a user who just stopped speaking, as far as they came in time."""
    request = ModelRequest((UserInput(audio=speech(number)),), instructions=INSTRUCTIONS, seed=number)
    found: list[tuple[float, float]] = []
    start = time.perf_counter()
    try:
        async with asyncio.timeout(wait_s), aclosing(model.respond(request)) as stream:
            async for event in stream:
                if isinstance(event, Speech):
                    found.append((time.perf_counter() - start, event.audio.seconds))
    except TimeoutError:
        pass
    return found
