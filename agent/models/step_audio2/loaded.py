"""The networks of a checkpoint, loaded and put together: what hears, what thinks, what speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch

from sayso.engine.grammar import Banned, CallGrammar, Grammars
from sayso.engine.masks import all_but, mask_of
from sayso.engine.request import Generation, Guide, Piece, Sampling, Vectors
from sayso.engine.torch_engine import TorchEngine
from sayso.errors import SaysoError, UsageError
from sayso.items import ToolSpec
from sayso.models.step_audio2.chat import ChatFormat, Segment, Sound
from sayso.models.step_audio2.checkpoint import load
from sayso.models.step_audio2.clips import no_voice, read_clip, voices_of
from sayso.models.step_audio2.config import Kind, StepAudio2Config, kind_of
from sayso.models.step_audio2.decoder import CachedDecoder, KvCache
from sayso.models.step_audio2.encoder import AudioEncoder
from sayso.models.step_audio2.interleave import stop_ids
from sayso.models.step_audio2.plain import PlainFormat
from sayso.models.step_audio2.sounds import Sounds
from sayso.models.step_audio2.token2wav import Token2Wav, Voice
from sayso.models.step_audio2.tokenizer import Tokenizer
from sayso.settings import cache_root

Dtype: TypeAlias = Literal["bfloat16", "float16", "float32"]

_WORKING_BYTES = 2 * 10**9
"""For CUDA graphs, workspaces of libraries and whatever lies between two layers: an estimate."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a checkpoint.

    Attributes:
        folder: The public checkpoint as it is: config, shards, tokenizer files, ``token2wav``.
        kind: Which one it is; None: see `sayso.models.step_audio2.config.kind_of`.
        device: ``cuda``, ``cuda:1``, ``cpu``; empty: CUDA where there is one.
        dtype: Of weights and arithmetic.
        int8: Round the decoder's matrices to 8 bits (24 GB cards).
        sessions: Conversations whose cache is kept on the device.
        max_length: Positions of each.
        temperature: As in StepFun's examples, like the next two.
        top_p: See `sayso.engine.request.Sampling`.
        repetition_penalty: See `sayso.engine.request.Sampling`.
        max_tokens: Of one round.
        first_chunk_tokens: Speech codes in the first piece of sound; fewer are heard sooner.
    """

    folder: Path
    kind: Kind | None = None
    device: str = ""
    dtype: Dtype = "bfloat16"
    int8: bool = False
    sessions: int = 8
    max_length: int = 8192
    temperature: float = 0.7
    top_p: float = 0.9
    repetition_penalty: float = 1.05
    max_tokens: int = 2048
    first_chunk_tokens: int = 25

    @property
    def variant(self) -> Kind:
        """Which checkpoint it is."""
        return self.kind or kind_of(self.folder)


@dataclass(slots=True)
class Loaded:
    """Everything of one checkpoint, on its device.

    Attributes:
        tokenizer: Text to ids and back.
        chat: The chat format.
        engine: Generates.
        encoder: Hears; used in one thread.
        token2wav: Speaks; a thread for each stream, so that those of several sessions are run together.
        grammars: Compiles the tools' schemas.
        vocab_size: Width of the logits.
        max_length: Positions of a conversation's cache.
        room: Of those, how many a prompt may take: the rest is for the answer.
        clips: The voices; the first is the default.
        sounds: What was heard; used in one thread.
    """

    tokenizer: Tokenizer
    chat: ChatFormat
    engine: TorchEngine
    encoder: AudioEncoder
    token2wav: Token2Wav
    grammars: Grammars
    vocab_size: int
    max_length: int
    room: int
    clips: Mapping[str, Path]
    sounds: Sounds = field(init=False)
    _grammar: tuple[tuple[ToolSpec, ...], CallGrammar] | None = None
    _voices: dict[str, Voice] = field(default_factory=dict[str, Voice])

    def __post_init__(self) -> None:
        """Nothing was heard yet."""
        self.sounds = Sounds(self.encoder)

    def prompt(self, segments: list[Segment]) -> list[Piece]:
        """A prompt for the engine; sounds that are new are encoded here. Blocks."""
        start, end = [self.tokenizer.audio_start], [self.tokenizer.audio_end]
        found: list[Piece] = []
        for segment in segments:
            if isinstance(segment, Sound):
                for name, values in self.sounds.heard(segment.audio):
                    found += [start, Vectors(values, name, self.tokenizer.audio_patch), end]
            else:
                found.append(segment)
        return found

    def thought_guide(self) -> Guide:
        """What holds a thought to words: no call and no speech begins in it."""
        ids = (*range(self.tokenizer.text_size), *stop_ids(self.tokenizer))
        return Banned(mask_of(ids, self.vocab_size))

    def guide(self, tools: tuple[ToolSpec, ...], *, calls: bool, armed: bool) -> Guide | None:
        """What holds a round's calls to the tools: their grammar, or none at all."""
        if not (calls and tools):
            return Banned(all_but([self.tokenizer.tool_call], self.vocab_size))
        if self._grammar is None or self._grammar[0] is not tools:
            alternatives = [(f"function\n{tool.name}\n", tool.parameters) for tool in tools]
            self._grammar = tools, self.grammars.compile(alternatives)
        return self._grammar[1].guide(armed=armed)

    def voice(self, name: str | None) -> Voice:
        """A voice by name, prepared; the default one for None. Blocks for a second where it is new; from any thread.

        Raises:
            UsageError: There is no such voice.
            AudioError: Its clip cannot be used.
            ModelMissingError: There is no voice at all, or what prepares voices is missing.
        """
        if not self.clips:
            raise no_voice()
        name = next(iter(self.clips)) if name is None else name
        if name not in self.clips:
            raise UsageError(
                f"Step-Audio 2 has no voice {name!r}, and mixes none.", f"There are: {', '.join(self.clips)}."
            )
        if name not in self._voices:
            self._voices[name] = self.token2wav.voice(read_clip(self.clips[name]))
        return self._voices[name]


