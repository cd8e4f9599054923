"""The speaker network (CAM++): a recording in, an embedding of who speaks out. Runs ``campplus.onnx`` as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sayso.errors import ModelMissingError, UsageError
from sayso.models.step_audio2.config import PULL_HINT, refuse_pointer
from sayso.models.step_audio2.token2wav.acoustics import FBANK_BINS, filter_bank
from sayso.models.step_audio2.token2wav.sizes import SPEAKER_CHANNELS

OPSET = 13
IR_VERSION = 8


class SpeakerNet:
    """The network; the file is opened when the first voice is prepared.

    Args:
        path: ``campplus.onnx``: filter banks (batch, frames, 80) in, embeddings (batch, 192) out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: Any = None

    def embed(self, samples: Tensor) -> Tensor:
        """Who speaks.

        Args:
            samples: (n,) float32 at 16 kHz, half a second or more.

        Returns:
            (192,) float32, not normalised.

        Raises:
            ModelMissingError: The file or onnxruntime is missing.
            UsageError: The file is not this network.
        """
        session = self._opened()
        features = filter_bank(samples)[None].numpy()
        out = np.asarray(session.run(None, {session.get_inputs()[0].name: features})[0])
        if out.shape != (1, SPEAKER_CHANNELS):
            raise UsageError(f"{self._path} gives {out.shape}, expected (1, {SPEAKER_CHANNELS}).", PULL_HINT)
        return torch.as_tensor(out[0].astype(np.float32))

    def _opened(self) -> Any:
        if self._session is None:
            self._session = _open(self._path)
        return self._session


def write_stand_in(path: Path, *, seed: int) -> None:
    """Write a small network with the inputs and outputs of ``campplus.onnx``: a random projection of mean magnitudes.

    Raises:
        ModelMissingError: The package ``onnx`` is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise ModelMissingError("The package onnx is not installed.", "Install sayso[step-audio].") from error
    lib: Any = onnx
    helper: Any = lib.helper
    weights = np.random.default_rng(seed).standard_normal((FBANK_BINS, SPEAKER_CHANNELS)).astype(np.float32)
    nodes = [
        helper.make_node("Abs", ["feats"], ["magnitude"]),
        helper.make_node("ReduceMean", ["magnitude"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["embedding"]),
    ]
    floats = lib.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "campplus",
        [helper.make_tensor_value_info("feats", floats, ["batch", "frames", FBANK_BINS])],
        [helper.make_tensor_value_info("embedding", floats, ["batch", SPEAKER_CHANNELS])],
        [lib.numpy_helper.from_array(weights, "weights")],
    )
    opset = helper.make_opsetid("", OPSET)
    lib.save(helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[opset]), str(path))


def _open(path: Path) -> Any:
    try:
        import onnxruntime as _runtime
    except ImportError as error:
        raise ModelMissingError("The package onnxruntime is not installed.", "Install sayso[step-audio].") from error
    runtime: Any = _runtime
    if not path.is_file():
        raise ModelMissingError(f"{path} is not there.", PULL_HINT)
    refuse_pointer(path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return runtime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UsageError(f"{path} cannot be run by onnxruntime ({error}).", PULL_HINT) from error
