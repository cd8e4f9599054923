"""The speech tokenizer's weights out of ``speech_tokenizer_v2_25hz.onnx``, and a file of that layout.

The public file is an exported graph. Biases, norms and the memory's kernels are found by the name of the node that uses
them, the rest of the weights too, because the initialisers themselves are numbered; matrices are stored the other way
round. Nothing of the graph is run: a file that does not hold what the network needs is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sayso.errors import ModelMissingError, UsageError
from sayso.models.step_audio2.config import PULL_HINT, refuse_pointer

NUMBERED = {
    "onnx::Conv_2216": "encoder.conv1.weight",
    "onnx::Conv_2217": "encoder.conv1.bias",
    "onnx::Conv_2218": "encoder.conv2.weight",
    "onnx::Conv_2219": "encoder.conv2.bias",
    "onnx::MatMul_2536": "quantizer._codebook.project_down.weight",
    "quantizer.project_in.bias": "quantizer._codebook.project_down.bias",
}
"""Initialisers that no node's name tells."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights by the names of `s3.SpeechTokenizer`.

    Raises:
        ModelMissingError: The file or the package ``onnx`` is missing.
        UsageError: The file is no ONNX file.
    """
    onnx = _onnx()
    if not path.is_file():
        raise ModelMissingError(f"{path} is not there.", PULL_HINT)
    refuse_pointer(path)
    try:
        # External data would let a file name any other file on this machine.
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise UsageError(f"{path} cannot be read as ONNX ({error}).", PULL_HINT) from error
    stored = {item.name: item for item in model.graph.initializer}
    weights: dict[str, Tensor] = {}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            key = _key(node, place, name) if name in stored else None
            if key is not None:
                array = np.array(onnx.numpy_helper.to_array(stored[name]))
                weights[key] = torch.as_tensor(array.T.copy() if array.ndim == 2 else array)
    return weights


def write_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Write weights in the layout that `read_weights` reads: the names are right, the graph cannot be run.

    Raises:
        ModelMissingError: The package ``onnx`` is missing.
    """
    onnx = _onnx()
    numbered = {key: name for name, key in NUMBERED.items()}
    nodes: list[Any] = []
    initializers: list[Any] = []
    for number, (key, tensor) in enumerate(weights.items()):
        array = tensor.float().numpy()
        name = numbered.get(key, f"onnx::{number}")
        initializers.append(onnx.numpy_helper.from_array(array.T.copy() if array.ndim == 2 else array, name))
        operator, node_name = _node(key)
        inputs = ["", "", name] if operator == "LayerNormalization" and key.endswith(".bias") else ["", name]
        nodes.append(onnx.helper.make_node(operator, inputs, [f"out{number}"], name=node_name))
    graph = onnx.helper.make_graph(nodes, "speech_tokenizer_v2_25hz", [], [], initializers)
    onnx.save(onnx.helper.make_model(graph), str(path))


def _key(node: Any, place: int, name: str) -> str | None:
    if name in NUMBERED:
        return NUMBERED[name]
    path = str(node.name).strip("/").split("/")
    if not path[0].startswith("blocks."):
        return None
    # "/blocks.0/mlp/mlp.0/MatMul" repeats the parent's name; "/blocks.0/attn/query/Add_1" ends in the operator.
    parts = [part for part, following in zip(path[:-1], [*path[1:-1], ""], strict=True) if part != following[:-2]]
    kind = "bias" if node.op_type == "Add" or (node.op_type == "LayerNormalization" and place == 2) else "weight"
    return ".".join(["encoder", *parts, kind])


def _node(key: str) -> tuple[str, str]:
    """The operator and the name of the node that uses a weight in the public file."""
    if key in NUMBERED.values():
        return ("MatMul" if "project_down" in key else "Conv"), f"/{key.replace('.', '/')}"
    _, blocks, number, *module, kind = key.split(".")
    path = [f"{blocks}.{number}", *module]
    if path[1] == "mlp":
        path[2] = f"mlp.{path[2]}"
    if path[-1].endswith("_ln"):
        operator = "LayerNormalization"
    elif path[-1] == "fsmn_block":
        operator = "Conv"
    else:
        operator = "Add" if kind == "bias" else "MatMul"
    return operator, "/" + "/".join([*path, operator])


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ModelMissingError("The package onnx is not installed.", "Install sayso[step-audio].") from error
    return onnx
