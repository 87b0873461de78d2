"""What the deep learning accelerators of Orin NX and AGX Orin leave to the GPU; each rule with its source.

[dla]: NVIDIA TensorRT, "Working with DLA", Supported Layers and Restrictions. Orin Nano has none. TensorRT up
to 10.7 takes no Q/DQ there, 10.8 to 11.4.0 have no DLA; a graph that breaks these rules still runs, on the
GPU, which irvis uses. Nothing here was ever run on a DLA.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto

from .graph import Graph
from .lint import Rule

OPERATORS = {
    *("Conv", "ConvTranspose", "Gemm", "Relu", "Sigmoid", "Tanh", "Clip", "PRelu", "Concat", "Slice"),
    *("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Equal", "Greater", "Less", "Abs", "Sin", "Cos"),
    *("Atan", "MaxPool", "AveragePool", "LRN", "ReduceMax", "Resize", "Softmax"),
    # Their own rule says where they are taken: _levels.
    *("QuantizeLinear", "DequantizeLinear"),
}
MAX_SIDE = 8192
MAX_KERNEL, MAX_PADDING, MAX_STRIDE, MAX_DILATION = 32, 31, 8, 32


def _operators(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[dla] Layers that it has; reshapes, transpositions, blocks and casts are not among them."""
    if node.op_type not in OPERATORS:
        yield f"expected a layer that DLA has, got {node.op_type}"


def _static_shapes(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[dla] All sizes are fixed when the engine is built: export one graph per camera size."""
    for port in graph.model.graph.input:
        sides = port.type.tensor_type.shape.dim
        if port.name in node.input and any(side.dim_value < 1 for side in sides):
            yield f"expected fixed sizes of {port.name}, got some that are not"


def _sizes(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[dla] No side is longer than 8192."""
    for port in graph.model.graph.input:
        sides = [side.dim_value for side in port.type.tensor_type.shape.dim]
        if port.name in node.input and max(sides, default=0) > MAX_SIDE:
            yield f"expected sides of {MAX_SIDE} and less, got {max(sides)}"


def _convolutions(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[dla] Kernels to 32, padding to 31, strides to 8, dilation to 32."""
    if node.op_type not in ("Conv", "ConvTranspose"):
        return
    numbers = {attribute.name: list(attribute.ints) for attribute in node.attribute}
    weight = graph.initializers.get(node.input[1])
    numbers.setdefault("kernel_shape", [] if weight is None else list(weight.dims[2:]))
    for name, limit in (
        ("kernel_shape", MAX_KERNEL),
        ("pads", MAX_PADDING),
        ("strides", MAX_STRIDE),
        ("dilations", MAX_DILATION),
    ):
        if max(numbers.get(name, []), default=0) > limit:
            yield f"expected {name} of {limit} and less, got {max(numbers[name])}"


def _transposed(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[dla] Transposed convolutions have no padding and one group."""
    if node.op_type != "ConvTranspose":
        return
    for attribute in node.attribute:
        if attribute.name == "pads" and any(attribute.ints):
            yield f"expected no padding, got {list(attribute.ints)}"
        if attribute.name == "group" and attribute.i != 1:
            yield f"expected 1 group, got {attribute.i}"


def _concat(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[dla] Only channels are joined."""
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    if node.op_type == "Concat" and axis != 1:
        yield f"expected axis 1, got {axis}"


def _slopes(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[dla] The slope of a PReLU is stored."""
    if node.op_type == "PRelu" and node.input[1] not in graph.initializers:
        yield "expected a stored slope, got one that the graph computes"


def _levels(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[dla] To TensorRT 10.7 no explicit Q/DQ: strip them and give a calibration cache."""
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        yield f"expected a calibration cache instead of {node.op_type}, got explicit levels"


def _batch(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[dla] Slices and reductions leave the batch alone."""
    places = {"Slice": 3, "ReduceMax": 1}.get(node.op_type)
    if places is None:
        return
    axes = [axis for attribute in node.attribute if attribute.name == "axes" for axis in attribute.ints]
    if len(node.input) > places and node.input[places] in graph.initializers:
        axes += [int(axis) for axis in np.ravel(graph.value(node.input[places]))]
    if 0 in axes:
        yield "expected axes without the batch, got axis 0"


DLA_RULES: dict[str, Rule] = {
    "dla-operators": _operators,
    "dla-static": _static_shapes,
    "dla-sizes": _sizes,
    "dla-convolutions": _convolutions,
    "dla-transposed": _transposed,
    "dla-concat": _concat,
    "dla-slope": _slopes,
    "dla-levels": _levels,
    "dla-batch": _batch,
}
