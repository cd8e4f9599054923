"""A `VoiceModel` from three parts: a recogniser hears, a language model thinks and calls, a synthesiser speaks.

The parts overlap: speech is recognised while the language model still loads, and each sentence is spoken while the
next is decoded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from sayso.errors import UsageError
from sayso.items import Audio, Item, UserInput
from sayso.models.base import CallOpen, Done, ModelEvent, ModelRequest, Profile, Speech, Text, Transcript
from sayso.models.parts import Part
from sayso.models.transcription import PLAIN, Segment, Task, each_piece
from sayso.models.whisper import Recognition
from sayso.speech.tts.base import Synthesizer
from sayso.speech.tts.phrases import EarlyPhrases, chunks
from sayso.speech.tts.sentences import split_sentences
from sayso.streams import pushed, sole_exception

Push = Callable[[ModelEvent], None]
SENTENCE_PAUSE_S = 0.25
PHRASE_PAUSE_S = 0.06


class Recognizer(Protocol):
    """Turns speech into words."""

    def transcribe(self, audio: Audio, language: str | None = None) -> Recognition:
        """Recognise one utterance. Blocks."""
        ...

    def write_down(self, audio: Audio, task: Task) -> list[Segment]:
        """What was said in a piece of a longer sound, with times within it. Blocks."""
        ...


class LanguageModel(Protocol):
    """Answers a written conversation or calls a tool."""

    async def warm(self, request: ModelRequest) -> None:
        """Load, and prefill what all turns share."""
        ...

    def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Stream `Text` and calls; `Done` last."""
        ...

    async def aclose(self) -> None:
        """Free what it holds."""
        ...


