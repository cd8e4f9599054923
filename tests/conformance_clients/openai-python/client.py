"""OpenAI's client for Python: Realtime, chat completions and audio."""

from __future__ import annotations

import asyncio
import base64
import io
import wave
from contextlib import asynccontextmanager
from typing import Any

from cases import (
    INSTRUCTIONS,
    KEY,
    RATE_HZ,
    SOUNDS,
    STORY,
    TOOL,
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
from openai import AsyncOpenAI

client = AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY)


@asynccontextmanager
async def session(tools: bool = False, **query: str) -> Any:
    async with client.realtime.connect(model="gpt-realtime", extra_query=query) as connection:
        await connection.session.update(
            session={
                "type": "realtime",
                "instructions": INSTRUCTIONS,
                "audio": {"input": {"transcription": {"model": "whisper-1"}, "turn_detection": {"type": "server_vad"}}},
                "tools": [{"type": "function", **TOOL}] if tools else [],
            }
        )
        yield connection


async def say(connection: Any, name: str) -> None:
    async def send(frame: bytes) -> None:
        await connection.input_audio_buffer.append(audio=base64.b64encode(frame).decode())

    await speak(send, name)


class Turn:
    """What came until the response was done."""

    def __init__(self) -> None:
        self.sound, self.words, self.heard = b"", "", ""
        self.response: Any = None
        self.kinds: list[str] = []

    @staticmethod
    async def until_done(connection: Any) -> Turn:
        turn = Turn()
        async for event in connection:
            turn.kinds.append(event.type)
            match event.type:
                case "error":
                    raise RuntimeError(event.error.message)
                case "response.output_audio.delta":
                    turn.sound += base64.b64decode(event.delta)
                case "response.output_audio_transcript.delta":
                    turn.words += event.delta
                case "conversation.item.input_audio_transcription.completed":
                    turn.heard = event.transcript
                case "response.done":
                    turn.response = event.response
                    return turn
                case _:
                    pass
        raise RuntimeError("the connection ended")


def check_spoken(turn: Turn) -> None:
    check(turn.response.status == "completed", f"the response is {turn.response.status}")
    check(len(turn.sound) > RATE_HZ, f"{len(turn.sound)} bytes of sound came")
    check(turn.words, "no transcript came")


async def spoken_turn() -> str:
    async with session() as connection:
        await say(connection, "timer")
        turn = await Turn.until_done(connection)
        check_spoken(turn)
        check("input_audio_buffer.speech_started" in turn.kinds, "no speech was found")
        check("rice" in turn.heard, f"{turn.heard!r} was heard")
        return turn.words


async def server_tool() -> str:
    async with session(tool_items="true") as connection:
        await say(connection, "calculate")
        turn = await Turn.until_done(connection)
        check_spoken(turn)
        check("response.mcp_call.completed" in turn.kinds, "no call was shown")
        check_sum(turn.words)
        return turn.words


async def client_tool() -> str:
    async with session(tools=True) as connection:
        await say(connection, "what_time")
        turn = await Turn.until_done(connection)
        calls = [item for item in turn.response.output if item.type == "function_call"]
        check(len(calls) == 1, f"{len(calls)} calls came; {turn.words!r}")
        check(calls[0].name == TOOL["name"], f"{calls[0].name} was called")
        check_tokyo(calls[0].arguments)
        await connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": calls[0].call_id, "output": TOOL_SAYS}
        )
        await connection.response.create()
        turn = await Turn.until_done(connection)
        check_spoken(turn)
        check_time(turn.words)
        return turn.words


async def interruption() -> str:
    async with session() as connection:
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": STORY}]}
        )
        await connection.response.create()
        item, note, saying = "", "", None
        async for event in connection:
            match event.type:
                case "error":
                    raise RuntimeError(event.error.message)
                case "response.output_audio.delta" if saying is None:
                    item, saying = event.item_id, asyncio.create_task(say(connection, "timer"))
                case "input_audio_buffer.speech_started":
                    await connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=900)
                case "conversation.item.truncated":
                    check(event.item_id == item and event.audio_end_ms == 900, "something else was truncated")
                    note = await check_cut(0.9)
                    await connection.conversation.item.retrieve(item_id=item)
                case "conversation.item.retrieved":
                    words = event.item.content[0].transcript
                    check(repr(words) in note, f"the item is {words!r}")
                case "response.done" if event.response.status == "cancelled":
                    check(event.response.status_details.reason == "turn_detected", f"{event.response.status_details}")
                case "response.done" if note:
                    check(event.response.status == "completed", f"the answer is {event.response.status}")
                    break
                case _:
                    pass
        check(note, "nothing was truncated")
        return note


