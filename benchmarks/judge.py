"""A second opinion on the likeness of voices: Resemblyzer's GE2E encoder in numpy.

What was chosen by one model looks better to that model than it is; a benchmark of likeness asks another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sayso.items import Audio
from sayso.speech.audio import resample
from sayso.speech.vad import trim
from sayso.tools.voices.embed import mean_direction, mel_filters

_RATE_HZ, _HIDDEN, _BANDS = 16_000, 256, 40
_WINDOW, _STRIDE = 160, 77  # frames: windows of 1.6 s, 1.3 a second, as in Resemblyzer
_LEVEL_DB = -30.0

Matrix = NDArray[np.float32]


class Judge:
    """The encoder: three LSTM layers of 256 and a linear layer.

    Args:
        folder: Of the artefact ``speaker-judge``. ``lstm.f32`` holds the layers' parameters in cuDNN's order: all
            matrices (input, recurrent) layer by layer, then all biases.
    """

    def __init__(self, folder: Path) -> None:
        flat = np.fromfile(folder / "lstm.f32", "<f4")
        self._layers: list[tuple[Matrix, Matrix, Matrix]] = []
        weights, biases = 0, len(flat) - 3 * 8 * _HIDDEN
        for inputs in (_BANDS, _HIDDEN, _HIDDEN):
            split, end = weights + 4 * _HIDDEN * inputs, weights + 4 * _HIDDEN * (inputs + _HIDDEN)
            bias = flat[biases : biases + 4 * _HIDDEN] + flat[biases + 4 * _HIDDEN : biases + 8 * _HIDDEN]
            to_input, to_hidden = flat[weights:split].reshape(-1, inputs).T, flat[split:end].reshape(-1, _HIDDEN).T
            self._layers.append((to_input.copy(), to_hidden.copy(), bias))
            weights, biases = end, biases + 8 * _HIDDEN
        self._out = np.fromfile(folder / "linear_weight.f32", "<f4").reshape(_HIDDEN, _HIDDEN).T
        self._out_bias = np.fromfile(folder / "linear_bias.f32", "<f4")

    def embed(self, audio: Audio) -> Matrix:
        """The embedding of a clip: shape (256,), of length 1."""
        samples = resample(trim(audio, before_ms=0, after_ms=0) or audio, _RATE_HZ).samples
        gain = 10 ** (_LEVEL_DB / 20) / float(np.sqrt(np.square(samples).mean()))
        padded = np.pad(samples * max(1.0, gain), 200)
        frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160] * np.hanning(401)[:400]
        bands = np.square(np.abs(np.fft.rfft(frames, axis=1))) @ mel_filters()
        bands = np.pad(bands, ((0, max(0, _WINDOW - len(bands))), (0, 0))).astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(bands, _WINDOW, axis=0)[::_STRIDE].transpose(0, 2, 1)
        return mean_direction(np.maximum(self._last_hidden(windows) @ self._out + self._out_bias, 0))

    def _last_hidden(self, x: Matrix) -> Matrix:
        hidden = np.zeros((len(x), _HIDDEN), np.float32)
        for to_input, to_hidden, bias in self._layers:
            projected = x @ to_input + bias
            hidden, cell = np.zeros_like(hidden), np.zeros_like(hidden)
            outputs: list[Matrix] = []
            for step in range(x.shape[1]):
                add, keep, new, show = np.split(projected[:, step] + hidden @ to_hidden, 4, axis=1)
                cell = _sigmoid(keep) * cell + _sigmoid(add) * np.tanh(new)
                hidden = _sigmoid(show) * np.tanh(cell)
                outputs.append(hidden)
            x = np.stack(outputs, axis=1)
        return hidden


def _sigmoid(x: NDArray[np.floating[Any]]) -> Matrix:
    return (0.5 * (1 + np.tanh(0.5 * x))).astype(np.float32)