def load_all(options: Options) -> Loaded:
    """Load a checkpoint. Blocks for as long as its files take to read.

    Raises:
        ModelMissingError: A file or package is missing.
        UsageError: A file is not what it should be, or there is no such device, or too little memory on it.
    """
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if options.dtype not in get_args(Dtype):
        raise UsageError(f"Options has dtype={options.dtype!r}.", f"Use {', '.join(get_args(Dtype))}.")
    dtype: torch.dtype = getattr(torch, options.dtype)
    tokenizer = Tokenizer.load(options.folder)
    config = StepAudio2Config.read(options.folder).decoder
    slots, length = options.sessions + 1, min(options.max_length, config.max_positions)
    reserve_bytes = slots * length * KvCache.bytes_per_position(config, dtype) + _beside(options.folder, device)
    networks = load(options.folder, device, dtype, int8=options.int8, reserve_bytes=reserve_bytes)
    cache = KvCache.allocate(config, slots=slots, max_length=length, device=device, dtype=dtype)
    network = CachedDecoder(networks.decoder, cache)
    token2wav = Token2Wav.load(
        options.folder / "token2wav", device, torch.float32, voices_folder=cache_root() / "step-audio-voices"
    )
    loaded = Loaded(
        tokenizer=tokenizer,
        chat=PlainFormat(tokenizer) if options.variant == "base" else ChatFormat(tokenizer),
        engine=TorchEngine(network),
        encoder=networks.encoder,
        token2wav=token2wav,
        grammars=Grammars(
            tokenizer.text_pieces,  # no control token inside a call, though its spelling may fit into a string
            network.vocab_size,
            open_id=tokenizer.tool_call,
            close_id=tokenizer.tool_call_end,
        ),
        vocab_size=network.vocab_size,
        max_length=length,
        room=length - min(options.max_tokens, length // 4),
        clips={voice.name: voice.clip for voice in voices_of(options.folder) if voice.clip is not None},
    )
    if device.type == "cuda":  # now, and not while somebody waits for an answer
        rehearse(loaded, options)
    return loaded


def rehearse(loaded: Loaded, options: Options) -> None:
    """Hear, think and speak a little for nobody: CUDA graphs are captured and kernels loaded then. Blocks for seconds.

    Raises:
        ModelError: It does not work, such as where there is no memory left.
    """

    async def think() -> None:
        try:
            await loaded.engine.prepare()
            sampling = Sampling(options.temperature, options.top_p, options.repetition_penalty, seed=0)
            guide = loaded.guide((), calls=False, armed=False)
            asked = Generation("rehearsal", [[0] * 8], sampling=sampling, max_tokens=4, guide=guide)
            _ = [token_id async for token_id in loaded.engine.generate(asked)]
            loaded.engine.release("rehearsal")
        except BaseException:
            await loaded.engine.aclose()  # its thread would hold the weights
            raise

    loaded.encoder.encode([np.zeros(16_000, np.float32)])
    asyncio.run(think())
    with suppress(SaysoError):  # a voice that cannot be prepared is told of when somebody wants to hear it
        voice = loaded.voice(None)
        loaded.token2wav.warm_up(voice, first_chunk_tokens=options.first_chunk_tokens, together=options.sessions)


def _beside(folder: Path, device: torch.device) -> int:
    """Bytes that are needed beside the language model and its cache: token to wave, and what computing takes."""
    weights = (folder / "token2wav" / name for name in ("flow.pt", "hift.pt"))
    found = sum(path.stat().st_size for path in weights if path.is_file())
    return found + (_WORKING_BYTES if device.type == "cuda" else 0)