async def bad_event() -> str:
    async with session() as connection:
        await connection.send({"type": "session.dance", "event_id": "bad_1"})
        async for event in connection:
            if event.type == "error":
                check(event.error.event_id == "bad_1" and event.error.param == "type", f"{event.error}")
                note = event.error.message
                break
        await connection.response.create(response={"output_modalities": ["text"], "instructions": "Say hello."})
        turn = await Turn.until_done(connection)
        check(turn.response.status == "completed", f"afterwards the response is {turn.response.status}")
        return note[:60]


async def chat() -> str:
    answer = await client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "What is eighteen percent of 250?"}]
    )
    words = answer.choices[0].message.content or ""
    check(answer.choices[0].finish_reason == "stop" and answer.usage.total_tokens, f"{answer}")
    check_sum(words)
    return words


async def chat_stream() -> str:
    words, usage = "", None
    stream = await client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": STORY}],
        stream=True,
        max_completion_tokens=60,
        stream_options={"include_usage": True},
    )
    pieces = 0
    async for chunk in stream:
        usage = chunk.usage or usage
        if chunk.choices and chunk.choices[0].delta.content:
            words += chunk.choices[0].delta.content
            pieces += 1
    check(pieces > 3 and usage is not None, f"{pieces} pieces, usage {usage}")
    return f"{pieces} pieces"


async def chat_tool() -> str:
    messages: list[Any] = [{"role": "user", "content": "What time is it in Tokyo right now?"}]
    tools: list[Any] = [{"type": "function", "function": TOOL}]
    async with client.chat.completions.stream(model="gpt-4o", messages=messages, tools=tools) as stream:
        async for _ in stream:
            pass
        answer = await stream.get_final_completion()
    choice = answer.choices[0]
    check(choice.finish_reason == "tool_calls", f"it ended with {choice.finish_reason}: {choice.message.content!r}")
    call = choice.message.tool_calls[0]
    check_tokyo(call.function.arguments)
    messages += [
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
            ],
        },
        {"role": "tool", "tool_call_id": call.id, "content": TOOL_SAYS},
    ]
    after = await client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools)
    words = after.choices[0].message.content or ""
    check_time(words)
    return words


def wav(name: str) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((SOUNDS / f"{name}.pcm").read_bytes())
    return made.getvalue()


async def chat_audio() -> str:
    answer = await client.chat.completions.create(
        model="gpt-audio",
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "wav"},
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "input_audio",
                        "input_audio": {"data": base64.b64encode(wav("calculate")).decode(), "format": "wav"},
                    }
                ],
            }
        ],
    )
    spoken = answer.choices[0].message.audio
    with wave.open(io.BytesIO(base64.b64decode(spoken.data))) as file:
        seconds = file.getnframes() / file.getframerate()
    check(seconds > 0.5, f"{seconds} s of sound came")
    check_sum(spoken.transcript)
    return f"{seconds:.1f} s: {spoken.transcript}"


async def speech() -> str:
    async with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="This is a test of the voice.", response_format="wav"
    ) as answer:
        data = await answer.read()
    check(data[:4] == b"RIFF" and len(data) > RATE_HZ, f"{len(data)} bytes came")
    return f"{len(data)} bytes"


async def transcription() -> str:
    answer = await client.audio.transcriptions.create(model="whisper-1", file=("question.wav", wav("timer")))
    check("rice" in answer.text, f"{answer.text!r} was heard")
    stream = await client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=("question.wav", wav("timer")), stream=True
    )
    kinds = [event.type async for event in stream]
    check(kinds[-1] == "transcript.text.done", f"it streamed {kinds}")
    return answer.text


run(
    spoken_turn=spoken_turn,
    server_tool=server_tool,
    client_tool=client_tool,
    interruption=interruption,
    bad_event=bad_event,
    chat=chat,
    chat_stream=chat_stream,
    chat_tool=chat_tool,
    chat_audio=chat_audio,
    speech=speech,
    transcription=transcription,
)
