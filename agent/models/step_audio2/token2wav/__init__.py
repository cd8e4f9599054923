"""From speech tokens and a prompt voice to sound: flow matching to a mel, then a vocoder; whole or streaming."""

from __future__ import annotations

from sayso.models.step_audio2.token2wav.model import Token2Wav
from sayso.models.step_audio2.token2wav.random_weights import write_random
from sayso.models.step_audio2.token2wav.sizes import CODEBOOK_SIZE, SAMPLE_RATE_HZ, TOKEN_RATE_HZ
from sayso.models.step_audio2.token2wav.stream import Feed, Stream
from sayso.models.step_audio2.token2wav.voices import Voice

__all__ = [
    "CODEBOOK_SIZE",
    "SAMPLE_RATE_HZ",
    "TOKEN_RATE_HZ",
    "Feed",
    "Stream",
    "Token2Wav",
    "Voice",
    "write_random",
]
