"""Step-Audio 2 as a `VoiceModel`: sound in, interleaved text and sound out, calls in the same stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Final

from sayso.engine.cache import keys_of
from sayso.engine.request import GREEDY, Generation, Guide, Prompt, Sampling, Usage
from sayso.errors import UsageError
from sayso.items import Audio, UserInput
from sayso.models.base import Done, ModelEvent, ModelRequest, Profile, Speech, Thinking
from sayso.models.base import Transcript as Heard
from sayso.models.parts import Part
from sayso.models.step_audio2.chat import Opening
from sayso.models.step_audio2.clips import DEFAULT_VOICES, voices_of
from sayso.models.step_audio2.features import PIECE_SECONDS
from sayso.models.step_audio2.interleave import CODES_PER_SECOND, SpokenLine, stop_ids
from sayso.models.step_audio2.loaded import Loaded, Options, load_all
from sayso.models.step_audio2.plain import check_plain
from sayso.models.step_audio2.reader import Reader, sound
from sayso.models.step_audio2.thought import Thought
from sayso.models.step_audio2.token2wav import SAMPLE_RATE_HZ, Voice
from sayso.models.step_audio2.token2wav.stream import Stream
from sayso.models.step_audio2.transcript import Transcript
from sayso.models.transcription import PLAIN, Segment, Task, each_piece
from sayso.prompts import load as load_prompt
from sayso.streams import pushed

Push = Callable[[ModelEvent], None]
TOKENS_PER_LETTER: Final = 8
"""More than any line takes: a letter is at most 1.5 ids of text, with four of sound behind each."""
MAX_TRANSCRIPT_TOKENS: Final = 256


class StepAudio2Model:
    """Answers `ModelRequest`s from a checkpoint of Step-Audio 2. Serves any number of sessions and event loops.

    What it generated is kept by its exact ids, and a conversation's cache with it: a round computes what is new alone.

    Args:
        options: Where the checkpoint is and how to run it.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        voices = voices_of(options.folder) or DEFAULT_VOICES
        kind = options.variant
        self.profile = Profile(
            name="step-audio-2-mini" if kind == "chat" else f"step-audio-2-mini-{kind}",
            hears=True,
            speaks=True,
            says_lines=True,
            constrains_calls=True,
            forces_calls=kind != "base",
            keeps_audio=True,
            rolls_back=True,
            thinks=kind == "think",
            transcribes=kind != "base",
            overhears_s=PIECE_SECONDS,
            sample_rate_hz=SAMPLE_RATE_HZ,
            voices=tuple(voice.name for voice in voices),
            voice_facts=voices,
            languages=("zh", "en", "ja", "yue"),
            context_tokens=options.max_length,
        )
        self._loaded = Part("step-audio", lambda: load_all(options))
        self._talks: list[tuple[str, Transcript]] = []  # conversations, the one used last at the end
        self._names = (f"talk {number}" for number in count(1))

    async def warm(self, request: ModelRequest) -> None:
        """Load the checkpoint, and compute the prompt that all of an agent's conversations share. Idempotent."""
        self._check(request)
        loaded = await self._loaded.get()
        prefix = self._new_talk(loaded, request).prefix.ids
        if prefix:
            await loaded.engine.warm([prefix])

    def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Stream one round; the last event is `Done`.

        Raises:
            UsageError: The checkpoint cannot do what is asked: Base has no roles and no tools.
            ModelMissingError: Files or packages are not here.
            ModelError: The model failed.
        """

        async def produce(push: Push) -> None:
            self._check(request)
            loaded = await self._loaded.get()
            last = request.items[-1] if request.items else None
            if request.transcribe and isinstance(last, UserInput) and last.audio is not None and not last.text:
                push(Heard(await self._recognise(loaded, last.audio)))
            await self._answer(loaded, request, push)

        return pushed(produce)

    async def overhear(self, audio: Audio) -> float:
        """Encode a piece of what a user is saying, if one is complete; see `sayso.models.base.Overhearing`."""
        return await self._loaded.use(_overhear, audio)

    async def say(self, text: str, voice: str | None = None) -> AsyncGenerator[Speech, None]:
        """Speak ``text`` as it stands: its ids are forced, the sound is the model's."""
        loaded = await self._loaded.get()
        ids = loaded.tokenizer.encode(text)
        guide = SpokenLine(loaded.tokenizer, ids, loaded.vocab_size)
        limit = TOKENS_PER_LETTER * len(text) + 5 * 2 * CODES_PER_SECOND
        request = self._generation(loaded, next(self._names), [loaded.chat.line(text)], guide, max_tokens=limit)
        stream = await self._open_voice(voice)
        words = text
        try:
            async for codes in _codes(loaded, request):
                if audio := await asyncio.to_thread(sound, loaded, stream, codes, False):
                    yield Speech(audio, words)
                    words = ""
            if audio := await asyncio.to_thread(sound, loaded, stream, [], True):
                yield Speech(audio, words)
        finally:
            stream.cancel()
            loaded.engine.release(request.session)

    async def transcribe(self, audio: Audio, task: Task = PLAIN) -> AsyncGenerator[Segment, None]:
        """Write down ``audio`` piece by piece; within a piece it knows no times, and it does not tell the language.

        Raises:
            UsageError: It does not translate.
        """
        if task.translate:
            raise UsageError(f"{self.profile.name} writes down what is said, and translates nothing.", "Use Whisper.")
        loaded = await self._loaded.get()
        async with aclosing(each_piece(audio)) as found:
            async for start_s, piece in found:
                if text := await self._recognise(loaded, piece):
                    yield Segment(text, start_s, start_s + piece.seconds, task.language)

    async def aclose(self) -> None:
        """Free the model. Idempotent."""
        if self._loaded.is_loaded:
            await (await self._loaded.get()).engine.aclose()
        self._loaded.close()
        self._talks.clear()

    async def _answer(self, loaded: Loaded, request: ModelRequest, push: Push) -> None:
        name, talk = self._talk(loaded, request)
        opening = _opening(request)
        thinks = self._thinks(request) and opening != "call"
        segments = talk.prompt(request.items, "think" if thinks else opening, loaded.room)
        guide = await self._loaded.use(_guide, request, opening)  # a new grammar may take a second to compile
        prompt = await self._loaded.use(Loaded.prompt, segments)
        generation = self._generation(
            loaded,
            name,
            prompt,
            guide,
            shared_tokens=len(talk.prefix.ids),
            sampling=self._sampling(request),
            max_tokens=request.max_tokens,
        )
        thought = Usage()
        if thinks:
            generation, thought = await self._think(loaded, generation, request, push)
        ids: list[int] = []
        stream = loaded.engine.generate(generation)
        open_voice = partial(self._open_voice, request.voice)
        reader = Reader(loaded.tokenizer, self._loaded, open_voice, push, opening, speak=request.speak)
        try:
            async with aclosing(reader):
                async for token_id in stream:
                    ids.append(token_id)
                    await reader.feed(token_id)
                await reader.finish()
        finally:
            await stream.aclose()
            talk.generated(ids, opening)
        push(
            Done(
                thought.prefilled_tokens + stream.usage.prefilled_tokens,
                thought.generated_tokens + stream.usage.generated_tokens,
                truncated=len(ids) >= generation.max_tokens and ids[-1] not in generation.stop_ids,
                token_ids=(*loaded.chat.begin(opening), *ids),
            )
        )

    async def _think(
        self, loaded: Loaded, generation: Generation, request: ModelRequest, push: Push
    ) -> tuple[Generation, Usage]:
        """The first pass: what the second one is to go on from, and what it took.

        Both are of one session: the second finds the prompt and the thought in the cache, and the next round, whose
        prompt has no thought, rolls it back.
        """
        thought = Thought(loaded.tokenizer)
        room = loaded.max_length - len(keys_of(generation.prompt))
        budget = min(request.thinking, room // 2)  # an answer has to follow
        usage = Usage()
        if budget > 0:
            stream = loaded.engine.generate(replace(generation, guide=loaded.thought_guide(), max_tokens=budget))
            async with aclosing(stream):
                async for token_id in stream:
                    _tell(thought.feed(token_id), push)
                    if thought.over:
                        break
            usage = stream.usage
        _tell(thought.finish(), push)
        answer = thought.answer(speak=request.speak)
        return replace(generation, prompt=[*generation.prompt, answer]), usage

    def _thinks(self, request: ModelRequest) -> bool:
        return self.profile.thinks and request.thinking > 0

    def _check(self, request: ModelRequest) -> None:
        if self.options.variant == "base":
            check_plain(request)

    def _new_talk(self, loaded: Loaded, request: ModelRequest) -> Transcript:
        instructions = request.instructions
        if self._thinks(request):
            instructions = f"{instructions}\n{load_prompt('step_audio2/think', 'zh').template}".lstrip("\n")
        return Transcript(loaded.chat, instructions, request.tools)

    def _talk(self, loaded: Loaded, request: ModelRequest) -> tuple[str, Transcript]:
        """The conversation that these items go on with, or a new one."""
        fresh = self._new_talk(loaded, request)
        same = [talk for talk in self._talks if talk[1].prefix.handle == fresh.prefix.handle]
        best = max(same, key=lambda talk: talk[1].common(request.items), default=None)
        found = best if best is not None and best[1].common(request.items) else (next(self._names), fresh)
        self._talks = [talk for talk in self._talks if talk is not found]
        self._talks.append(found)
        while len(self._talks) > self.options.sessions:
            loaded.engine.release(self._talks.pop(0)[0])
        return found

    def _sampling(self, request: ModelRequest | None = None) -> Sampling:
        options, seed = self.options, None if request is None else request.seed
        asked = None if request is None else request.temperature
        temperature = options.temperature if asked is None else asked
        return Sampling(temperature, options.top_p, options.repetition_penalty, seed)

    def _generation(
        self,
        loaded: Loaded,
        session: str,
        prompt: Prompt,
        guide: Guide | None,
        *,
        shared_tokens: int = 0,
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
    ) -> Generation:
        return Generation(
            session=session,
            prompt=prompt,
            shared_tokens=shared_tokens,
            sampling=sampling or self._sampling(),
            max_tokens=max_tokens or self.options.max_tokens,
            stop_ids=frozenset(stop_ids(loaded.tokenizer)),
            guide=guide,
        )

    async def _open_voice(self, voice: str | None) -> Stream:
        loaded = await self._loaded.get()
        prepared = await asyncio.to_thread(loaded.voice, voice)  # a new one takes a second, and others are speaking
        return await self._loaded.use(_open_stream, prepared, self.options.first_chunk_tokens)

    async def _recognise(self, loaded: Loaded, audio: Audio) -> str:
        """What was said, as text: a request of its own, outside the conversation."""
        talk = Transcript(loaded.chat, load_prompt("step_audio2/recognise", "zh").template)
        prompt = await self._loaded.use(Loaded.prompt, talk.prompt([UserInput(audio=audio)], "write"))
        guide = loaded.guide((), calls=False, armed=False)
        request = self._generation(
            loaded, next(self._names), prompt, guide, sampling=GREEDY, max_tokens=MAX_TRANSCRIPT_TOKENS
        )
        stream = loaded.engine.generate(request)
        try:
            ids = [token_id async for token_id in stream]
        finally:
            await stream.aclose()
            loaded.engine.release(request.session)
        return loaded.tokenizer.decode(i for i in ids if loaded.tokenizer.is_text(i)).strip()


async def _codes(loaded: Loaded, request: Generation) -> AsyncGenerator[list[int], None]:
    """The codes of a generation, one at a time as they come."""
    tokenizer = loaded.tokenizer
    stream = loaded.engine.generate(request)
    try:
        async for token_id in stream:
            if tokenizer.is_code(token_id):
                yield [token_id - tokenizer.audio_0]
    finally:
        await stream.aclose()


def _overhear(loaded: Loaded, audio: Audio) -> float:
    return loaded.sounds.overhear(audio)


def _tell(words: str, push: Push) -> None:
    if words:
        push(Thinking(words))


def _guide(loaded: Loaded, request: ModelRequest, opening: Opening) -> Guide | None:
    return loaded.guide(request.tools, calls=request.allow_calls, armed=opening == "call")


def _opening(request: ModelRequest) -> Opening:
    if request.force_call and request.allow_calls and request.tools:
        return "call"
    return "speak" if request.speak else "write"


def _open_stream(loaded: Loaded, voice: Voice, first_chunk_tokens: int) -> Stream:
    return loaded.token2wav.stream(voice, first_chunk_tokens=first_chunk_tokens)
