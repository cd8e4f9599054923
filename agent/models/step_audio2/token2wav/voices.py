"""Prompt voices: a clip of somebody speaking becomes what the flow model needs to speak like them.

Preparing a clip takes the speech tokenizer and the speaker network and some seconds on a CPU, so the result is kept on
disk under the content of the clip and of the networks' files; a file there that does not read is made again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sayso.errors import AudioError, UsageError
from sayso.items import Audio
from sayso.models.step_audio2.token2wav.acoustics import SPEECH_RATE_HZ, log_mel, resample, voice_mel
from sayso.models.step_audio2.token2wav.sizes import (
    CODEBOOK_SIZE,
    FRAMES_PER_TOKEN,
    MEL_CHANNELS,
    SAMPLE_RATE_HZ,
    SPEAKER_CHANNELS,
)

SHORTEST_S = 0.5
LONGEST_S = 60.0
"""A prompt's frames are kept on the device: 1.3 MB each at full size in float32."""
KEPT_IN_MEMORY = 16
_FORMAT = "1"
_SAMPLED_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """A prepared voice.

    Attributes:
        key: Stands for its content.
        tokens: (n,) int64 in [0, 6561), the clip's speech tokens.
        mel: (2 n, 80) float32.
        speaker: (192,) float32.
    """

    key: str
    tokens: NDArray[np.int64]
    mel: NDArray[np.float32]
    speaker: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.tokens)
        good = (
            self.tokens.ndim == 1
            and n > 0
            and self.mel.shape == (FRAMES_PER_TOKEN * n, MEL_CHANNELS)
            and self.speaker.shape == (SPEAKER_CHANNELS,)
        )
        if not good or self.tokens.min() < 0 or self.tokens.max() >= CODEBOOK_SIZE:
            raise UsageError(
                f"A voice of {self.tokens.shape} tokens, {self.mel.shape} mel and {self.speaker.shape} speaker values "
                "does not fit together.",
                "Prepare it with Token2Wav.voice(clip).",
            )
        if not (np.isfinite(self.mel).all() and np.isfinite(self.speaker).all()):
            raise UsageError("A voice holds values that are not finite.", "Prepare it anew from its clip.")

    @property
    def seconds(self) -> float:
        """The length of its prompt."""
        return len(self.mel) * 480 / SAMPLE_RATE_HZ


class VoiceMaker:
    """Prepares clips.

    Args:
        tokenize: A log-mel (128, frames) to speech tokens.
        embed: Samples at 16 kHz to the speaker's embedding (192,).
        fingerprint: Stands for the files behind the two; see `fingerprint`.
        folder: Where prepared voices are kept; None keeps none.
    """

    def __init__(
        self,
        tokenize: Callable[[Tensor], Tensor],
        embed: Callable[[Tensor], Tensor],
        fingerprint: str,
        folder: Path | None,
    ) -> None:
        self._tokenize, self._embed = tokenize, embed
        self._fingerprint, self._folder = fingerprint, folder
        self._recent: OrderedDict[str, Voice] = OrderedDict()

    def prepare(self, clip: Audio) -> Voice:
        """Prepare a clip, or find it prepared.

        The reference takes the first channel for tokens and speaker, and the mean of all for the mel; here there is
        one.

        Raises:
            AudioError: It is shorter than half a second or longer than a minute.
            ModelMissingError: A file or package that prepares voices is missing.
        """
        if not SHORTEST_S <= clip.seconds <= LONGEST_S:
            raise AudioError(
                f"A voice clip of {clip.seconds:.1f} s cannot be used.",
                f"Pass {SHORTEST_S} to {LONGEST_S:.0f} s of one person speaking; 5 to 10 s are best.",
            )
        key = self._key(clip)
        path = None if self._folder is None else self._folder / f"{key}.npz"
        voice = self._recent.pop(key, None) or (None if path is None else _read(path, key))
        if voice is None:
            voice = self._make(clip, key)
            if path is not None:
                _write(path, voice)
        self._recent[key] = voice
        while len(self._recent) > KEPT_IN_MEMORY:
            self._recent.popitem(last=False)
        return voice

    def _make(self, clip: Audio, key: str) -> Voice:
        samples = torch.as_tensor(np.asarray(clip.samples, np.float32))
        heard = resample(samples, clip.sample_rate_hz, SPEECH_RATE_HZ)
        tokens = self._tokenize(log_mel(heard)).cpu()
        mel = fitted(voice_mel(resample(samples, clip.sample_rate_hz, SAMPLE_RATE_HZ)), FRAMES_PER_TOKEN * len(tokens))
        return Voice(key, tokens.numpy().astype(np.int64), mel.numpy(), self._embed(heard).numpy())

    def _key(self, clip: Audio) -> str:
        digest = hashlib.sha256(f"{_FORMAT} {self._fingerprint} {clip.sample_rate_hz} ".encode())
        digest.update(np.ascontiguousarray(clip.samples, np.float32).tobytes())
        return digest.hexdigest()[:32]


def fitted(mel: Tensor, frames: int) -> Tensor:
    """A mel (time, channels) cut, or filled with its last frame, to so many frames."""
    if len(mel) >= frames:
        return mel[:frames].contiguous()
    return F.pad(mel.T[None], (0, frames - len(mel)), mode="replicate")[0].T.contiguous()


def fingerprint(*paths: Path) -> str:
    """Stands for files by their sizes and both their ends: hashing half a gigabyte at every start takes too long."""
    digest = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLED_BYTES))
            file.seek(max(0, size - _SAMPLED_BYTES))
            digest.update(file.read(_SAMPLED_BYTES))
    return digest.hexdigest()[:32]


def _read(path: Path, key: str) -> Voice | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Voice(key, stored["tokens"], stored["mel"], stored["speaker"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, UsageError):
        return None  # not there, or not readable: it is made again


def _write(path: Path, voice: Voice) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.npz")
    try:
        np.savez(part, tokens=voice.tokens, mel=voice.mel, speaker=voice.speaker)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
