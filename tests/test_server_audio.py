"""Transcriptions, translations and speech, through OpenAI's own client, over real connections."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("openai", reason="the package openai is not installed")

import openai

from sayso import Agent
from sayso.errors import ModelError
from sayso.models.base import Speech
from sayso.models.transcription import Segment, Task, Transcribing, Word
from sayso.server.app import create_app
from sayso.server.audio.captions import srt, vtt
from sayso.server.audio.speech import LINE_CHARS, lines
from sayso.server.settings import Limits, ServerSettings
from sayso.server.testing import serving
from sayso.speech.audio import load
from sayso.testing import ScriptedModel, run, tone

QUESTION = Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav"
SEGMENTS = (
    Segment("What time", 0.0, 0.5, "en", (Word(" What", 0.0, 0.2), Word(" time", 0.2, 0.5)), -0.25, 0.01),
    Segment("is it?", 0.6, 1.25, "en", (Word(" is", 0.6, 0.8), Word(" it?", 0.8, 1.25))),
)


class Ears(ScriptedModel):
    """Hears the same in every sound, and breaks behind it where it is told to."""

    def __init__(self, *, breaks_after: int | None = None, translates: bool = True, **more: Any) -> None:
        super().__init__(**more)
        self.tasks: list[Task] = []
        self.breaks_after = breaks_after
        self.profile = replace(self.profile, transcribes=True, translates=translates)

    async def transcribe(self, audio: Any, task: Task = Task()) -> Any:  # noqa: B008
        self.tasks.append(task)
        for at, segment in enumerate(SEGMENTS):
            if at == self.breaks_after:
                raise ModelError("The model broke.")
            yield segment if task.words else replace(segment, words=())


def served(main: Callable[[Any], Awaitable[None]], model: Any, **settings: Any) -> None:
    """Run ``main`` with a client of a server whose agent has ``model``."""

    async def serve() -> None:
        app = create_app({"bakery": Agent(model=model)}, ServerSettings(warm=False, **settings))
        async with (
            asyncio.timeout(30),
            serving(app) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        ):
            await main(client)

    run(serve(), virtual=False)


async def write_down(client: Any, **more: Any) -> Any:
    return await client.audio.transcriptions.create(**{"model": "bakery", "file": QUESTION, **more})


def test_ears_are_ears() -> None:
    assert isinstance(Ears(), Transcribing)


def test_a_transcription_in_every_form() -> None:
    model = Ears()

    async def main(client: Any) -> None:
        plain = await write_down(client, language="en", prompt="clock", temperature=0.2)
        assert plain.text == "What time is it?"
        assert plain.usage.seconds == pytest.approx(load(QUESTION).seconds, abs=0.01)
        assert await write_down(client, response_format="text") == "What time is it?\n"
        assert (await write_down(client, response_format="srt")).startswith(
            "1\n00:00:00,000 --> 00:00:00,500\nWhat time\n\n2\n00:00:00,600 --> 00:00:01,250\nis it?\n"
        )
        assert (await write_down(client, response_format="vtt")).startswith(
            "WEBVTT\n\n00:00:00.000 --> 00:00:00.500\nWhat time\n"
        )
        verbose = await write_down(client, response_format="verbose_json")
        assert (verbose.language, verbose.task, verbose.words) == ("en", "transcribe", None)
        assert [(part.start, part.end, part.text) for part in verbose.segments][1] == (0.6, 1.25, "is it?")
        assert verbose.segments[0].avg_logprob == -0.25
        both = await write_down(client, response_format="verbose_json", timestamp_granularities=["word", "segment"])
        assert [(word.word, word.start) for word in both.words][:2] == [("What", 0.0), ("time", 0.2)]
        assert len(both.segments) == 2

    served(main, model)
    assert model.tasks[0] == Task(language="en", prompt="clock")
    assert [task.words for task in model.tasks] == [False] * 5 + [True]
    assert [task.times for task in model.tasks] == [False, False, True, True, True, True]


def test_a_translation() -> None:
    model = Ears()

    async def main(client: Any) -> None:
        body = {"model": "bakery", "response_format": "verbose_json"}
        files = {"file": ("question.wav", QUESTION.read_bytes())}
        headers = {"Content-Type": "multipart/form-data"}
        found: Any = await client.post(
            "/audio/translations", body=body, files=files, cast_to=object, options={"headers": headers}
        )
        assert (found["task"], found["text"]) == ("translate", "What time is it?")

    served(main, model)
    assert model.tasks == [Task(translate=True, times=True)]


def test_a_transcription_streams() -> None:
    async def main(client: Any) -> None:
        events = [event async for event in await write_down(client, stream=True)]
        assert [event.type for event in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
        assert "".join(event.delta for event in events[:-1]) == events[-1].text == "What time is it?"

    served(main, Ears())


def test_a_transcription_that_breaks() -> None:
    async def main(client: Any) -> None:
        with pytest.raises(openai.APIError, match="The model broke"):
            async for _ in await write_down(client, stream=True):
                pass
        with pytest.raises(openai.APIStatusError, match="The model broke") as told:
            await write_down(client)
        assert told.value.status_code == 503

    served(main, Ears(breaks_after=1))


def test_what_cannot_be_written_down() -> None:
    async def main(client: Any) -> None:
        cases: list[tuple[dict[str, Any], str, str]] = [
            ({"file": b"no sound at all"}, "file", "holds text, not sound"),
            ({"file": ("a.wav", b"")}, "file", "empty"),
            ({"response_format": "diarized_json"}, "response_format", "Input should be 'json'"),
            ({"temperature": 7}, "temperature", "less than or equal to 1"),
            ({"stream": True, "response_format": "srt"}, "response_format", "A stream cannot have"),
        ]
        for given, param, message in cases:
            with pytest.raises(openai.BadRequestError, match=message) as told:
                await write_down(client, **given)
            assert told.value.param == param
        with pytest.raises(openai.NotFoundError, match="There are: bakery"):
            await write_down(client, model="nobody")
        with pytest.raises(openai.BadRequestError, match="does not translate"):
            await client.post(
                "/audio/translations",
                body={"model": "whisper-1"},
                files={"file": ("question.wav", QUESTION.read_bytes())},
                cast_to=object,
                options={"headers": {"Content-Type": "multipart/form-data"}},
            )

    served(main, Ears(translates=False))


def test_a_model_without_ears() -> None:
    async def main(client: Any) -> None:
        with pytest.raises(openai.BadRequestError, match="scripted does not transcribe"):
            await write_down(client)

    served(main, ScriptedModel())


def test_a_file_over_the_limit() -> None:
    async def main(client: Any) -> None:
        with pytest.raises(openai.APIStatusError, match="over 10000 bytes") as told:
            await write_down(client)
        assert told.value.status_code == 413

    served(main, Ears(), max_body_bytes=10_000)


def test_speech_is_counted_and_limited() -> None:
    async def main(client: Any) -> None:
        await write_down(client)
        with pytest.raises(openai.RateLimitError, match="minutes of speech"):
            await write_down(client)
        with pytest.raises(openai.RateLimitError, match="minutes of speech"):
            await client.audio.speech.create(model="bakery", voice="alloy", input="Hello.")

    served(main, Ears(), anonymous_limits=Limits(minutes_per_day=0.01))


def test_captions_cannot_be_broken_out_of() -> None:
    said = [Segment("a --> b\n\n2\n<b>c</b> &", 3599.9996, 3725.5)]
    assert srt(said) == "1\n01:00:00,000 --> 01:02:05,500\na -> b 2 <b>c</b> &\n"
    assert vtt(said).endswith("\na -&gt; b 2 &lt;b&gt;c&lt;/b&gt; &amp;\n")
    assert (srt([]), vtt([])) == ("", "WEBVTT\n")


# Speech

LINE = "The shop opens at nine."
SECONDS = len(LINE) * 0.06


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("wav", "audio/wav"),
        ("mp3", "audio/mpeg"),
        ("opus", "audio/ogg"),
        ("flac", "audio/flac"),
        ("aac", "audio/aac"),
        ("pcm", "audio/pcm"),
    ],
)
def test_speech_in_every_format(form: Any, kind: str) -> None:
    async def main(client: Any) -> None:
        answer = await client.audio.speech.create(model="bakery", voice="tone", input=LINE, response_format=form)
        seconds = len(answer.content) / 48_000 if form == "pcm" else load(answer.content).seconds
        assert seconds == pytest.approx(SECONDS, abs=0.1)
        assert answer.response.headers["content-type"] == kind

    served(main, ScriptedModel())


def test_speech_at_another_pace() -> None:
    class Paced(ScriptedModel):
        async def say(self, text: str, voice: str | None = None, speed: float = 1.0) -> Any:
            self.said.append(f"{speed:g}")
            yield Speech(tone("x" * round(len(text) / speed)), text)

    async def main(client: Any) -> None:
        for speed in (0.25, 0.5, 1.5, 4.0):
            answer = await client.audio.speech.create(
                model="bakery", voice="alloy", input=LINE, response_format="wav", speed=speed
            )
            assert load(answer.content).seconds == pytest.approx(SECONDS / speed, rel=0.05)

    served(main, ScriptedModel())
    paced = Paced()
    paced.profile = replace(paced.profile, paces=True)
    served(main, paced)
    assert paced.said == ["0.5", "0.5", "1.5", "2"]


def test_speech_comes_while_it_is_made() -> None:
    class Slow(ScriptedModel):
        heard: asyncio.Event

        async def say(self, text: str, voice: str | None = None) -> Any:
            yield Speech(tone("a second or so..."))
            await self.heard.wait()
            yield Speech(tone("and more"))

    model = Slow()

    async def main(client: Any) -> None:
        model.heard = asyncio.Event()
        async with client.audio.speech.with_streaming_response.create(
            model="bakery", voice="alloy", input=LINE, response_format="pcm"
        ) as answer:
            size = 0
            async for piece in answer.iter_bytes():
                size += len(piece)
                model.heard.set()
        assert size > 48_000

    served(main, model)


def test_a_listener_who_leaves_ends_the_speech() -> None:
    class Endless(ScriptedModel):
        ended: asyncio.Event

        async def say(self, text: str, voice: str | None = None) -> Any:
            try:
                while True:
                    yield Speech(tone("on and on"))
                    await asyncio.sleep(0.01)
            finally:
                self.ended.set()

    model = Endless()

    async def main(client: Any) -> None:
        model.ended = asyncio.Event()
        async with client.audio.speech.with_streaming_response.create(
            model="bakery", voice="alloy", input=LINE, response_format="pcm"
        ) as answer:
            await anext(answer.iter_bytes())
        await model.ended.wait()

    served(main, model)


def test_speech_as_events() -> None:
    async def main(client: Any) -> None:
        async with client.audio.speech.with_streaming_response.create(
            model="bakery", voice="alloy", input=LINE, response_format="pcm", stream_format="sse"
        ) as answer:
            text = "".join([piece async for piece in answer.iter_text()])
        events = [json.loads(data) for data in re.findall(r"^data: (.*)$", text, re.M)]
        sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
        assert len(sound) / 48_000 == pytest.approx(SECONDS, abs=0.01)
        assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
        assert events[-1]["type"] == "speech.audio.done"

    served(main, ScriptedModel())


def test_speech_that_breaks_half_way_breaks_the_connection() -> None:
    class Broken(ScriptedModel):
        async def say(self, text: str, voice: str | None = None) -> Any:
            yield Speech(tone("Hello there."))
            raise ModelError("The model broke.")

    async def main(client: Any) -> None:
        with pytest.raises(openai.APIConnectionError):
            await client.audio.speech.create(model="bakery", voice="alloy", input=LINE, response_format="pcm")

    served(main, Broken())


def test_what_cannot_be_said() -> None:
    class Mute(ScriptedModel):
        async def say(self, text: str, voice: str | None = None) -> Any:
            return
            yield

    async def main(client: Any) -> None:
        cases: list[tuple[dict[str, Any], str, str]] = [
            ({"voice": "nobody"}, "voice", "no voice 'nobody'. Voices are: tone"),
            ({"input": ""}, "input", "at least 1 character"),
            ({"input": "x" * 4097}, "input", "at most 4096"),
            ({"input": "..."}, "input", "nothing in this text"),
            ({"speed": 5}, "speed", "less than or equal to 4"),
            ({"response_format": "ogg"}, "response_format", "Input should be 'wav'"),
        ]
        for given, param, message in cases:
            with pytest.raises(openai.BadRequestError, match=message) as told:
                await client.audio.speech.create(**{"model": "bakery", "voice": "alloy", "input": LINE, **given})
            assert told.value.param == param

    served(main, Mute())


def test_a_model_that_speaks_no_lines() -> None:
    async def main(client: Any) -> None:
        with pytest.raises(openai.BadRequestError, match="speaks no given text"):
            await client.audio.speech.create(model="bakery", voice="alloy", input=LINE)

    served(main, ScriptedModel(speaks=False))


def test_long_texts_are_spoken_in_whole_sentences() -> None:
    text = "This is one sentence of a long text. " * 40
    found = list(lines(text))
    assert "".join(found).strip() == text.strip()
    assert all(len(line) <= LINE_CHARS for line in found)
    assert all(line.strip().endswith(".") for line in found)


@pytest.mark.models
def test_what_the_embedded_model_says_it_understands(model_path: Any) -> None:
    from sayso.models.embedded import embedded_model

    for name in ("qwen2.5-coder-1.5b", "whisper-tiny.en", "whisper-base", "kokoro-82m", "kokoro-voices"):
        model_path(name)
    text = "Good morning. The bakery opens at nine on Friday."

    def words(said: str) -> str:
        return re.sub(r"[^a-z ]", "", said.lower().replace("9", "nine"))

    async def main(client: Any) -> None:
        spoken = await client.audio.speech.create(model="tts-1", voice="nova", input=text, speed=0.9)
        file = ("morning.mp3", spoken.content)
        plain = await write_down(client, file=file)
        assert words(plain.text) == words(text)
        timed = await write_down(
            client, file=file, response_format="verbose_json", timestamp_granularities=["word", "segment"]
        )
        assert words(" ".join(word.word for word in timed.words)) == words(text)
        friday = timed.words[-1]
        assert timed.duration - 1.2 < friday.start < friday.end <= timed.duration
        assert " --> " in await write_down(client, file=file, response_format="srt")
        translated: Any = await client.post(
            "/audio/translations",
            body={"model": "whisper-1", "response_format": "json"},
            files={"file": file},
            cast_to=object,
            options={"headers": {"Content-Type": "multipart/form-data"}},
        )
        assert "bakery" in translated["text"]

    served(main, embedded_model())
