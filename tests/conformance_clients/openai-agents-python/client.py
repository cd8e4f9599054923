"""OpenAI's agents for Python: a realtime agent with a function tool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agents import function_tool, set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from agents.realtime.model_inputs import RealtimeModelSendRawMessage
from cases import (
    INSTRUCTIONS,
    KEY,
    RATE_HZ,
    STORY,
    TOOL_SAYS,
    URL,
    check,
    check_cut,
    check_sum,
    check_time,
    check_tokyo,
    run,
    speak,
)

set_tracing_disabled(True)
asked: list[str] = []


@function_tool
def time_in_city(city: str) -> str:
    """Tells the time of day in a city. Use it whenever the user asks what time it is somewhere.

    Args:
        city: Name of the city.
    """
    asked.append(city)
    return TOOL_SAYS


@asynccontextmanager
async def talking(*tools: Any) -> AsyncIterator[RealtimeSession]:
    agent = RealtimeAgent(name="assistant", instructions=INSTRUCTIONS, tools=list(tools))
    runner = RealtimeRunner(agent)
    async with await runner.run(
        model_config={
            "api_key": KEY,
            "url": f"{URL.replace('http', 'ws', 1)}/v1/realtime?model=gpt-realtime",
            "initial_model_settings": {
                "model_name": "gpt-realtime",
                "audio": {
                    "input": {
                        "format": "pcm16",
                        "transcription": {"model": "whisper-1"},
                        "turn_detection": {"type": "server_vad", "interrupt_response": True},
                    },
                    "output": {"format": "pcm16", "voice": "ash"},
                },
            },
        }
    ) as session:
        yield session


def check_event(event: Any) -> None:
    if event.type == "error":
        raise RuntimeError(str(event.error))


def said(history: Sequence[Any], role: str) -> str:
    """The words of the last message of ``role``."""
    found = [item for item in history if item.type == "message" and item.role == role]
    parts = found[-1].content if found else []
    return " ".join(getattr(part, "transcript", None) or getattr(part, "text", None) or "" for part in parts)


async def turn(session: RealtimeSession, name: str, *, tool: bool = False) -> tuple[str, str]:
    """Say a question; what the client's history then has of the user and of the assistant."""
    saying = asyncio.create_task(speak(session.send_audio, name))
    sound, called, history, ended = 0, False, [], False
    async for event in session:
        check_event(event)
        match event.type:
            case "audio":
                sound += len(event.audio.data)
            case "tool_end":
                called = True
            case "history_updated":
                history = event.history
            case "agent_end":
                ended = not tool or called
            case _:
                pass
        if ended and sound and said(history, "assistant") and said(history, "user"):
            break
    await saying
    check(sound > RATE_HZ, f"{sound} bytes of sound came")
    return said(history, "user"), said(history, "assistant")


async def spoken_turn() -> str:
    async with talking() as session:
        heard, words = await turn(session, "timer")
        check("rice" in heard, f"{heard!r} was heard")
        return words


async def server_tool() -> str:
    async with talking() as session:
        _, words = await turn(session, "calculate")
        check_sum(words)
        return words


async def client_tool() -> str:
    async with talking(time_in_city) as session:
        heard, words = await turn(session, "what_time", tool=True)
        check("Tokyo" in heard, f"{heard!r} was heard")
        check_tokyo(asked[-1])
        check_time(words)
        return words


async def interruption() -> str:
    async with talking() as session:
        await session.send_message(STORY)
        began_s, note, saying, ends, history = 0.0, "", None, 0, []
        async for event in session:
            check_event(event)
            match event.type:
                case "audio" if saying is None:
                    began_s = time.monotonic()
                    saying = asyncio.create_task(speak(session.send_audio, "timer"))
                case "audio_interrupted" if not note:
                    note = await check_cut(time.monotonic() - began_s)
                case "history_updated":
                    history = event.history
                case "agent_end":
                    ends += 1
                case _:
                    pass
            if ends == 2 and "rice" in said(history, "user"):
                break
        if saying is not None:
            await saying
        return note


async def bad_event() -> str:
    async with talking() as session:
        await session.model.send_event(
            RealtimeModelSendRawMessage(
                {"type": "conversation.item.delete", "other_data": {"item_id": "item_of_nobody"}}
            )
        )
        async for event in session:
            if event.type == "error":
                note = str(event.error)
                break
        check("item_of_nobody" in note, note)
        await session.send_message("What is eighteen percent of 250?")
        history: Sequence[Any] = []
        async for event in session:
            check_event(event)
            if event.type == "history_updated":
                history = event.history
            if event.type == "agent_end":
                break
        check_sum(said(history, "assistant"))
        return "item_not_found"


run(
    spoken_turn=spoken_turn,
    server_tool=server_tool,
    client_tool=client_tool,
    interruption=interruption,
    bad_event=bad_event,
)
