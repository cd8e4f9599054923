"""What is heard in a sound: words by the embedded recognisers, quality by DNSMOS. For clips and for replies alike."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any, Final

import numpy as np

from sayso.errors import ModelMissingError, UsageError
from sayso.items import Audio, Samples
from sayso.models.cascade import Recognizer
from sayso.speech.audio import resample
from sayso.speech.libraries import library

ENGLISH: Final = "whisper-tiny.en"
ALL: Final = "whisper-base"
DNSMOS_RATE_HZ: Final = 16_000
_WINDOW_SAMPLES: Final = 144_160
"""9.01 s: what the DNSMOS model looks at."""
_POLYNOMIALS: Final = {  # of DNSMOS P.835, from its published dnsmos.py: raw outputs to opinion scores
    "signal": (-0.08397278, 1.22083953, 0.0052439),
    "background": (-0.13166888, 1.60915514, -0.39604546),
    "overall": (-0.06766283, 1.11546468, 0.04602535),
}


@dataclass(frozen=True, slots=True)
class Opinion:
    """DNSMOS P.835, 1 to 5: what people would say of the speech, of the noise, of both."""

    signal: float
    background: float
    overall: float


class Listener:
    """The recognisers that are on this machine, loaded once in a process. Blocks while it works."""

    def hear(self, audio: Audio, language: str | None = None) -> list[tuple[str, str]]:
        """What each recogniser wrote, with its name; empty where none of them knows the language.

        English is heard by two: what one of them mishears says more about it than about the sound.

        Raises:
            UsageError: faster-whisper is not installed.
        """
        names = [ENGLISH, ALL] if (language or "").split("-")[0] == "en" else [ALL]
        found: list[tuple[str, str]] = []
        for name in names:
            recognizer = _recognizer(name)
            if recognizer is not None:
                found.append((recognizer.transcribe(audio, language).text, name))
        return found

    def language(self, audio: Audio) -> str | None:
        """The language of a sound, BCP 47, or None where that is not known."""
        recognizer = _recognizer(ALL)
        return None if recognizer is None else recognizer.transcribe(audio).language


def dnsmos(audio: Audio) -> Opinion:
    """How good speech sounds, by the DNSMOS P.835 model of Reddy, Gopal and Cutler (2022) in the package speechmos.

    The model alone is run, on windows of 9 s every second; the package's own code needs librosa and pandas.

    Raises:
        ModelMissingError: speechmos is not installed.
        UsageError: There is no sound.
    """
    samples = resample(audio, DNSMOS_RATE_HZ).samples
    if not len(samples):
        raise UsageError("The quality of no sound is nothing.")
    repeated = samples
    while len(repeated) < _WINDOW_SAMPLES:  # doubled, as its authors do
        repeated = np.concatenate([repeated, repeated])
    starts = range(0, len(repeated) - _WINDOW_SAMPLES + 1, DNSMOS_RATE_HZ)
    judge = _dnsmos_model()
    rows = [judge(np.clip(repeated[start : start + _WINDOW_SAMPLES], -1, 1)) for start in starts]
    means = {
        name: mean(square * row[column] ** 2 + slope * row[column] + constant for row in rows)
        for column, (name, (square, slope, constant)) in enumerate(_POLYNOMIALS.items())
    }
    return Opinion(**means)


def has_dnsmos() -> bool:
    """Whether `dnsmos` can be asked."""
    return _dnsmos_file() is not None


@cache
def _recognizer(name: str) -> Recognizer | None:
    from sayso.models.embedded import whisper
    from sayso.models.store import Store

    store = Store()
    return whisper(store.path(name), os.cpu_count() or 1) if store.has(name) else None


def _dnsmos_file() -> Path | None:
    spec = importlib.util.find_spec("speechmos")
    folders = [] if spec is None else spec.submodule_search_locations or []
    files = (Path(folder) / "dnsmos_models" / "sig_bak_ovr.onnx" for folder in folders)
    return next((file for file in files if file.is_file()), None)


@cache
def _dnsmos_model() -> Callable[[Samples], list[float]]:
    file = _dnsmos_file()
    if file is None:
        raise ModelMissingError("DNSMOS needs the package speechmos.", "Install it with: pip install 'sayso[evals]'")
    ort: Any = library("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def judge(window: Samples) -> list[float]:
        return session.run(None, {"input_1": window[None].astype(np.float32)})[0][0].tolist()

    return judge
