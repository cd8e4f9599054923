"""A ``token2wav`` folder of the right layout with random weights, for tests and benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from sayso.items import Audio
from sayso.models.step_audio2.clips import DEFAULT_VOICES
from sayso.models.step_audio2.token2wav.campplus import write_stand_in
from sayso.models.step_audio2.token2wav.flow import Flow
from sayso.models.step_audio2.token2wav.hift import Vocoder
from sayso.models.step_audio2.token2wav.model import VOCODER_PREFIX
from sayso.models.step_audio2.token2wav.s3 import SpeechTokenizer
from sayso.models.step_audio2.token2wav.s3_onnx import write_weights
from sayso.models.step_audio2.token2wav.sizes import (
    TINY_FLOW,
    TINY_HIFT,
    TINY_S3,
    FlowSizes,
    HiftSizes,
    S3Sizes,
    flow_yaml,
)
from sayso.speech.audio import save

CLIP_SECONDS = 2.0
CLIP_RATE_HZ = 24_000


def write_random(folder: str | Path, *, tiny: bool, seed: int = 0) -> Path:
    """Write ``flow.yaml``, ``flow.pt``, ``hift.pt``, both ONNX files and two voice clips.

    ``campplus.onnx`` is a stand-in of the right inputs and outputs; ``speech_tokenizer_v2_25hz.onnx`` has the public
    file's names and shapes, from which it is loaded, but its graph cannot be run. The clips are hummed, not spoken.

    Args:
        folder: Made if it is not there.
        tiny: Small enough for tests on a CPU (under 3 MB); otherwise full size (some 1.2 GB).
        seed: The same seed writes the same weights.

    Returns:
        The folder.

    Raises:
        ModelMissingError: The package ``onnx`` is missing.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    flow_sizes, hift_sizes, s3_sizes = (
        (TINY_FLOW, TINY_HIFT, TINY_S3) if tiny else (FlowSizes(), HiftSizes(), S3Sizes())
    )
    (folder / "flow.yaml").write_text(flow_yaml(flow_sizes), encoding="utf-8")
    torch.save(randomised(Flow(flow_sizes), seed).state_dict(), folder / "flow.pt")
    vocoder = randomised(Vocoder(hift_sizes), seed + 1).state_dict()
    torch.save({VOCODER_PREFIX + name: value for name, value in vocoder.items()}, folder / "hift.pt")
    tokenizer = randomised(SpeechTokenizer(s3_sizes), seed + 2).state_dict()
    write_weights(tokenizer, folder / "speech_tokenizer_v2_25hz.onnx")
    write_stand_in(folder / "campplus.onnx", seed=seed)
    for voice, pitch_hz in zip(DEFAULT_VOICES, (210.0, 120.0), strict=True):
        save(folder / f"{voice.name}.wav", _hummed(pitch_hz, seed))
    return folder


def randomised(module: nn.Module, seed: int) -> nn.Module:
    """Fill every weight so that all of the network matters: gains near one, biases small, no zero layers."""
    generator = torch.Generator().manual_seed(seed)
    state = module.state_dict()
    for name, value in state.items():
        drawn = torch.randn(value.shape, generator=generator)
        if name.endswith("alpha") or (name.endswith("weight") and value.ndim == 1):
            state[name] = 1 + 0.1 * drawn
        elif name.endswith("original0"):
            state[name] = 0.5 + 0.05 * drawn.abs()
        elif name.endswith("bias") or value.ndim < 2:
            state[name] = 0.1 * drawn
        else:
            state[name] = drawn / value[0].numel() ** 0.5
    _calm(state)
    module.load_state_dict(state)
    return module.requires_grad_(False).eval()


def _calm(state: dict[str, torch.Tensor]) -> None:
    """Random weights, but a pitch around 120 Hz and samples that are not cut off."""
    if "f0_predictor.classifier.bias" in state:
        state["f0_predictor.classifier.bias"].fill_(120.0)
        state["f0_predictor.classifier.weight"] *= 600.0
        state["conv_post.parametrizations.weight.original0"] *= 0.5


def _hummed(pitch_hz: float, seed: int) -> Audio:
    time = np.arange(round(CLIP_SECONDS * CLIP_RATE_HZ)) / CLIP_RATE_HZ
    glide = np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))) / CLIP_RATE_HZ
    wave = sum(np.sin(2 * np.pi * k * glide) / k for k in range(1, 12))
    noise = np.random.default_rng(seed).standard_normal(len(time))
    loudness = 0.1 * (1 + np.sin(2 * np.pi * 2.3 * time))
    return Audio((loudness * wave + 0.003 * noise).astype(np.float32), CLIP_RATE_HZ)
