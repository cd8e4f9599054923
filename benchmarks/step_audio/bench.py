"""What the rows share: device and sizes, networks that are made once, and how a figure is written down."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.report import Row
from sayso.engine.request import Sampling
from sayso.items import Audio
from sayso.models.step_audio2.config import CONFIG_FILE, StepAudio2Config
from sayso.models.step_audio2.networks import Networks
from sayso.models.step_audio2.random_weights import TOKENIZER_FILES, random_networks
from sayso.models.step_audio2.token2wav import Token2Wav

SAMPLING = Sampling(temperature=0.7, top_p=0.9, repetition_penalty=1.05, seed=0)
"""As the model is used."""
SPEECH_SECONDS = 3.0
SPEECH_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        what: What was measured.
        p50: The median, or the only figure.
        p95: Exceeded by one in twenty.
        unit: Of both.
        target: What the median is to reach; None: there is no target.
        target_p95: The same for ``p95``.
        at_least: More is better.
        more: Further figures, by name.
    """

    what: str
    p50: float | None
    p95: float | None = None
    unit: str = "ms"
    target: float | None = None
    target_p95: float | None = None
    at_least: bool = False
    more: dict[str, Any] = field(default_factory=dict[str, Any])

    def row(self, name: str) -> Row:
        """As it is kept in the file."""
        return {
            "row": name,
            "what": self.what,
            "p50": _rounded(self.p50),
            "p95": _rounded(self.p95),
            "unit": self.unit,
            "target": self.target,
            "target p95": self.target_p95,
            "reached": self._reached(),
            "more": {key: _rounded(value) if isinstance(value, float) else value for key, value in self.more.items()},
        }

    def _reached(self) -> bool | None:
        pairs = [(self.p50, self.target), (self.p95, self.target_p95)]
        known = [(value, bar) for value, bar in pairs if value is not None and bar is not None]
        if not known:
            return None
        return all(value >= bar if self.at_least else value <= bar for value, bar in known)


def timed(what: str, times_s: Sequence[float], target: float | None = None, **kept: Any) -> Figure:
    """A figure of times, in milliseconds."""
    return Figure(what, quantile(times_s, 0.5) * 1e3, quantile(times_s, 0.95) * 1e3, target=target, **kept)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of ``values`` do not exceed."""
    return float(np.quantile(values, share))


def failed(what: str, error: Exception) -> Figure:
    """A line that says what went wrong."""
    return Figure(f"{what}: {type(error).__name__}: {error}"[:300], None, unit="failed")


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        repeats: Of what is short.
        ids: Generated where the decoder alone is measured.
        contexts: Lengths of the prompts before them.
        prefill: Positions.
        copied_bytes: To measure the bandwidth with.
        max_length: Positions of a conversation.
        uncounted: Turns that come before those that are measured.
        turns: Where turns are measured.
        grown: Turns of the conversation that grows.
        groups: Text ids of a reply, with four audio ids each.
        short: The same in the conversation that grows: all of it has to stay in the cache.
        sessions: Numbers of them that speak at once.
        rows: Numbers of rows that draw at once.
    """

    repeats: int
    ids: int
    contexts: tuple[int, ...]
    prefill: int
    copied_bytes: int
    max_length: int
    uncounted: int
    turns: int
    grown: int
    groups: int
    short: int
    sessions: tuple[int, ...]
    rows: tuple[int, ...]


FULL = Plan(20, 256, (128, 4096), 1000, 4 << 30, 8192, 2, 20, 50, 20, 10, (1, 2, 4, 8, 16, 32), (1, 8, 32))
TINY = Plan(2, 4, (16, 40), 20, 1 << 20, 1024, 0, 1, 3, 7, 4, (2,), (1, 2))


@dataclass
class Bench:
    """What is measured on.

    Args:
        device: Where.
        tiny: Tiny networks and few repeats.
        tokenizer: The folder with the checkpoint's tokenizer files.
        seconds: Of speech in each session, where many speak.
        scratch: An empty folder.
    """

    device: torch.device
    tiny: bool
    tokenizer: Path
    seconds: float
    scratch: Path

    @property
    def plan(self) -> Plan:
        """How much is measured."""
        return TINY if self.tiny else FULL

    @property
    def config(self) -> StepAudio2Config:
        """The sizes of encoder and decoder."""
        return StepAudio2Config.tiny() if self.tiny else StepAudio2Config.mini()

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, where a row does not say another."""
        return torch.bfloat16

    @cached_property
    def folder(self) -> Path:
        """All of a checkpoint but weights and sound: config and tokenizer."""
        (self.scratch / CONFIG_FILE).write_text(json.dumps(self.config.to_json()), encoding="utf-8")
        for name in TOKENIZER_FILES:
            if (self.tokenizer / name).is_file():
                shutil.copy(self.tokenizer / name, self.scratch)
        return self.scratch

    @cached_property
    def networks(self) -> Networks:
        """Encoder and decoder, made on the device."""
        return random_networks(self.config, self.device, self.dtype)

    @cached_property
    def token2wav(self) -> Token2Wav:
        """What speaks."""
        from benchmarks.step_audio.sound import random_token2wav

        return random_token2wav(self.device, tiny=self.tiny)

    @cached_property
    def bandwidth(self) -> float:
        """Bytes a second that the device reads and writes in a large copy."""
        from benchmarks.step_audio.decoding import copy_bandwidth

        return copy_bandwidth(self.device, self.plan.copied_bytes, self.plan.repeats)

    def ids(self, count: int) -> list[int]:
        """Random ids of text."""
        return np.random.default_rng(0).integers(0, 150_000, count).tolist()

    def free(self) -> None:
        """Let go of what rows left behind."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def speech(seed: int, seconds: float = SPEECH_SECONDS) -> Audio:
    """Noise that swells and fades like syllables: what a user says takes the same time whatever it is."""
    time = np.arange(round(seconds * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return Audio((0.05 * noise * (1 + np.sin(2 * np.pi * 4 * time))).astype(np.float32), SPEECH_RATE_HZ)
