"""A faster Kokoro graph: the same int8 weights, in operators that ONNX Runtime runs well on a CPU.

Kokoro's published int8 graph spends two thirds of its time in `ConvInteger`, which ONNX Runtime runs no faster than a
float convolution, and most of the rest in chains of small elementwise operators. `rewrite` changes only how the sums
are computed:

- a quantised convolution becomes one integer matrix product over gathered windows (the `MatMulInteger` kernel uses the
  CPU's 8-bit dot products and is about 4 times as fast as a float convolution), with the bias added in float;
- the seven operators of an adaptive instance norm become one `InstanceNormalization`;
- ``x ** 2`` becomes ``x * x``.

The `STFT` of the source signal stays, though a convolution would be faster: where nothing is voiced the phases are
rounding noise, which the decoder hears, and another order of summation makes voices 2 to 4 dB brighter above 4 kHz.

CPUs without 8-bit dot products saturate in that matrix product (ONNX Runtime's documentation, "Quantize ONNX models",
on U8S8 and AVX2), so `has_exact_dot_products` asks the machine by a small product; where the answer is wrong, the
convolutions become float convolutions of the same, dequantised, weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

REWRITE_VERSION = 2
"""Part of the cached file's name: raise it when `rewrite` changes its output."""

Array = NDArray[Any]


