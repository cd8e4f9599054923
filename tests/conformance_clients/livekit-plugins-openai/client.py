"""LiveKit's agents: an `AgentSession` whose model is the plugin's `RealtimeModel`.

The microphone and the loudspeaker are here, in place of LiveKit's media server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cases import (
    INSTRUCTIONS,
    KEY,
    RATE_HZ,
    STORY,
    TOOL_SAYS,
    URL,
    Broken,
    check,
    check_cut,
    check_sum,
    check_time,
    check_tokyo,
    run,
    speak,
)
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool, llm
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities
from livekit.plugins import openai
from openai.types.beta.realtime.session import TurnDetection

asked: list[str] = []


@function_tool
async def time_in_city(city: str) -> str:
    """Tells the time of day in a city. Use it whenever the user asks what time it is somewhere.

    Args:
        city: Name of the city.
    """
    asked.append(city)
    return TOOL_SAYS


class Microphone(AudioInput):
    """Gives the frames that are put in."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def put(self, frame: bytes) -> None:
        self._frames.put_nowait(rtc.AudioFrame(frame, RATE_HZ, 1, len(frame) // 2))

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.get()


class Loudspeaker(AudioOutput):
    """Plays nothing, in the time that it would take."""

    def __init__(self) -> None:
        super().__init__(label="loudspeaker", capabilities=AudioOutputCapabilities(pause=False), sample_rate=RATE_HZ)
        self.sound_s = 0.0
        self.began_s = 0.0
        self._pushed_s = 0.0
        self._ending: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._pushed_s:
            self.began_s = time.monotonic()
            self.on_playback_started(created_at=time.time())
        self._pushed_s += frame.duration
        self.sound_s += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._pushed_s:
            self._ending = asyncio.create_task(self._end())

    def clear_buffer(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        if self._pushed_s:
            self._finish(min(self._pushed_s, time.monotonic() - self.began_s), interrupted=True)

    async def _end(self) -> None:
        await asyncio.sleep(max(0.0, self.began_s + self._pushed_s - time.monotonic()))
        self._finish(self._pushed_s, interrupted=False)

    def _finish(self, position_s: float, *, interrupted: bool) -> None:
        self._pushed_s, self._ending = 0.0, None
        self.on_playback_finished(playback_position=position_s, interrupted=interrupted)


class Talk:
    """A session, and what was said in it by the client's own account."""

    def __init__(self, session: AgentSession[None], ear: Loudspeaker, mouth: Microphone) -> None:
        self.session, self.ear, self.mouth = session, ear, mouth
        self.errors: list[str] = []
        self.items: list[Any] = []
        session.on("error", lambda event: self.errors.append(str(event.error)))
        session.on("conversation_item_added", lambda event: self.items.append(event.item))

    def said(self, role: str) -> list[str]:
        return [item.text_content or "" for item in self.items if item.type == "message" and item.role == role]

    async def until(self, holds: Any) -> None:
        while not holds():
            if self.errors:
                raise Broken(self.errors[0])
            await asyncio.sleep(0.05)

    async def ask(self, name: str) -> str:
        """Ask aloud; the answer's words."""
        await speak(self.mouth.put, name)
        await self.until(lambda: self.said("assistant"))
        check(self.ear.sound_s > 0.5, f"{self.ear.sound_s} s of sound came")
        return self.said("assistant")[-1]


@asynccontextmanager
async def talking(*tools: Any) -> AsyncIterator[Talk]:
    detection = TurnDetection(type="server_vad", interrupt_response=True)
    model = openai.realtime.RealtimeModel(base_url=f"{URL}/v1", api_key=KEY, turn_detection=detection)
    session: AgentSession[None] = AgentSession(
        llm=model,
        aec_warmup_duration=None,  # there is no echo here to wait for
    )
    mouth, ear = Microphone(), Loudspeaker()
    session.input.audio, session.output.audio = mouth, ear
    talk = Talk(session, ear, mouth)
    await session.start(Agent(instructions=INSTRUCTIONS, tools=list(tools)))
    try:
        yield talk
    finally:
        await session.aclose()
        await model.aclose()


async def spoken_turn() -> str:
    async with talking() as talk:
        words = await talk.ask("timer")
        check(any("rice" in words for words in talk.said("user")), f"{talk.said('user')} was heard")
        return words


async def server_tool() -> str:
    async with talking() as talk:
        words = await talk.ask("calculate")
        check_sum(words)
        return words


async def client_tool() -> str:
    async with talking(time_in_city) as talk:
        words = await talk.ask("what_time")
        check_tokyo(asked[-1] if asked else "nothing")
        check_time(words)
        return words


async def interruption() -> str:
    async with talking() as talk:
        talk.session.generate_reply(user_input=STORY)
        await talk.until(lambda: talk.ear.sound_s)
        began_s = talk.ear.began_s
        await speak(talk.mouth.put, "timer")
        note = await check_cut(time.monotonic() - began_s)
        await talk.until(lambda: len(talk.said("assistant")) > 1)
        return f"{note}; the client's: {talk.said('assistant')[0]!r}"


async def bad_event() -> str:
    model = openai.realtime.RealtimeModel(base_url=f"{URL}/v1", api_key=KEY, turn_detection=None)
    session = model.session()
    errors: list[llm.RealtimeModelError] = []
    session.on("error", errors.append)
    try:
        session.send_event({"type": "session.dance", "event_id": "bad_1"})
        while not errors:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        note = str(getattr(errors[0].error, "body", errors[0].error))
        check("session.dance" in note and errors[0].recoverable, note)
        made = await session.generate_reply(instructions="Say hello.")
        words = ""
        async for message in made.message_stream:
            async for text in message.text_stream:
                words += text
        check(words, "afterwards no words came")
        return "Invalid value for 'type'"
    finally:
        await session.aclose()
        await model.aclose()


run(
    spoken_turn=spoken_turn,
    server_tool=server_tool,
    client_tool=client_tool,
    interruption=interruption,
    bad_event=bad_event,
)
