"""The routes of speech and text."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, File, Form, Request, UploadFile
from starlette.responses import PlainTextResponse, Response

from sayso.models.transcription import Task
from sayso.server.audio import speech, transcription
from sayso.server.audio.captions import Duration, Plain, Verbose, srt, verbose, vtt
from sayso.server.auth import CalledBy
from sayso.server.errors import InvalidRequest
from sayso.server.host import host_of
from sayso.server.streaming import EVENTS, Bytes, Events, Primed, while_connected
from sayso.speech.encode import MEDIA_TYPES

router = APIRouter(prefix="/v1/audio", tags=["audio"])

TextFormat: TypeAlias = Literal["json", "text", "srt", "verbose_json", "vtt"]
TEXTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The transcription in the form that was asked for.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}
TEXTS_OR_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The transcription in the form that was asked for, or, with `stream`, as Server-Sent Events.",
        "content": {"text/plain": {"schema": {"type": "string"}}, "text/event-stream": EVENTS},
    }
}
SOUND: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The sound, as it is made.",
        "content": {
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()},
            "text/event-stream": EVENTS,
        },
    }
}

SoundFile = Annotated[UploadFile, File(description="WAV, FLAC, MP3, OGG, Opus, M4A, MP4, WebM or AAC; up to an hour.")]
ModelName = Annotated[str, Form(max_length=200, description="The name of an agent: its model does it.")]
Prompt = Annotated[str, Form(max_length=2000, description="Words that may occur, where the model can use them.")]
Temperature = Annotated[float, Form(ge=0, le=1, description="Ignored: the likeliest words are written.")]
Language = Annotated[str | None, Form(max_length=35, description="BCP 47 tag of what is spoken.")]


@router.post(
    "/transcriptions", response_model=Plain | Verbose, response_model_exclude_none=True, responses=TEXTS_OR_EVENTS
)
async def create_transcription(
    request: Request,
    caller: CalledBy,
    file: SoundFile,
    model: ModelName,
    language: Language = None,
    prompt: Prompt = "",
    response_format: Annotated[TextFormat, Form()] = "json",
    temperature: Temperature = 0.0,
    granularities: Annotated[list[Literal["word", "segment"]] | None, Form(alias="timestamp_granularities[]")] = None,
    stream: Annotated[bool, Form()] = False,
) -> Any:
    """Write down what is said in a file."""
    wanted = granularities or ["segment"]
    task = Task(
        language=language or None,
        prompt=prompt,
        times=response_format in ("verbose_json", "srt", "vtt"),
        words=response_format == "verbose_json" and "word" in wanted,
    )
    job = await _job(request, caller, file, model, task)
    if not stream:
        return await _written(request, job, response_format, wanted)
    if response_format not in ("json", "text"):
        raise InvalidRequest(
            f"A stream cannot have the response_format {response_format!r}.",
            "Ask for json or text.",
            code="unsupported_value",
            param="response_format",
        )
    return Events(await while_connected(request, Primed(transcription.events(job)).start()))


@router.post("/translations", response_model=Plain | Verbose, response_model_exclude_none=True, responses=TEXTS)
async def create_translation(
    request: Request,
    caller: CalledBy,
    file: SoundFile,
    model: ModelName,
    prompt: Prompt = "",
    response_format: Annotated[TextFormat, Form()] = "json",
    temperature: Temperature = 0.0,
) -> Any:
    """Write down in English what is said in a file, in whatever language."""
    task = Task(translate=True, prompt=prompt, times=response_format in ("verbose_json", "srt", "vtt"))
    job = await _job(request, caller, file, model, task)
    return await _written(request, job, response_format, ["segment"])


@router.post("/speech", response_class=Response, responses=SOUND)
async def create_speech(body: speech.SpeechRequest, request: Request, caller: CalledBy) -> Response:
    """Speak a text."""
    job = speech.Job.of(host_of(request), caller, body)
    if body.stream_format == "sse":
        return Events(await while_connected(request, Primed(job.events()).start()))
    return Bytes(await while_connected(request, Primed(job.encoded()).start()), MEDIA_TYPES[body.response_format])


async def _job(request: Request, caller: CalledBy, file: UploadFile, model: str, task: Task) -> transcription.Job:
    host = host_of(request)
    return transcription.Job(host, caller, host.agent_name(model, caller), await file.read(), task)


async def _written(request: Request, job: transcription.Job, form: TextFormat, granularities: list[Any]) -> Any:
    found = await while_connected(request, transcription.whole(job))
    match form:
        case "json":
            return Plain(text=found.text, usage=Duration(seconds=round(found.seconds, 3)))
        case "verbose_json":
            return verbose(found, "translate" if job.task.translate else "transcribe", granularities)
        case "text":
            return PlainTextResponse(f"{found.text}\n")
        case "srt":
            return PlainTextResponse(srt(found.segments))
        case "vtt":
            return PlainTextResponse(vtt(found.segments), media_type="text/vtt")
