"""Runs the turn that a request asks for, and forms the answer: whole, or as chunks of a stream."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from sayso.agent import Agent
from sayso.errors import SaysoError
from sayso.items import Audio, JsonObject
from sayso.server.auth import Caller
from sayso.server.chat.memory import Memory
from sayso.server.chat.messages import Reader, instructions_of
from sayso.server.chat.request import ChatRequest
from sayso.server.chat.response import (
    AnswerMessage,
    CalledFunction,
    ChatCompletion,
    Choice,
    SpokenAnswer,
    ToolCall,
    Usage,
)
from sayso.server.chat.tools import client_tools, turn_options
from sayso.server.chat.turn import Call, Finish, Piece, Sound, Words, new_id, pieces
from sayso.server.errors import InvalidRequest, error_detail, log_broken
from sayso.server.host import Host
from sayso.server.voices import voice_for
from sayso.speech.encode import Format, encode_all, encoder
from sayso.streams import pushed
from sayso.turn_options import TurnOptions


@dataclass(frozen=True, slots=True)
class Job:
    """A request that was checked.

    Attributes:
        name: The agent's.
        definition: The agent with what the request adds to it.
        clients: Names of the client's functions.
        options: Of the turn.
        id: Of the answer.
        created: When, in Unix time.
    """

    host: Host
    memory: Memory
    caller: Caller
    body: ChatRequest
    name: str
    definition: Agent
    clients: frozenset[str]
    options: TurnOptions
    id: str = field(default_factory=lambda: new_id("chatcmpl-"))
    created: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def of(cls, host: Host, memory: Memory, caller: Caller, body: ChatRequest) -> Job:
        """Check a request.

        Raises:
            NotFound: There is no such agent.
            InvalidRequest: It asks for what cannot be.
        """
        name = host.agent_name(body.model, caller)
        agent = host.agents[name]
        check(body, agent)
        tools = client_tools(body, agent)
        told = "\n\n".join(text for text in (agent.instructions.strip(), instructions_of(body.messages)) if text)
        voice = None if body.audio is None else voice_for(body.audio.voice_name, agent, "audio.voice")
        definition = agent.variant(instructions=told, tools=(*agent.tools, *tools), voice=voice)
        options = turn_options(body, agent, tools)
        return cls(host, memory, caller, body, name, definition, frozenset(tool.name for tool in tools), options)

    def pieces(self) -> AsyncGenerator[Piece, None]:
        """The turn, in a session of its own; both end with the generator."""

        async def produce(push: Callable[[Piece], None]) -> None:
            body = self.body
            user = None if body.user is None else f"{self.caller.id}:{body.user}"
            async with self.host.open_session(
                self.name, self.caller, definition=self.definition, user=user, speak=body.speaks, brief=True
            ) as session:
                reader = Reader(self.definition.voice_model, self.memory, self.caller.id)
                session.add(*await reader.items(body.messages))
                self.host.spend(self.caller, reader.heard_s)
                stream = pieces(
                    session.respond(options=self.options),
                    self.clients,
                    parallel=body.parallel_tool_calls is not False,
                    stops=body.stops,
                )
                async with aclosing(stream):
                    async for piece in stream:
                        push(piece)

        return pushed(produce)

    def remember(self, calls: list[Call], finish: Finish) -> None:
        """Keep what the agent's own tools did, for the request that brings the outputs of the client's."""
        if calls and finish.before:
            self.memory.before.put(self.caller.id, calls[0].id, finish.before)


def check(body: ChatRequest, agent: Agent) -> None:
    """Refuse what cannot be.

    Raises:
        InvalidRequest: The message names the field.
    """
    for field_name in ("functions", "function_call", "web_search_options", "logit_bias", "logprobs", "top_logprobs"):
        if getattr(body, field_name):
            raise _unsupported(field_name)
    for field_name, neutral in (("top_p", 1), ("frequency_penalty", 0), ("presence_penalty", 0)):
        if getattr(body, field_name) not in (None, neutral):
            raise _unsupported(field_name)
    if not body.speaks:
        return
    if not agent.voice_model.profile.speaks:
        raise InvalidRequest("This agent does not speak.", "Ask for text.", param="modalities")
    if body.audio is None:
        raise InvalidRequest(
            "A spoken answer needs a voice and a format.",
            'Add audio={"voice": "alloy", "format": "wav"}.',
            param="audio",
        )
    if body.stream and body.audio.format != "pcm16":
        raise InvalidRequest(
            f"A stream cannot have the format {body.audio.format!r}.",
            "Streams are pcm16.",
            code="unsupported_value",
            param="audio.format",
        )
    if body.stops:
        raise InvalidRequest("A spoken answer cannot be stopped at words.", "Leave stop out.", param="stop")


def _unsupported(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"The parameter {name!r} is not supported.", "Leave it out.", code="unsupported_parameter", param=name
    )


async def whole(job: Job) -> ChatCompletion:
    """The answer in one piece.

    Raises:
        SaysoError: The turn failed.
    """
    words: list[str] = []
    sounds: list[Audio] = []
    calls: list[Call] = []
    finish = Finish("stop", 0, 0)
    async with aclosing(job.pieces()) as stream:
        async for piece in stream:
            match piece:
                case Words(text):
                    words.append(text)
                case Sound(audio):
                    sounds.append(audio)
                case Call():
                    calls.append(piece)
                case Finish():
                    finish = piece
    job.remember(calls, finish)
    text, audio = "".join(words), None
    if sounds and job.body.audio is not None:
        form = job.body.audio.format
        encoding = cast("Format", "pcm" if form == "pcm16" else form)
        data = await asyncio.to_thread(encode_all, sounds, encoding)
        audio_id = new_id("audio_")
        expires_at = job.memory.spoken.put(job.caller.id, audio_id, text)
        audio = SpokenAnswer(id=audio_id, data=base64.b64encode(data).decode(), expires_at=expires_at, transcript=text)
    message = AnswerMessage(
        content=text if audio is None and (text or not calls) else None,
        audio=audio,
        tool_calls=[
            ToolCall(id=call.id, function=CalledFunction(name=call.name, arguments=call.arguments)) for call in calls
        ]
        or None,
    )
    return ChatCompletion(
        id=job.id,
        created=job.created,
        model=job.name,
        choices=[Choice(message=message, finish_reason=finish.reason)],
        usage=Usage.of(finish),
    )


async def chunks(job: Job) -> AsyncGenerator[str, None]:
    """The answer as the ``data`` of Server-Sent Events."""
    began = False
    try:
        async with aclosing(_Chunks(job).all()) as stream:
            async for chunk in stream:
                began = True
                yield orjson.dumps(chunk).decode()
    except Exception as error:
        if not began:
            raise  # it can be answered with a status
        if not isinstance(error, SaysoError):
            log_broken(error)
        yield orjson.dumps({"error": error_detail(error)}).decode()
        return
    yield "[DONE]"


class _Chunks:
    """Forms the chunks of one stream."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._speaks = job.body.speaks
        self._usage = job.body.stream_options is not None and job.body.stream_options.include_usage
        self._audio_id = new_id("audio_")
        self._sound = encoder("pcm")
        self._words: list[str] = []
        self._calls: list[Call] = []

    async def all(self) -> AsyncGenerator[JsonObject, None]:
        began = False
        async with aclosing(self._job.pieces()) as stream:
            async for piece in stream:
                if not began:
                    began = True
                    yield self._chunk(self._opening())
                match piece:
                    case Words(text):
                        self._words.append(text)
                        yield self._chunk(self._audio(transcript=text) if self._speaks else {"content": text})
                    case Sound(audio):
                        if data := self._sound.feed(audio):
                            yield self._chunk(self._audio(data=base64.b64encode(data).decode()))
                    case Call():
                        yield self._chunk({"tool_calls": [self._call(piece)]})
                    case Finish():
                        for chunk in self._end(piece):
                            yield chunk

    def _opening(self) -> JsonObject:
        delta: JsonObject = {"role": "assistant", "content": None if self._speaks else "", "refusal": None}
        return delta | self._audio(transcript="") if self._speaks else delta

    def _end(self, finish: Finish) -> list[JsonObject]:
        found: list[JsonObject] = []
        if self._speaks and self._words:
            if data := self._sound.finish():
                found.append(self._chunk(self._audio(data=base64.b64encode(data).decode())))
            memory, words = self._job.memory, "".join(self._words)
            expires_at = memory.spoken.put(self._job.caller.id, self._audio_id, words)
            found.append(self._chunk(self._audio(expires_at=expires_at)))
        self._job.remember(self._calls, finish)
        found.append(self._chunk({}, finish.reason))
        if self._usage:
            found.append(self._body([]) | {"usage": Usage.of(finish).model_dump()})
        return found

    def _call(self, call: Call) -> JsonObject:
        self._calls.append(call)
        return {
            "index": len(self._calls) - 1,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }

    def _audio(self, **fields: Any) -> JsonObject:
        return {"audio": {"id": self._audio_id, **fields}}

    def _chunk(self, delta: JsonObject, reason: str | None = None) -> JsonObject:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return self._body([choice]) | ({"usage": None} if self._usage else {})

    def _body(self, choices: list[JsonObject]) -> JsonObject:
        job = self._job
        return {
            "id": job.id,
            "object": "chat.completion.chunk",
            "created": job.created,
            "model": job.name,
            "choices": choices,
        }
