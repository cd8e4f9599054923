"""The real embedded models, end to end: speech in, a call, speech out that is understood again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from sayso import Agent, tool
from sayso.models.embedded import embedded_model, whisper
from sayso.result import TurnResult
from sayso.speech.audio import load
from sayso.tools.builtin import BUILTIN_TOOLS

pytestmark = pytest.mark.models
QUESTIONS = Path(__file__).parent.parent / "examples" / "questions"
NEEDED = ("whisper-tiny.en", "qwen2.5-coder-1.5b", "kokoro-82m", "kokoro-voices")


@pytest.fixture(scope="module", autouse=True)
def models(model_path: Callable[[str], Path]) -> None:
    for name in NEEDED:
        model_path(name)


def ask(*what: object, **options: object) -> list[TurnResult]:
    """One conversation of several turns."""

    async def main() -> list[TurnResult]:
        async with Agent(tools=BUILTIN_TOOLS, model=embedded_model(), voice="bf_emma").session() as session:
            return [await session.ask(question, **options) for question in what]  # type: ignore[arg-type]

    return asyncio.run(main())


def test_a_spoken_conversation(model_path: Callable[[str], Path]) -> None:
    timer, sums, thanks = ask(QUESTIONS / "timer.wav", QUESTIONS / "calculate.wav", "Thank you, that is all.")
    assert [(call.name, call.status) for call in timer.calls] == [("set_timer", "ok")]
    assert "12 minutes" in timer.text
    assert [(call.name, call.status) for call in sums.calls] == [("calculate", "ok")]
    assert "45" in sums.text
    assert thanks.calls == () and thanks.text
    assert sums.audio is not None
    assert "45" in whisper(model_path("whisper-tiny.en"), 2).transcribe(sums.audio).text


def test_live_frames_are_answered() -> None:
    question = load(QUESTIONS / "what_time.wav")
    sound = np.concatenate([question.samples, np.zeros(question.sample_rate_hz, np.float32)])

    async def frames() -> AsyncIterator[np.ndarray]:
        for start in range(0, len(sound), 320):
            yield sound[start : start + 320]

    (result,) = ask(frames(), sample_rate_hz=question.sample_rate_hz)
    assert [call.name for call in result.calls] == ["get_date_time"]
    assert "Tokyo" in result.text


def test_a_tool_with_nothing_but_types_and_a_docstring_is_called() -> None:
    @tool(effect="read")
    def opening_hours(shop: str, day: Literal["today", "monday", "friday"] = "today") -> str:
        """When a shop is open.

        Args:
            shop: Name of the shop as the customer says it.
        """
        return f"{shop}: open from 7 AM to 5 PM"

    agent = Agent(tools=[opening_hours], instructions="You answer the phone for a market hall.", model=embedded_model())
    result = agent.ask_sync("When does the bakery open on Friday?", speak=False)
    assert [(call.name, call.arguments.get("day"), call.status) for call in result.calls] == [
        ("opening_hours", "friday", "ok")
    ]
    assert "7" in result.text