class CascadeModel:
    """Hears, thinks and speaks with three models.

    Args:
        profile: What the whole can do.
        recognizer: Hears.
        language_model: Thinks.
        synthesizer: Speaks.
        language: BCP 47 tag that users speak; None: find out each time.
        interpreter: Writes down other languages than ``language``, and translates them into English; None: nobody.
    """

    def __init__(
        self,
        profile: Profile,
        recognizer: Part[Recognizer],
        language_model: LanguageModel,
        synthesizer: Part[Synthesizer],
        *,
        language: str | None = "en",
        interpreter: Part[Recognizer] | None = None,
    ) -> None:
        self.profile = profile
        self._recognizer = recognizer
        self._language_model = language_model
        self._synthesizer = synthesizer
        self._language = language
        self._interpreter = interpreter

    async def warm(self, request: ModelRequest) -> None:
        """Load the three parts side by side and prefill the prompt."""
        try:
            async with asyncio.TaskGroup() as parts:
                parts.create_task(self._recognizer.get())
                parts.create_task(self._synthesizer.get())
                parts.create_task(self._language_model.warm(request))
        except BaseExceptionGroup as group:
            raise sole_exception(group) from None

    def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Hear the last item if it was spoken, answer, and speak the answer sentence by sentence."""

        async def produce(push: Push) -> None:
            if request.speak:
                self._synthesizer.start()
            written = await self._hear(request, push)
            if written is None:
                push(Done())
                return
            if not request.speak:
                async with aclosing(self._language_model.respond(written)) as events:
                    async for event in events:
                        push(event)
                return
            async with asyncio.TaskGroup() as tasks:
                sentences: asyncio.Queue[str | None] = asyncio.Queue()
                speaking = tasks.create_task(self._speak(sentences, request.voice, push))
                done = await self._think(written, sentences, push)
                await speaking
                push(done)

        return pushed(produce)

    async def say(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak ``text``, sentence by sentence."""
        async with aclosing(self._voiced(_each(split_sentences(text)), voice, speed)) as pieces:
            async for piece in pieces:
                yield piece

    async def transcribe(self, audio: Audio, task: Task = PLAIN) -> AsyncGenerator[Segment, None]:
        """Write down ``audio`` piece by piece; other work of the recogniser gets its turn between two of them."""
        language = task.language or (None if task.translate else self._language)
        recognizer = self._recognizer if self._knows(language, task) else self._interpreter
        if recognizer is None:
            raise UsageError(
                f"This model writes down {self._language} alone.", "Use one for several languages: language=None."
            )
        recognizer.start()
        async with aclosing(each_piece(audio)) as found:
            async for start_s, piece in found:
                for segment in await recognizer.use(_write_down, piece, replace(task, language=language)):
                    language = language or segment.language
                    yield segment.later(start_s)

    async def aclose(self) -> None:
        """Free the parts."""
        self._recognizer.close()
        self._synthesizer.close()
        if self._interpreter is not None:
            self._interpreter.close()
        await self._language_model.aclose()

    def _knows(self, language: str | None, task: Task) -> bool:
        """Whether the recogniser of conversations will do."""
        if self._language is None:
            return True
        same = language is not None and language.split("-")[0].lower() == self._language.split("-")[0].lower()
        return same and not task.translate

    async def _hear(self, request: ModelRequest, push: Push) -> ModelRequest | None:
        """The request with words in place of sound; None where there were none."""
        last = request.items[-1] if request.items else None
        if not isinstance(last, UserInput) or last.text or last.audio is None:
            return request
        self._recognizer.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._language_model.warm(request))  # loads while we listen
            heard = await self._recognizer.use(_transcribe, last.audio, self._language)
            push(Transcript(heard.text, heard.language))
        items: tuple[Item, ...] = (*request.items[:-1], replace(last, text=heard.text, language=heard.language))
        return replace(request, items=items) if heard.text else None

    async def _think(self, request: ModelRequest, sentences: asyncio.Queue[str | None], push: Push) -> Done:
        """Pass the language model's events on and its sentences to the synthesiser."""
        splitter = EarlyPhrases()
        done = Done()
        async with aclosing(self._language_model.respond(request)) as events:
            async for event in events:
                if isinstance(event, Done):
                    done = event
                    continue
                push(event)
                if isinstance(event, Text):
                    _put(sentences, splitter.feed(event.text))
                elif isinstance(event, CallOpen):
                    _put(sentences, splitter.flush())  # what was said before a call is not held back by it
        _put(sentences, [*splitter.flush(), None])
        return done

    async def _speak(self, sentences: asyncio.Queue[str | None], voice: str | None, push: Push) -> None:
        async with aclosing(self._voiced(_taken(sentences), voice)) as pieces:
            async for piece in pieces:
                push(piece)

    async def _voiced(
        self, sentences: AsyncGenerator[str, None], voice: str | None, speed: float = 1.0
    ) -> AsyncGenerator[Speech, None]:
        """Speak sentences with pauses between them; the first in two phrases, so that it is heard early."""
        pause_s = 0.0
        async for sentence in sentences:
            for phrase in [sentence] if pause_s else chunks(sentence):
                audio = await self._synthesizer.use(_synthesize, phrase, voice, speed)
                if len(audio.samples):
                    yield Speech(after_pause(audio, pause_s), phrase)
                    pause_s = PHRASE_PAUSE_S
            pause_s = SENTENCE_PAUSE_S if pause_s else 0.0


async def _each(sentences: Iterable[str]) -> AsyncGenerator[str, None]:
    for sentence in sentences:
        yield sentence


async def _taken(queue: asyncio.Queue[str | None]) -> AsyncGenerator[str, None]:
    while (sentence := await queue.get()) is not None:
        yield sentence


def after_pause(audio: Audio, pause_s: float) -> Audio:
    """``audio`` behind that much silence."""
    from sayso.speech.audio import concatenate
    from sayso.speech.tts.base import silence

    return concatenate([silence(audio.sample_rate_hz, pause_s), audio]) if pause_s else audio


def _transcribe(recognizer: Recognizer, audio: Audio, language: str | None) -> Recognition:
    return recognizer.transcribe(audio, language)


def _write_down(recognizer: Recognizer, audio: Audio, task: Task) -> list[Segment]:
    return recognizer.write_down(audio, task)


def _synthesize(synthesizer: Synthesizer, text: str, voice: str | None, speed: float) -> Audio:
    return synthesizer.synthesize(text, voice, speed)


def _put(queue: asyncio.Queue[str | None], sentences: Iterable[str | None]) -> None:
    for sentence in sentences:
        queue.put_nowait(sentence)
