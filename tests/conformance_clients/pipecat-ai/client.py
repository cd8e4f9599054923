"""Pipecat: a pipeline with `OpenAIRealtimeLLMService`.

Its models of events are strict: an item of a kind that it does not know ends its receiving, and so does an ``error``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cases import (
    INSTRUCTIONS,
    KEY,
    RATE_HZ,
    STORY,
    TOOL,
    TOOL_SAYS,
    URL,
    Broken,
    check,
    check_cut,
    check_sum,
    check_time,
    check_tokyo,
    history,
    run,
    speak,
)
from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMRunFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

logger.remove()
logger.add(sys.stderr, level="WARNING")
GREET = "Say hello."


class Ear(FrameProcessor):
    """Where a transport would play: keeps what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.forget()

    def forget(self) -> None:
        self.sound, self.words, self.ends, self.interrupted = 0, "", 0, False
        self.began = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        match frame:
            case TTSAudioRawFrame():
                self.sound += len(frame.audio)
                self.began.set()
            case TTSTextFrame():
                self.words += frame.text
            case LLMFullResponseEndFrame():
                self.ends += 1
            case InterruptionFrame():
                self.interrupted = True
            case _:
                pass
        await self.push_frame(frame, direction)


class Bot:
    """A pipeline that runs."""

    def __init__(self, first: str, tool: Any) -> None:
        self.errors: list[str] = []
        self.ear = Ear()
        self.llm = OpenAIRealtimeLLMService(
            api_key=KEY,
            base_url=f"{URL.replace('http', 'ws', 1)}/v1/realtime",
            settings=OpenAIRealtimeLLMService.Settings(
                model="gpt-realtime",
                system_instruction=INSTRUCTIONS,
                session_properties=events.SessionProperties(
                    audio=events.AudioConfiguration(
                        input=events.AudioInput(
                            transcription=events.InputAudioTranscription(model="whisper-1"),
                            turn_detection=events.TurnDetection(type="server_vad"),
                        )
                    )
                ),
            ),
        )
        tools = ToolsSchema(standard_tools=[])
        if tool is not None:
            schema = FunctionSchema(
                name=TOOL["name"],
                description=TOOL["description"],
                properties=TOOL["parameters"]["properties"],
                required=TOOL["parameters"]["required"],
            )
            tools = ToolsSchema(standard_tools=[schema])
            self.llm.register_function(TOOL["name"], tool)
        self.context = LLMContext([{"role": "user", "content": first}], tools)
        user, assistant = LLMContextAggregatorPair(self.context)
        self.worker = PipelineWorker(
            Pipeline([user, self.llm, self.ear, assistant]),
            params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
            idle_timeout_secs=None,
        )

        @self.worker.event_handler("on_pipeline_error")
        async def failed(_: Any, frame: ErrorFrame) -> None:
            self.errors.append(frame.error)

    async def hear(self, frame: bytes) -> None:
        await self.worker.queue_frame(InputAudioRawFrame(audio=frame, sample_rate=RATE_HZ, num_channels=1))

    async def until(self, holds: Any) -> None:
        while not holds():
            if self.errors:
                raise Broken(self.errors[0])
            await asyncio.sleep(0.05)

    async def until_error(self) -> None:
        while not self.errors:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def answer(self, name: str, ends: int = 1) -> str:
        """Ask aloud; the answer's words."""
        self.ear.forget()
        await speak(self.hear, name)
        await self.until(lambda: self.ear.ends >= ends and self.ear.sound)
        check(self.ear.sound > RATE_HZ, f"{self.ear.sound} bytes of sound came")
        return self.ear.words

    def heard(self) -> str:
        """What the user said last, by the client's own context."""
        said = [one for one in self.context.messages if one["role"] == "user"]
        return str(said[-1]["content"])


@asynccontextmanager
async def talking(first: str = GREET, tool: Any = None) -> AsyncIterator[Bot]:
    bot = Bot(first, tool)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(bot.worker)
    running = asyncio.create_task(runner.run())
    try:
        await bot.worker.queue_frames([LLMRunFrame()])
        await bot.until(bot.ear.began.is_set)
        if first is GREET:
            await bot.until(lambda: bot.ear.ends)
        yield bot
    finally:
        await bot.worker.cancel()
        await running


async def spoken_turn() -> str:
    async with talking() as bot:
        words = await bot.answer("timer")
        check("rice" in bot.heard(), f"{bot.heard()!r} was heard")
        return words


async def server_tool() -> str:
    async with talking() as bot:
        words = await bot.answer("calculate")
        check_sum(words)
        return words


async def client_tool() -> str:
    asked: list[Any] = []

    async def tool(params: Any) -> None:
        asked.append(params.arguments)
        await params.result_callback({"answer": TOOL_SAYS})

    async with talking(tool=tool) as bot:
        words = await bot.answer("what_time")
        check_tokyo(asked[0] if asked else "nothing")
        check_time(words)
        return words


async def interruption() -> str:
    async with talking(STORY) as bot:
        began_s = time.monotonic()
        saying = asyncio.create_task(speak(bot.hear, "timer"))
        await bot.until(lambda: bot.ear.interrupted)
        note = await check_cut(time.monotonic() - began_s)
        bot.ear.forget()
        await saying
        await bot.until(lambda: bot.ear.sound > RATE_HZ)
        return note


async def bad_event() -> str:
    async with talking() as bot:
        await bot.llm.send_client_event(events.ConversationItemDeleteEvent(item_id="item_of_nobody"))
        await bot.until_error()
        check("item_of_nobody" in bot.errors[0], bot.errors[0])
        await history()  # the session is still there
        return "the error came; the client itself receives nothing after one"


run(
    spoken_turn=spoken_turn,
    server_tool=server_tool,
    client_tool=client_tool,
    interruption=interruption,
    bad_event=bad_event,
)
