"""The rows of what hears and what speaks, each alone."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks import token2wav
from benchmarks.report import Row
from benchmarks.step_audio.bench import SPEECH_SECONDS, Bench, Figure, speech, timed
from benchmarks.step_audio.decoding import repeated
from sayso.models.step_audio2.features import pieces, to_mono16k
from sayso.models.step_audio2.token2wav import CODEBOOK_SIZE, Token2Wav, Voice
from sayso.models.step_audio2.token2wav.flow import Flow
from sayso.models.step_audio2.token2wav.hift import Vocoder
from sayso.models.step_audio2.token2wav.random_weights import randomised
from sayso.models.step_audio2.token2wav.sizes import (
    FRAMES_PER_TOKEN,
    MEL_CHANNELS,
    SPEAKER_CHANNELS,
    TINY_FLOW,
    TINY_HIFT,
    TOKEN_RATE_HZ,
    FlowSizes,
    HiftSizes,
)
from sayso.models.step_audio2.token2wav.voices import VoiceMaker
from sayso.speech.audio import Source

ENCODE_MS = 15.0
REAL_TIME_FACTOR = 0.05
FIRST_CHUNK_MS = 50.0
SMALL_CHUNK = 10
VOICE_SECONDS = 4


class OneVoice(Token2Wav):
    """Speaks in one made-up voice, whatever clip is named: preparing clips takes networks that are not measured."""

    made = Voice(
        "made up",
        np.arange(VOICE_SECONDS * TOKEN_RATE_HZ, dtype=np.int64) * 61 % CODEBOOK_SIZE,
        np.random.default_rng(0)
        .standard_normal((FRAMES_PER_TOKEN * VOICE_SECONDS * TOKEN_RATE_HZ, MEL_CHANNELS))
        .astype(np.float32),
        np.random.default_rng(1).standard_normal(SPEAKER_CHANNELS).astype(np.float32),
    )

    def voice(self, clip: Source | Voice) -> Voice:
        """The one voice."""
        return self.made


def random_token2wav(device: torch.device, *, tiny: bool) -> Token2Wav:
    """Token to wave with random weights, in float32, as the model runs it."""
    flow = Flow(TINY_FLOW if tiny else FlowSizes())
    vocoder = Vocoder(TINY_HIFT if tiny else HiftSizes())
    randomised(flow, 0).to(device, torch.float32)
    randomised(vocoder, 1).to(device, torch.float32)
    if device.type == "cuda":
        flow.use_fixed_shapes()
    return OneVoice(flow, vocoder.fused(), VoiceMaker(_nothing, _nothing, "", None), {})


def _nothing(x: torch.Tensor) -> torch.Tensor:
    return x


def encode(bench: Bench) -> list[Figure]:
    """What the end of a short utterance waits for: log-mel, encoder and adaptor."""
    sound = list(pieces(to_mono16k(speech(0).samples)))
    encoder = bench.networks.encoder
    times = repeated(lambda: encoder.encode(sound), bench.device, bench.plan.repeats)
    return [timed(f"{SPEECH_SECONDS:g} s of speech to embeddings", times, ENCODE_MS)]


def speaking(bench: Bench) -> list[Figure]:
    """Streams of sound: the first chunk, then chunks of one second."""
    model = bench.token2wav
    figures: list[Figure] = []
    for first in (token2wav.CHUNK, SMALL_CHUNK):
        model.warm_up("", first_chunk_tokens=first)
        made = token2wav.first_sound(model, bench.device, first, bench.plan.repeats)
        figures.append(_figure(f"{made['what']} and {token2wav.LOOKED_AT} looked at", made, FIRST_CHUNK_MS))
    for streams in bench.plan.rows:
        token2wav.steady(model, bench.device, streams, 1)  # graphs are made here
        made = token2wav.steady(model, bench.device, streams, bench.plan.repeats)
        figures.append(_figure(f"one second of each of {streams} streams together", made, None))
        if streams == 1:
            factor = made["real-time factor"]
            figures.append(Figure("real-time factor of one stream", factor, unit="", target=REAL_TIME_FACTOR))
    return figures


def _figure(what: str, made: Row, target: float | None) -> Figure:
    more = {"max ms": made["ms max"], "sound s each": made["sound s each"]}
    return Figure(what, made["ms p50"], target=target, more=more)
