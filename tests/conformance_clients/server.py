"""The server that other people's clients are run against.

    python tests/conformance_clients/server.py --model scripted [--cert cert.pem --key key.pem]

Prints its address. Beside what sayso serves it has ``/conformance/history``: what the sessions that are open hold, so
that a client's program can see what the server made of an interruption.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI

from sayso import Agent
from sayso.items import AssistantReply, Audio, Item, ToolCall, ToolOutput, UserInput
from sayso.models.base import CallClose, CallDelta, CallOpen, Done, ModelEvent, ModelRequest, Profile, Speech, Text
from sayso.models.base import Transcript as Heard
from sayso.models.transcription import PLAIN, Segment, Task
from sayso.server import ServerSettings, create_app
from sayso.server.run import serve
from sayso.speech.audio import load, resample
from sayso.testing import RATE_HZ, tone
from sayso.tools.builtin import calculate
from sayso.tools.journal import Journal

QUESTIONS = {
    "what_time": "What time is it in Tokyo right now?",
    "calculate": "What is eighteen percent of two hundred and fifty?",
    "timer": "Set a timer for twelve minutes for the rice.",
}
FOLDER = Path(__file__).parents[2] / "examples" / "questions"
STORY = " ".join(f"Part {number} of a long story about a fox and a hen." for number in range(1, 9))
INSTRUCTIONS = "You are a friendly voice assistant. Use a tool where one fits."
ALIKE = 0.5
"""Correlation from which on a sound is one of the questions; of different ones it is below 0.2."""


class RuleModel:
    """A `VoiceModel` that knows three recordings and a few rules, and so answers any number of clients the same."""

    profile = Profile(
        name="rules",
        hears=True,
        speaks=True,
        says_lines=True,
        forces_calls=True,
        transcribes=True,
        sample_rate_hz=RATE_HZ,
        voices=("tone",),
    )

    def __init__(self) -> None:
        self._known = {words: load(FOLDER / f"{name}.wav").samples for name, words in QUESTIONS.items()}

    async def warm(self, request: ModelRequest) -> None:
        """Nothing to load."""

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Hear what was said, then call a tool or answer."""
        last = request.items[-1] if request.items else None
        words = last.text or "" if isinstance(last, UserInput) else ""
        if isinstance(last, UserInput) and last.audio is not None:
            words = self.words_in(last.audio)
            yield Heard(words, "en")
        if isinstance(last, ToolOutput):
            answer = f"The answer is: {last.output}"
        elif "story" in words:
            answer = STORY
        elif request.allow_calls and (found := _call(words, request)) is not None:
            name, arguments = found
            raw = json.dumps(arguments)
            for event in (CallOpen(0, name), CallDelta(0, raw), CallClose(0, arguments, raw)):
                yield event
            yield Done(prompt_tokens=10, completion_tokens=5)
            return
        else:
            answer = f"You said: {words or 'nothing'}"
        async with aclosing(self._answer(answer, request.speak)) as events:
            async for event in events:
                yield event
        yield Done(prompt_tokens=10, completion_tokens=len(answer.split()))

    async def say(self, text: str, voice: str | None = None) -> AsyncGenerator[Speech, None]:
        """A tone as long as the words."""
        yield Speech(tone(text), text)

    async def transcribe(self, audio: Audio, task: Task = PLAIN) -> AsyncGenerator[Segment, None]:
        """The question that was asked."""
        yield Segment(self.words_in(audio), 0.0, audio.seconds, "en")

    async def aclose(self) -> None:
        """Nothing to free."""

    def words_in(self, audio: Audio) -> str:
        """Which of the questions a sound holds; nothing where it is none."""
        heard = resample(audio, RATE_HZ).samples
        score, words = max((_alike(heard, known), words) for words, known in self._known.items())
        return words if score > ALIKE else ""

    async def _answer(self, text: str, speak: bool) -> AsyncGenerator[ModelEvent, None]:
        """Word by word, spoken four times as fast as they are played."""
        for word in text.split(" "):
            yield Text(f"{word} ")
            if speak:
                sound = tone(f"{word} ")
                yield Speech(sound, f"{word} ")
                await asyncio.sleep(sound.seconds / 4)


def _call(words: str, request: ModelRequest) -> tuple[str, dict[str, Any]] | None:
    for tool in request.tools:
        if "percent" in words and tool.name == "calculate":
            return tool.name, {"expression": "18% of 250"}
        if "Tokyo" in words and "time" in tool.name:
            return tool.name, {"city": "Tokyo"}
    return None


def _alike(heard: np.ndarray, known: np.ndarray) -> float:
    """The highest normalised cross-correlation of two sounds at any shift."""
    length = len(heard) + len(known)
    product = np.fft.rfft(heard, length) * np.conj(np.fft.rfft(known, length))
    norm = float(np.linalg.norm(heard) * np.linalg.norm(known)) or 1.0
    return float(np.abs(np.fft.irfft(product, length)).max()) / norm


def shown(item: Item) -> dict[str, Any]:
    """What a client's program is told of an item."""
    match item:
        case UserInput():
            return {"type": "user", "text": item.text}
        case AssistantReply():
            return {"type": "assistant", "text": item.text, "interrupted": item.interrupted}
        case ToolCall():
            return {"type": "call", "name": item.name, "arguments": item.arguments}
        case ToolOutput():
            return {"type": "output", "name": item.name, "output": item.output}
        case _:
            return {"type": "instruction"}


def app_of(agent: Agent, settings: ServerSettings) -> FastAPI:
    """What sayso serves, and the sessions' history."""
    app = create_app(agent, settings)

    async def history() -> list[list[dict[str, Any]]]:
        return [[shown(item) for item in opened.session.history] for opened in app.state.host.sessions]

    app.add_api_route("/conformance/history", history)
    app.router.routes.insert(0, app.router.routes.pop())  # before the page, which takes every address that is left
    return app


def agent_of(model: str) -> Agent:
    """The agent that the clients talk to: it has a tool of its own."""
    if model == "scripted":
        return Agent(INSTRUCTIONS, tools=[calculate], model=RuleModel(), journal=Journal())
    from sayso.models.embedded import embedded_model

    found = embedded_model(size="small" if model == "small" else "default")
    return Agent(INSTRUCTIONS, tools=[calculate], model=found, journal=Journal())


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=("scripted", "embedded", "small"), default="scripted")
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    given = parser.parse_args()
    settings = ServerSettings(port=0, tls_cert=given.cert, tls_key=given.key)
    asyncio.run(serve(app_of(agent_of(given.model), settings), lambda url: print(url, flush=True)))


if __name__ == "__main__":
    main()
