"""`Reader`: the ids of one round as words, calls and sound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sayso.items import Audio
from sayso.models.base import ModelEvent, Speech, Text
from sayso.models.call_dialects import STEP_AUDIO
from sayso.models.call_parser import CallParser
from sayso.models.parts import Part
from sayso.models.step_audio2.chat import Opening
from sayso.models.step_audio2.interleave import Splitter
from sayso.models.step_audio2.loaded import Loaded
from sayso.models.step_audio2.token2wav import SAMPLE_RATE_HZ
from sayso.models.step_audio2.token2wav.stream import Stream
from sayso.models.step_audio2.tokenizer import Tokenizer


class Reader:
    """Turns a round's ids into events, and its codes into sound.

    What was said before a call is heard before the call is told; what is said behind it is heard behind it.

    Args:
        tokenizer: For the ids.
        part: Makes the sound.
        open_voice: Begins a stream of sound: for what is said before a call, and again behind it.
        push: Takes the events.
        opening: How the message began.
        speak: Whether sound is wanted; what a model says nevertheless is not made.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        part: Part[Loaded],
        open_voice: Callable[[], Awaitable[Stream]],
        push: Callable[[ModelEvent], None],
        opening: Opening,
        *,
        speak: bool = True,
    ) -> None:
        self._tokenizer, self._part, self._open_voice, self._push = tokenizer, part, open_voice, push
        self._splitter = Splitter(tokenizer, speaking=opening == "speak", in_call=opening == "call")
        self._words, self._written = tokenizer.decoder(), tokenizer.decoder()
        self._calls = CallParser(STEP_AUDIO)
        self._speak_codes = speak
        self._codes: asyncio.Queue[int | None] = asyncio.Queue()
        self._voice: Stream | None = None
        self._speaking: asyncio.Task[None] | None = None
        if opening == "speak":
            self._begin_speech()  # the voice is opened while the prompt is computed
        elif opening == "call":
            self._parse("<tool_call>")

    async def feed(self, token_id: int) -> None:
        """The next id."""
        part = self._splitter.feed(token_id)
        if part is None:
            return
        match part.kind:
            case "code" if self._speak_codes:
                self._begin_speech()
                if self._speaking is not None and self._speaking.done():
                    await self._speaking  # it failed, which is told now and not when all is generated
                self._codes.put_nowait(part.value)
            case "spoken":
                self._say(self._words.feed(token_id))
            case "written" | "call":
                if token_id == self._tokenizer.tool_call:
                    await self._end_speech()
                self._parse(self._written.feed(token_id))
            case _:
                pass

    async def finish(self) -> None:
        """The round is over: the rest of everything."""
        self._say(self._words.finish())
        self._parse(self._written.finish())
        for event in self._calls.close():
            self._push(event)
        await self._end_speech()

    async def aclose(self) -> None:
        """Stop speaking, whatever is left."""
        if self._voice is not None:
            self._voice.cancel()
        if self._speaking is not None:
            self._speaking.cancel()
            await asyncio.gather(self._speaking, return_exceptions=True)

    def _say(self, text: str) -> None:
        if text:
            self._push(Text(text))

    def _parse(self, text: str) -> None:
        for event in self._calls.feed(text):
            self._push(event)

    def _begin_speech(self) -> None:
        if self._speaking is None:
            self._speaking = asyncio.create_task(self._speak())

    async def _end_speech(self) -> None:
        if self._speaking is not None:
            self._codes.put_nowait(None)
            await self._speaking
            self._speaking = None

    async def _speak(self) -> None:
        self._voice = voice = await self._open_voice()
        done = False
        while not done:
            codes = [await self._codes.get()]
            while not self._codes.empty():
                codes.append(self._codes.get_nowait())
            done = None in codes
            own = [code for code in codes if code is not None]
            # Not in the model's one thread: what several sessions say at the same time is made together.
            audio = await asyncio.to_thread(sound, await self._part.get(), voice, own, done)
            if audio is not None:
                self._push(Speech(audio))


def sound(loaded: Loaded, stream: Stream, codes: list[int], last: bool) -> Audio | None:
    """The samples that are due after these codes. Blocks."""
    import numpy as np

    found = [stream.feed(codes)] if codes else []
    if last:
        found.append(stream.flush())
    samples = np.concatenate(found) if found else np.zeros(0, np.float32)
    return Audio(samples, SAMPLE_RATE_HZ) if len(samples) else None