class Graph:
    """An ONNX graph with look-ups by tensor name, and edits that are collected and applied at once."""

    def __init__(self, model: Any) -> None:
        """Index ``model`` (an ``onnx.ModelProto``); edits change it in place."""
        self.model = model
        self.constants: dict[str, Any] = {}
        self.producers: dict[str, Any] = {}
        self.consumers: dict[str, list[Any]] = {}
        self._swaps: dict[int, list[Any]] = {}
        self._index()

    def _index(self) -> None:
        graph = self.model.graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.consumers = {}
        for node in graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)

    def nodes(self, kind: str) -> list[Any]:
        """All nodes whose operator is ``kind``."""
        return [node for node in self.model.graph.node if node.op_type == kind]

    def value(self, name: str) -> Array:
        """The constant ``name`` as an array."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.constants[name])

    def constant(self, name: str, value: Array) -> str:
        """Add the constant ``name`` unless it is there; returns the name."""
        from onnx import numpy_helper

        if name not in self.constants:
            tensor = numpy_helper.from_array(value, name)
            self.model.graph.initializer.append(tensor)
            self.constants[name] = tensor
        return name

    def consumer(self, name: str) -> Any:
        """The first reader of tensor ``name``."""
        return self.consumers[name][0]

    def maker(self, name: str, kind: str) -> Any | None:
        """The node that makes tensor ``name`` if its operator is ``kind``."""
        node = self.producers.get(name)
        return node if node is not None and node.op_type == kind else None

    def swap(self, node: Any, replacement: list[Any]) -> None:
        """Put ``replacement`` in the place of ``node`` at the next `apply`."""
        self._swaps[id(node)] = replacement

    def apply(self) -> None:
        """Carry out the swaps, drop what no output needs any more, and index again."""
        graph = self.model.graph
        nodes = [new for old in graph.node for new in self._swaps.get(id(old), [old])]
        needed = {output.name for output in graph.output}
        kept: list[Any] = []
        for node in reversed(nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        constants = [tensor for tensor in graph.initializer if tensor.name in needed]
        _refill(graph.node, reversed(kept))
        _refill(graph.initializer, constants)
        _refill(graph.value_info, ())
        self._swaps = {}
        self._index()


def _refill(field: Any, values: Iterable[Any]) -> None:
    fresh = [value.__class__.FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(fresh)


def has_exact_dot_products() -> bool:
    """Whether this machine's u8 x s8 matrix product neither saturates nor rounds."""
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    weights = np.full((64, 32), 127, np.int8)
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "probe",
        [tensor("x", TensorProto.UINT8, [16, 64])],
        [tensor("y", TensorProto.INT32, [16, 32])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    product: Any = session.run(None, {"x": np.full((16, 64), 255, np.uint8)})[0]
    return bool((product == 64 * 255 * 127).all())


def rewrite(source: Path, target: Path, *, integer: bool) -> None:
    """Write the fast form of Kokoro's int8 graph.

    Args:
        source: The published int8 graph.
        target: Where the new graph goes.
        integer: Use integer matrix products for the convolutions (see `has_exact_dot_products`), else float ones.
    """
    import onnx

    graph = Graph(onnx.load(str(source)))
    _rewrite_convolutions(graph, integer=integer)
    _rewrite_instance_norms(graph)
    _rewrite_squares(graph)
    onnx.save(graph.model, str(target))


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _rewrite_convolutions(graph: Graph, *, integer: bool) -> None:
    """Replace DynamicQuantizeLinear, ConvInteger, the quantised bias, Cast and Mul."""
    for node in graph.nodes("ConvInteger"):
        quantiser = graph.producers[node.input[0]]
        reader, bias = graph.consumer(node.output[0]), ""
        if reader.op_type == "Add":
            bias = _float_bias(graph, next(name for name in reader.input if name != node.output[0]))
            reader = graph.consumer(reader.output[0])
        scaler = graph.consumer(reader.output[0])
        scales = graph.producers[next(name for name in scaler.input if name != reader.output[0])]
        scale = next(name for name in scales.input if name in graph.constants)
        options = _attributes(node)
        if integer and options["strides"] == [1] and options["group"] == 1:
            nodes = _as_matmul(graph, node, quantiser, scale, bias, scaler.output[0])
        else:
            nodes = _as_float(graph, node, quantiser, scale, bias, scaler.output[0])
        graph.swap(scaler, nodes)
    graph.apply()


def _float_bias(graph: Graph, name: str) -> str:
    """The float bias that the graph quantises on the way to tensor ``name``."""
    node = graph.producers[name]
    while node.op_type != "Div":
        node = graph.producers[node.input[0]]
    return str(node.input[0])


def _as_float(graph: Graph, node: Any, quantiser: Any, scale: str, bias: str, output: str) -> list[Any]:
    from onnx import helper

    weights = graph.value(node.input[1]).astype(np.float32) - graph.value(node.input[3]).astype(np.float32)
    name = graph.constant(f"{node.input[1]}/float", weights * graph.value(scale))
    inputs = [quantiser.input[0], name, *([bias] if bias else [])]
    return [helper.make_node("Conv", inputs, [output], node.name, **_attributes(node))]


def _as_matmul(graph: Graph, node: Any, quantiser: Any, scale: str, bias: str, output: str) -> list[Any]:
    """Windows of the quantised input, shape (1, time, kernel * channels), times the weights as one matrix."""
    from onnx import helper

    options, name = _attributes(node), node.name
    weights = graph.value(node.input[1])  # (out, in, kernel), uint8 round a zero point
    zero = graph.value(node.input[3])
    if weights.dtype == np.uint8:
        # Signed weights are what the fast kernel takes; moving the zero point with them changes no product.
        weights, zero = (weights.astype(np.int16) - 128).astype(np.int8), (zero.astype(np.int16) - 128).astype(np.int8)
    outs, channels, kernel = weights.shape
    matrix = np.ascontiguousarray(weights.transpose(2, 1, 0).reshape(kernel * channels, outs))
    quantised, input_scale, input_zero = quantiser.output
    nodes = [helper.make_node("Transpose", [quantised], [f"{name}/rows"], f"{name}/rows", perm=[0, 2, 1])]
    rows = f"{name}/rows"
    if kernel > 1:
        nodes += _windows(graph, name, rows, input_zero, kernel, channels, options)
        rows = f"{name}/windows"
    inputs = [
        rows,
        graph.constant(f"{node.input[1]}/matrix", matrix),
        input_scale,
        scale,
        input_zero,
        graph.constant(f"{node.input[3]}/signed/{name}", zero.reshape(())),
        *([bias] if bias else []),
    ]
    nodes.append(
        helper.make_node("MatMulIntegerToFloat", inputs, [f"{name}/product"], f"{name}/product", domain="com.microsoft")
    )
    nodes.append(helper.make_node("Transpose", [f"{name}/product"], [output], f"{name}/out", perm=[0, 2, 1]))
    return nodes


def _windows(
    graph: Graph, name: str, rows: str, zero: str, kernel: int, channels: int, options: dict[str, Any]
) -> list[Any]:
    """Pad (1, time, channels) with the zero point and gather ``kernel`` rows around each step."""
    from onnx import helper

    make = helper.make_node
    before, after = options["pads"]
    dilation = options["dilations"][0]
    pads = graph.constant(f"sayso/pads/{before}/{after}", np.array([0, before, 0, 0, after, 0], np.int64))
    offsets = graph.constant(
        f"sayso/offsets/{kernel}/{dilation}", (np.arange(kernel) * dilation).astype(np.int64)[None, :]
    )
    shape = graph.constant(f"sayso/shape/{kernel * channels}", np.array([1, -1, kernel * channels], np.int64))
    axis = graph.constant("sayso/one", np.array([1], np.int64))
    first = graph.constant("sayso/zero", np.array(0, np.int64))
    step = graph.constant("sayso/step", np.array(1, np.int64))
    shrink = graph.constant(f"sayso/shrink/{(kernel - 1) * dilation}", np.array((kernel - 1) * dilation, np.int64))
    return [
        make("Pad", [rows, pads, zero], [f"{name}/padded"], f"{name}/padded"),
        make("Shape", [f"{name}/padded"], [f"{name}/shape"], f"{name}/shape", start=1, end=2),
        make("Squeeze", [f"{name}/shape"], [f"{name}/length"], f"{name}/length"),
        make("Sub", [f"{name}/length", shrink], [f"{name}/steps"], f"{name}/steps"),
        make("Range", [first, f"{name}/steps", step], [f"{name}/starts"], f"{name}/starts"),
        make("Unsqueeze", [f"{name}/starts", axis], [f"{name}/column"], f"{name}/column"),
        make("Add", [f"{name}/column", offsets], [f"{name}/indices"], f"{name}/indices"),
        make("Gather", [f"{name}/padded", f"{name}/indices"], [f"{name}/gathered"], f"{name}/gathered", axis=1),
        make("Reshape", [f"{name}/gathered", shape], [f"{name}/windows"], f"{name}/windows"),
    ]


def _rewrite_instance_norms(graph: Graph) -> None:
    """(x - mean) / sqrt(var + eps) * gain + shift, over time, with gain and shift of shape (1, channels, 1)."""
    from onnx import helper

    flat = graph.constant("sayso/flat", np.array([-1], np.int64))
    for division in graph.nodes("Div"):
        centred, root = graph.maker(division.input[0], "Sub"), graph.maker(division.input[1], "Sqrt")
        if centred is None or root is None or graph.maker(centred.input[1], "ReduceMean") is None:
            continue
        stabilised = graph.maker(root.input[0], "Add")
        product = graph.consumer(division.output[0])
        total = graph.consumer(product.output[0])
        if stabilised is None or product.op_type != "Mul" or total.op_type != "Add":
            continue
        gain = next(name for name in product.input if name != division.output[0])
        shift = next(name for name in total.input if name != product.output[0])
        if gain in graph.constants or shift in graph.constants:
            continue  # a layer norm, or one with fixed weights
        epsilon = next(float(graph.value(name)) for name in stabilised.input if name in graph.constants)
        name = total.name
        graph.swap(
            total,
            [
                helper.make_node("Reshape", [gain, flat], [f"{name}/gain"], f"{name}/gain"),
                helper.make_node("Reshape", [shift, flat], [f"{name}/shift"], f"{name}/shift"),
                helper.make_node(
                    "InstanceNormalization",
                    [centred.input[0], f"{name}/gain", f"{name}/shift"],
                    [total.output[0]],
                    f"{name}/norm",
                    epsilon=epsilon,
                ),
            ],
        )
    graph.apply()


def _rewrite_squares(graph: Graph) -> None:
    """Replace ``Pow`` with the exponent 2."""
    from onnx import helper

    for node in graph.nodes("Pow"):
        if node.input[1] in graph.constants and (graph.value(node.input[1]) == 2).all():
            graph.swap(node, [helper.make_node("Mul", [node.input[0], node.input[0]], [node.output[0]], node.name)])
    graph.apply()
