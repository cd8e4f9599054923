"""`Bridge`: the filler of a turn: when it is worth it, paced so that it never holds up the answer."""

from __future__ import annotations

import asyncio
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sayso.items import Audio
from sayso.speech.lines import Filler

KNOWN_WAITS = 9
"""So many of a tool's last waits decide."""
WORTH_S = 0.8
"""A shorter wait (from the call to the answer's first sound) is not bridged: the filler would hardly be out."""
PIECE_S = 0.1
LEAD_S = 0.2
"""So much of a filler is handed out ahead of its time: an answer waits no longer for it."""
FADE_S = 0.02


@dataclass(slots=True)
class Waits:
    """How long each tool's calls made users wait: from the call to the first sound of the answer, in seconds."""

    _by_tool: dict[str, deque[float]] = field(default_factory=dict[str, "deque[float]"])

    def add(self, tool: str, seconds: float) -> None:
        """One more wait."""
        self._by_tool.setdefault(tool, deque(maxlen=KNOWN_WAITS)).append(seconds)

    def worth_bridging(self, tool: str) -> bool:
        """Whether the tool's median says so; a tool that was never called is taken for slow, as it has a filler."""
        known = self._by_tool.get(tool)
        return not known or statistics.median(known) >= WORTH_S


class Bridge:
    """Plays one filler in a turn, unless the answer is there first.

    Args:
        waits: Of the agent's tools.
        play: Takes a piece of the filler with the words it begins (the first has them all).
        now: Seconds.
    """

    def __init__(self, waits: Waits, play: Callable[[Audio, str], None], now: Callable[[], float]) -> None:
        self._waits = waits
        self._play = play
        self._now = now
        self._task: asyncio.Task[None] | None = None
        self._tool: str | None = None
        self._called_s = 0.0
        self._rest: Audio | None = None

    def wait_for(self, tool: str, filler: Callable[[], Filler | None], *, at_s: float) -> None:
        """The turn's first call begins: bridge it from ``at_s`` on, where there is a filler and it is worth it."""
        if self._tool is not None:
            return
        self._tool, self._called_s = tool, self._now()
        if self._waits.worth_bridging(tool) and (line := filler()) is not None:
            self._task = asyncio.create_task(self._fill(line, at_s))

    def answer(self) -> None:
        """The answer's sound is there: no more of the filler."""
        if self._tool is not None and self._called_s >= 0:
            self._waits.add(self._tool, self._now() - self._called_s)
            self._called_s = -1.0
        if self._task is None or self._task.done():
            return
        self._task.cancel()
        if self._rest is not None and len(self._rest.samples):
            self._play(_faded(self._rest), "")
        self._rest = None

    async def aclose(self) -> None:
        """The turn is over, however."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _fill(self, line: Filler, at_s: float) -> None:
        await asyncio.sleep(at_s - self._now())
        rate_hz, samples = line.audio.sample_rate_hz, line.audio.samples
        start_s, at = self._now(), 0
        while at < len(samples):
            end = at + round((LEAD_S if at == 0 else PIECE_S) * rate_hz)
            self._play(Audio(samples[at:end], rate_hz), "" if at else line.text)
            at = end
            self._rest = Audio(samples[at:], rate_hz)
            await asyncio.sleep(start_s + at / rate_hz - LEAD_S + PIECE_S - self._now())


def _faded(audio: Audio) -> Audio:
    """The first moment of ``audio``, faded out, so that stopping does not click."""
    import numpy as np

    samples = audio.samples[: round(FADE_S * audio.sample_rate_hz)]
    return Audio(samples * np.linspace(1, 0, len(samples), dtype=np.float32), audio.sample_rate_hz)
