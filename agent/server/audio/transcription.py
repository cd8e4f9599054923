"""Speech in a file that a client sends, written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import orjson

from sayso.errors import SaysoError
from sayso.items import Audio, JsonObject
from sayso.models.transcription import Segment, Task, Transcribing, Transcription, joined, separator
from sayso.server.auth import Caller
from sayso.server.errors import InvalidRequest, error_detail, log_broken
from sayso.server.host import Host
from sayso.server.places import a_place
from sayso.speech.audio import load, resample
from sayso.streams import pushed

KEPT_RATE_HZ = 16_000
"""What recognisers hear: an hour of it takes 230 MB."""


@dataclass(frozen=True, slots=True)
class Job:
    """A file to write down.

    Attributes:
        name: The agent's whose model does it.
        data: The file.
        task: What to write.
    """

    host: Host
    caller: Caller
    name: str
    data: bytes
    task: Task

    def model(self) -> Transcribing:
        """The model.

        Raises:
            InvalidRequest: It cannot do that.
        """
        model = self.host.agents[self.name].voice_model
        profile = model.profile
        can = profile.translates if self.task.translate else profile.transcribes
        if not can or not isinstance(model, Transcribing):
            what = "translate" if self.task.translate else "transcribe"
            raise InvalidRequest(
                f"The model {profile.name} does not {what}.", "", code="unsupported_value", param="model"
            )
        return model

    async def sound(self) -> Audio:
        """The sound in the file.

        Raises:
            InvalidRequest: It cannot be read.
        """
        try:
            return await asyncio.to_thread(_read, self.data)
        except SaysoError as error:
            raise InvalidRequest(Exception.__str__(error), error.hint, param="file") from None

    def segments(self) -> AsyncGenerator[Audio | Segment, None]:
        """The sound, then what was said in it."""

        async def produce(push: Callable[[Audio | Segment], None]) -> None:
            model = self.model()
            async with a_place(self.host, self.caller):
                audio = await self.sound()
                self.host.spend(self.caller, audio.seconds)
                push(audio)
                async with aclosing(model.transcribe(audio, self.task)) as stream:
                    async for segment in stream:
                        push(segment)

        return pushed(produce)


async def whole(job: Job) -> Transcription:
    """The transcription.

    Raises:
        SaysoError: It failed.
    """
    seconds, segments = 0.0, list[Segment]()
    async with aclosing(job.segments()) as stream:
        async for found in stream:
            if isinstance(found, Audio):
                seconds = found.seconds
            else:
                segments.append(found)
    return joined(segments, seconds)


async def events(job: Job) -> AsyncGenerator[str, None]:
    """The transcription as the ``data`` of Server-Sent Events: a delta a segment."""
    text, began = "", False
    try:
        async with aclosing(job.segments()) as stream:
            async for found in stream:
                if isinstance(found, Audio):
                    continue
                delta = separator(text, found.text) + found.text
                text, began = text + delta, True
                yield _data({"type": "transcript.text.delta", "delta": delta})
    except Exception as error:
        if not began:
            raise  # it can be answered with a status
        if not isinstance(error, SaysoError):
            log_broken(error)
        yield _data({"error": error_detail(error)})
        return
    yield _data({"type": "transcript.text.done", "text": text})


def _data(event: JsonObject) -> str:
    return orjson.dumps(event).decode()


def _read(data: bytes) -> Audio:
    return resample(load(data), KEPT_RATE_HZ)
