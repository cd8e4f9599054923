"""Whether somebody who pauses has finished: Smart Turn v3.2 (BSD-2-Clause, https://github.com/pipecat-ai/smart-turn).

The model hears the last 8 s before a pause, by a Whisper encoder of its own, and says how likely the turn is over: by
intonation and words, where silence alone has to wait for whoever thinks in mid-sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from sayso.errors import ModelMissingError, SaysoError
from sayso.items import Audio, Samples
from sayso.models.store import Store
from sayso.speech.audio import resample
from sayso.speech.libraries import library

RATE_HZ = 16_000
HEARD_S = 8
"""The window: shorter sounds are padded in front, of longer ones the end is heard (smart-turn, ``inference.py``)."""
COMPLETE = 0.5
ARTEFACT = "smart-turn"

HasFinished: TypeAlias = Callable[[Audio], Awaitable[bool]]
"""From what was said so far, up to a pause, to whether that is all."""


class EndOfTurn:
    """The model. One serves any number of streams.

    Raises:
        ModelMissingError: Its file or packages are not here.
    """

    def __init__(self) -> None:
        path = Store().path(ARTEFACT)
        try:
            runtime: Any = library("onnxruntime")
            features: Any = library("faster_whisper.feature_extractor")
        except SaysoError as error:
            raise ModelMissingError(Exception.__str__(error), error.hint) from error
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._model: Any = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._mel: Any = features.FeatureExtractor(feature_size=80, chunk_length=HEARD_S)

    def probability(self, audio: Audio) -> float:
        """How likely the speaker has finished, 0 to 1. Blocks for about 0.1 s.

        Args:
            audio: What was said, with at least some of the pause behind it.
        """
        window = _window(resample(audio, RATE_HZ).samples)
        normal = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
        mel = self._mel(normal.astype(np.float32), padding=0)
        found = self._model.run(None, {"input_features": mel[None].astype(np.float32)})
        return float(np.asarray(found[0]).reshape(-1)[0])

    async def has_finished(self, audio: Audio) -> bool:
        """Whether the speaker has, most likely."""
        return await asyncio.to_thread(self.probability, audio) > COMPLETE


def has_finished() -> HasFinished | None:
    """What tells it, where the model is on this machine (``sayso models pull smart-turn``)."""
    return _loaded().has_finished if Store().has(ARTEFACT) else None


@cache
def _loaded() -> EndOfTurn:
    return EndOfTurn()


def _window(samples: Samples) -> Samples:
    length = HEARD_S * RATE_HZ
    return np.pad(samples[-length:], (max(0, length - len(samples)), 0))
