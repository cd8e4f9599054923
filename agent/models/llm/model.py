"""The language model of the embedded agent: a written conversation in, words or a call out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from sayso.errors import UsageError
from sayso.items import ToolCall, ToolSpec, UserInput
from sayso.models.base import Done, ModelEvent, ModelRequest
from sayso.models.call_parser import CONSTRAINED, CONSTRAINED_PREFIX, CallParser
from sayso.models.llm.answer_form import FormReader, answer_form
from sayso.models.llm.constrained import Answer
from sayso.models.llm.grammar import turn_grammar
from sayso.models.llm.nodes import Grammar, Lit, Seq, lark
from sayso.models.llm.prompt import fitting, opening, prefix, render
from sayso.models.llm.runner import LlamaRunner, Sampling, Truncated, Usage
from sayso.models.llm.states import StateCache
from sayso.models.parts import Part

KNOWN_GRAMMARS = 200
_PROBE = "@@@"


@dataclass(frozen=True, slots=True)
class LlmOptions:
    """How to run the model.

    Attributes:
        path: The GGUF file.
        threads: Threads that compute; None: one a core.
        context_tokens: How much of a conversation fits.
        states: Folder for evaluated prompts, so that the next process starts with them; None: none are kept.
        language: Of the prompts.
        temperature: 0 takes the likeliest token.
        jump: Put text that is certain into the prompt. Off only to measure what that is worth.
        repack: See `LlamaRunner.load`.
    """

    path: Path
    threads: int | None = None
    context_tokens: int = 4096
    states: Path | None = None
    language: str = "en"
    temperature: float = 0.0
    jump: bool = True
    repack: bool = True


class LlamaModel:
    """Answers `ModelRequest`s with `Text` or one call, then `Done`. Serves any number of sessions and event loops."""

    def __init__(self, options: LlmOptions) -> None:
        self.options = options
        self._runner = Part("llm-load", self._load)
        self._warm: str | None = None
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._known_grammars: dict[str, bool] = {}
        self.usage = Usage()

    def _load(self) -> LlamaRunner:
        options = self.options
        return LlamaRunner.load(
            options.path,
            threads=options.threads,
            context_tokens=options.context_tokens,
            states=options.states,
            repack=options.repack,
        )

    async def runner(self) -> LlamaRunner:
        """The loaded model.

        Raises:
            ModelMissingError: Its file or package is not here.
        """
        return await self._runner.get()

    async def warm(self, request: ModelRequest) -> None:
        """Load the model; evaluate the prompt that all turns share, or bring it back from disk; then the conversation.

        Idempotent. Between two turns it reads what the last one added, so that the next one need not.
        """
        await self._ready(request)
        if not request.items:
            return
        runner, start, language = await self.runner(), self._opening(request), self.options.language
        items = await fitting(start, request.items, runner.context_tokens, runner.count_tokens, language)
        await runner.prefill(prefix(start, items, language))

    async def _ready(self, request: ModelRequest) -> None:
        runner = await self.runner()
        async with self._one_at_a_time():
            await self._read_prompt(runner, request)

    async def _read_prompt(self, runner: LlamaRunner, request: ModelRequest) -> None:
        shared = prefix(self._opening(request))
        if self._warm == shared:
            return
        await self._usable_grammar(runner, request)
        cache = StateCache(runner)
        if not await cache.restore(shared):
            await runner.prefill(shared)
            await cache.save(shared)
        self._warm = shared

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Stream one round; the last event is `Done`.

        Raises:
            ModelError: The model failed.
            ModelMissingError: Its file or package is not here.
        """
        await self._ready(request)
        runner = await self.runner()
        options = self.options
        start = self._opening(request)
        items = await fitting(start, request.items, runner.context_tokens, runner.count_tokens, options.language)
        answer = Answer(
            runner,
            render(start, items, options.language),
            await self._usable_grammar(runner, request),
            jump=options.jump,
            sampling=Sampling(
                options.temperature if request.temperature is None else request.temperature, request.seed
            ),
            max_tokens=request.max_tokens,
        )
        parser, form, truncated = CallParser(CONSTRAINED, CONSTRAINED_PREFIX), FormReader(), False
        try:
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    for event in form.read(parser.feed(piece)):
                        yield event
        except Truncated:
            truncated = True  # words stand as they are; a call closes without arguments and is refused
        for event in form.read(parser.close()):
            yield event
        self.usage = answer.usage
        yield Done(
            prompt_tokens=answer.usage.prompt_tokens,
            completion_tokens=answer.usage.completion_tokens,
            truncated=truncated,
        )

    async def aclose(self) -> None:
        """Free the model. Idempotent."""
        self._runner.close(_close)
        self._warm = None

    def _one_at_a_time(self) -> asyncio.Lock:
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def _opening(self, request: ModelRequest) -> str:
        tools = (*request.tools, *answer_form(request.answer_schema))
        return opening(request.instructions, tools, self.options.language)

    async def _usable_grammar(self, runner: LlamaRunner, request: ModelRequest) -> Grammar:
        """The grammar of the answer, without what llama.cpp does not know (which makes it ignore a whole grammar)."""
        tools = callable_now(request)
        speech = not (request.force_call and tools)
        if speech and request.answer_schema is not None:
            tools, speech = (*tools, *answer_form(request.answer_schema)), False
        try:
            grammar = turn_grammar(tools, speech=speech)
            text = lark(grammar)
        except RecursionError:
            raise UsageError(
                "The tools cannot be made a grammar: a schema refers to itself without end, or has too many fields.",
                "Make the schemas of the tools smaller.",
            ) from None
        if self._known_grammars and "%json" not in text:
            return grammar
        if len(self._known_grammars) > KNOWN_GRAMMARS:  # tools may come from clients
            self._known_grammars.clear()
        if text not in self._known_grammars:  # the first one also makes the engine read the vocabulary: about 0.5 s
            probe = Grammar(Seq((Lit(_PROBE), grammar.start)), grammar.rules)
            first = await runner.complete(".", grammar=lark(probe), max_tokens=1)
            self._known_grammars[text] = bool(first) and _PROBE.startswith(first[:1])
        return grammar if self._known_grammars[text] else turn_grammar(tools, speech=speech, strict_strings=False)


def _close(runner: LlamaRunner) -> None:
    runner.close()


def callable_now(request: ModelRequest) -> tuple[ToolSpec, ...]:
    """The tools that a round may call: none where calls are over, and none once this turn has called one.

    A model of this size, shown the result of a call, now and then makes the call again or makes another that nobody
    asked for; a write would be done twice. The price: what needs two calls is answered for one of them.
    """
    for item in reversed(request.items):
        if isinstance(item, UserInput):
            break
        if isinstance(item, ToolCall):
            return ()
    return request.tools if request.allow_calls else ()
