"""The whole model with random weights, held to replies that could be: see the package's docstring."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any
from unittest.mock import patch

from torch import Tensor

from benchmarks.step_audio.bench import SAMPLING, Bench
from benchmarks.step_audio.sound import OneVoice
from sayso.engine.grammar import CallGuide
from sayso.engine.masks import mask_of
from sayso.engine.request import Guide
from sayso.items import ToolSpec, UserInput
from sayso.models.base import ModelEvent, ModelRequest
from sayso.models.parts import Part
from sayso.models.step_audio2 import loaded
from sayso.models.step_audio2.interleave import AUDIO_IDS_PER_TEXT_ID
from sayso.models.step_audio2.loaded import Loaded, Options
from sayso.models.step_audio2.model import StepAudio2Model
from sayso.models.step_audio2.token2wav import Token2Wav, Voice
from sayso.models.step_audio2.tokenizer import Tokenizer

LINE = "Well then, here is what I have found out for you about that, and there is a little more to it."


class RandomModel(StepAudio2Model):
    """The model as it is, but for its weights and for what its replies are held to.

    Args:
        bench: Sizes, device and networks.
        sessions: Conversations at once.
        groups: Text ids of each reply.
        first_chunk_tokens: Of its sound.

    Attributes:
        call_lengths: How many ids each call took, its round's end included.
    """

    def __init__(self, bench: Bench, *, sessions: int, groups: int, first_chunk_tokens: int) -> None:
        super().__init__(
            Options(
                bench.folder,
                device=str(bench.device),
                dtype="bfloat16",
                sessions=sessions,
                max_length=bench.plan.max_length,
                temperature=SAMPLING.temperature,
                top_p=SAMPLING.top_p,
                repetition_penalty=SAMPLING.repetition_penalty,
                max_tokens=bench.plan.max_length,
                first_chunk_tokens=first_chunk_tokens,
            )
        )
        self.call_lengths: list[int] = []
        self._loaded = Part("step-audio", lambda: _loaded(bench, self.options, groups, self.call_lengths))

    async def load(self) -> None:
        """Make it now."""
        await self._loaded.get()


class Calling(RandomModel):
    """Calls a tool whenever the user has spoken, and answers in words where a result has come."""

    def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """See `VoiceModel`."""
        return super().respond(replace(request, force_call=isinstance(request.items[-1], UserInput)))


def _loaded(bench: Bench, options: Options, groups: int, call_lengths: list[int]) -> Held:
    """What `load_all` makes of networks that come from nowhere, with replies held."""
    networks, token2wav = bench.networks, bench.token2wav
    token2wav.warm_up("", first_chunk_tokens=options.first_chunk_tokens, together=options.sessions)
    with patch.object(loaded, "load", _giving(networks)), patch.object(Token2Wav, "load", _giving(token2wav)):
        found = loaded.load_all(options)
    tokenizer = found.tokenizer
    return Held(
        **{field.name: getattr(found, field.name) for field in fields(found) if field.init},
        codes=mask_of(range(tokenizer.audio_0, tokenizer.audio_pad), found.vocab_size),
        text=tokenizer.encode(LINE),
        groups=groups,
        call_lengths=call_lengths,
    )


def _giving(made: object) -> Callable[..., Any]:
    def load(*_: object, **__: object) -> object:
        return made

    return load


@dataclass(slots=True)
class Held(Loaded):
    """Everything of the model, and what its replies are held to.

    Attributes:
        codes: The mask that allows codes alone.
        text: Ids of what is spoken, again and again.
        groups: How many of them in a reply.
        call_lengths: Takes the number of ids of each call.
    """

    codes: Tensor | None = None
    text: Sequence[int] = ()
    groups: int = 1
    call_lengths: list[int] = field(default_factory=list[int])

    def voice(self, name: str | None) -> Voice:
        """The one voice."""
        return OneVoice.made

    def guide(self, tools: tuple[ToolSpec, ...], *, calls: bool, armed: bool) -> Guide | None:
        """A call by its grammar and nothing behind it, or so much speech and nothing behind it."""
        if not armed:
            assert self.codes is not None
            return HeldSpeech(self.tokenizer, self.text, self.groups, self.codes)
        grammar = Loaded.guide(self, tools, calls=calls, armed=True)
        assert isinstance(grammar, CallGuide)
        return HeldCall(self.tokenizer, grammar, self.call_lengths)


@dataclass(slots=True)
class HeldSpeech:
    """A `sayso.engine.Guide`: groups of a given text id and four codes that the network chooses, then the end."""

    tokenizer: Tokenizer
    text: Sequence[int]
    groups: int
    codes: Tensor
    _place: int = field(default=0, init=False)

    def constraint(self) -> int | Tensor | None:
        """What the next id may be."""
        group, slot = divmod(self._place, AUDIO_IDS_PER_TEXT_ID + 1)
        if group < self.groups:
            return self.codes if slot else self.text[group % len(self.text)]
        return self.tokenizer.eot if slot else self.tokenizer.tts_end

    def accept(self, token_id: int) -> None:
        """Take note of the id that was generated."""
        self._place += 1


@dataclass(slots=True)
class HeldCall:
    """A `sayso.engine.Guide`: one call, then the end."""

    tokenizer: Tokenizer
    call: CallGuide
    lengths: list[int]
    _count: int = field(default=0, init=False)

    def constraint(self) -> int | Tensor | None:
        """What the next id may be."""
        return self.call.constraint() if self.call.is_armed else self.tokenizer.eot

    def accept(self, token_id: int) -> None:
        """Take note of the id that was generated."""
        self.call.accept(token_id)
        self._count += 1
        if token_id == self.tokenizer.eot:
            self.lengths.append(self._count)
