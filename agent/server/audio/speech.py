"""Text that a client sends, spoken."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import orjson
from pydantic import BaseModel, ConfigDict, Field

from sayso.errors import SaysoError
from sayso.items import Audio, JsonObject
from sayso.models.base import Pacing, Speech, VoiceModel
from sayso.models.cascade import after_pause
from sayso.server.auth import Caller
from sayso.server.errors import InvalidRequest, error_detail, log_broken
from sayso.server.host import Host
from sayso.server.places import a_place
from sayso.server.voices import voice_for
from sayso.speech.encode import Format, encoder
from sayso.speech.stretch import MAX_SPEED, MIN_SPEED, Stretcher
from sayso.streams import pushed

LINE_CHARS = 400
"""So much is given to the model at once, in whole sentences."""
PAUSE_S = 0.25
"""Between two of them."""
SLOWEST, FASTEST = 0.5, 2.0
"""What models that can pace themselves do; the rest is stretched."""


class VoiceId(BaseModel):
    """A voice, by its name."""

    id: str


class SpeechRequest(BaseModel):
    """The body. ``instructions`` are ignored."""

    model_config = ConfigDict(strict=True)

    model: Annotated[str, Field(max_length=200, description="The name of an agent: its model speaks.")]
    input: Annotated[str, Field(min_length=1, max_length=4096)]
    voice: Annotated[str, Field(max_length=200)] | VoiceId
    response_format: Format = "mp3"
    speed: Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"


@dataclass(frozen=True, slots=True)
class Job:
    """A text to speak, checked.

    Attributes:
        voice: As the model calls it.
    """

    host: Host
    caller: Caller
    body: SpeechRequest
    model: VoiceModel
    voice: str | None

    @classmethod
    def of(cls, host: Host, caller: Caller, body: SpeechRequest) -> Job:
        """Check a request.

        Raises:
            NotFound: There is no such agent.
            InvalidRequest: It cannot speak, or not so.
        """
        agent = host.agents[host.agent_name(body.model, caller)]
        model = agent.voice_model
        if not model.profile.says_lines:
            raise InvalidRequest(f"The model {model.profile.name} speaks no given text.", param="model")
        wanted = body.voice if isinstance(body.voice, str) else body.voice.id
        voice = voice_for(wanted, agent, "voice")
        return cls(host, caller, body, model, voice if voice is not None else agent.voice)

    def encoded(self) -> AsyncGenerator[bytes, None]:
        """The file, piece by piece."""

        async def produce(push: Callable[[bytes], None]) -> None:
            async with a_place(self.host, self.caller):
                writer, seconds = await asyncio.to_thread(encoder, self.body.response_format), 0.0
                async with aclosing(self._sound()) as sounds:
                    async for audio in sounds:
                        seconds += audio.seconds
                        self.host.spend(self.caller, audio.seconds)
                        if data := await asyncio.to_thread(writer.feed, audio):
                            push(data)
                if not seconds:
                    raise InvalidRequest("There is nothing in this text that can be said.", param="input")
                push(await asyncio.to_thread(writer.finish))

        return pushed(produce)

    async def events(self) -> AsyncGenerator[str, None]:
        """The file as the ``data`` of Server-Sent Events."""
        began = False
        try:
            async with aclosing(self.encoded()) as pieces:
                async for piece in pieces:
                    began = True
                    yield _data({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
        except Exception as error:
            if not began:
                raise  # it can be answered with a status
            if not isinstance(error, SaysoError):
                log_broken(error)
            yield _data({"error": error_detail(error)})
            return
        yield _data({"type": "speech.audio.done", "usage": dict.fromkeys(_USAGE, 0)})

    async def _sound(self) -> AsyncGenerator[Audio, None]:
        """The text as it sounds at the pace that was asked for."""
        speed, pace = self.body.speed, 1.0
        if self.model.profile.paces:
            pace = min(max(speed, SLOWEST), FASTEST)
        stretcher: Stretcher | None = None
        for at, line in enumerate(lines(self.body.input)):
            begins = at > 0
            async with aclosing(self._say(line, pace)) as pieces:
                async for piece in pieces:
                    audio = after_pause(piece.audio, PAUSE_S / pace) if begins else piece.audio
                    begins = False
                    if stretcher is None and speed != pace:
                        stretcher = Stretcher(audio.sample_rate_hz, speed / pace)
                    yield audio if stretcher is None else stretcher.feed(audio)
        if stretcher is not None:
            yield stretcher.finish()

    def _say(self, line: str, pace: float) -> AsyncGenerator[Speech, None]:
        if pace == 1.0:
            return self.model.say(line, self.voice)
        return cast("Pacing", self.model).say(line, self.voice, pace)


_USAGE = ("input_tokens", "output_tokens", "total_tokens")


def lines(text: str) -> Iterator[str]:
    """Whole sentences of ``text``, as many at once as `LINE_CHARS` hold."""
    from sayso.speech.tts.sentences import split_sentences

    line = ""
    for sentence in split_sentences(text):
        if line and len(line) + len(sentence) > LINE_CHARS:
            yield line
            line = ""
        line += sentence
    if line.strip():
        yield line


def _data(event: JsonObject) -> str:
    return orjson.dumps(event).decode()
