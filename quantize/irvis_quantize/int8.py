"""Writes INT8 for ONNX Runtime: uint8 activations, int8 weights per output channel, as Q/DQ (opset 17)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from irvis_runtime.errors import ContractError

from .graph import Graph, move_casts_inward, sort_nodes

FLOAT_PREFIX = "/scene/"
"""The scene encoder works on 64x64 thumbnails: INT8 would save nothing there and cost accuracy everywhere."""
LEVELS = 255
MAX_BIAS_LEVEL = 2**30
"""Half of int32's range, which leaves the other half to the sums of products."""


@dataclass(frozen=True)
class Range:
    """The values that a tensor's 256 levels span; widened to hold zero, which padding needs exactly."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """ContractError for what no levels can span: the network gives NaN or infinity."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ContractError(
                f"range: expected finite bounds, the lower one first, got {self.low} and {self.high}; "
                "train the student again"
            )

    def scale_and_zero_point(self) -> tuple[np.float32, int]:
        """Step between levels, and the level of zero."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        scale = np.float32(max(high - low, 1e-6) / LEVELS)
        return scale, int(np.clip(round(-low / float(scale)), 0, LEVELS))


def quantized_convs(graph: Graph) -> list[NodeProto]:
    """The convolutions that become INT8: all but the scene encoder's."""
    return [node for node in graph.nodes("Conv") if not node.name.startswith(FLOAT_PREFIX)]


def quantized_tensors(model: ModelProto) -> list[str]:
    """The tensors that need a range, in the graph's order: what INT8 convolutions and sums take and give."""
    graph = Graph(model)
    names: list[str] = []
    for conv in quantized_convs(graph):
        names += [conv.input[0], _after_relu(graph, conv.output[0])]
    held = set(names)
    for add in graph.nodes("Add"):
        if all(_before_movement(graph, name) in held for name in add.input):
            names.append(_after_relu(graph, add.output[0]))
    return list(dict.fromkeys(names))


def quantize(model: ModelProto, ranges: Mapping[str, Range]) -> ModelProto:
    """Returns the INT8 graph of a FP32 one; `ranges` has an entry for each of `quantized_tensors`.

    Relu and Clip in front of a quantized tensor are left out where its range says the same: levels end there.
    """
    result = move_casts_inward(model)
    graph = Graph(result)
    convs = quantized_convs(graph)
    for tensor, span in ranges.items():
        _insert_pair(graph, tensor, span)
    for conv in convs:
        scale, _ = ranges[conv.input[0].removesuffix("_real")].scale_and_zero_point()
        _quantize_weights(result, graph, conv, scale)
    _drop_unused_initializers(result)
    sort_nodes(result)
    onnx.checker.check_model(result, full_check=True)
    return result


def _insert_pair(graph: Graph, tensor: str, span: Range) -> None:
    """Puts Q and DQ behind a tensor; data movement between them and its consumer moves bytes."""
    scale, zero_point = span.scale_and_zero_point()
    constants = [f"{tensor}_scale", f"{tensor}_zero_point"]
    graph.model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.asarray(scale, dtype=np.float32), constants[0]),
            numpy_helper.from_array(np.asarray(zero_point, dtype=np.uint8), constants[1]),
        ]
    )
    levels, real = f"{tensor}_levels", f"{tensor}_real"
    graph.rename_input(tensor, real)
    source = _without_clamp(graph, tensor, span)
    graph.model.graph.node.append(
        onnx.helper.make_node("QuantizeLinear", [source, *constants], [levels], name=f"{tensor}_quantize")
    )
    movement = graph.only_consumer(real)
    if movement is not None and movement.op_type == "DepthToSpace":
        moved = f"{movement.output[0]}_levels"
        real = movement.output[0]
        movement.input[0], movement.output[0] = levels, moved
        levels = moved
    graph.model.graph.node.append(
        onnx.helper.make_node("DequantizeLinear", [levels, *constants], [real], name=f"{real}_dequantize")
    )
    graph.index()


def _without_clamp(graph: Graph, tensor: str, span: Range) -> str:
    """What feeds the Relu or Clip that makes `tensor`, if the range clamps as tightly; else `tensor`."""
    node = graph.producer[tensor]
    low, high = -np.inf, np.inf
    if node.op_type == "Relu":
        low = 0.0
    elif node.op_type == "Clip":
        low, high = (float(numpy_helper.to_array(graph.initializers[name])) for name in node.input[1:3])
    else:
        return tensor
    if span.low < low or span.high > high:
        return tensor
    source: str = node.input[0]
    graph.remove(node)
    return source


def _quantize_weights(model: ModelProto, graph: Graph, conv: NodeProto, input_scale: np.float32) -> None:
    """Stores weights and bias of a convolution as levels; a bias's step is its channel's times the input's.

    A channel of almost no weight gets steps so coarse that its bias fits into int32.
    """
    weight = numpy_helper.to_array(graph.initializers[conv.input[1]])
    has_bias = len(conv.input) > 2
    bias = numpy_helper.to_array(graph.initializers[conv.input[2]]) if has_bias else np.zeros(len(weight))
    step = np.maximum(np.abs(weight).max(axis=(1, 2, 3)) / 127, np.abs(bias) / (input_scale * MAX_BIAS_LEVEL))
    scale = np.maximum(step, 1e-10).astype(np.float32)
    levels = np.clip(np.rint(weight / scale[:, None, None, None]), -127, 127).astype(np.int8)
    conv.input[1] = _add_constant(model, conv.input[1], levels, scale)
    if has_bias:
        bias_scale = scale * input_scale
        bias_levels = np.rint(bias / bias_scale).astype(np.int32)
        conv.input[2] = _add_constant(model, conv.input[2], bias_levels, bias_scale)


def _add_constant(
    model: ModelProto, name: str, levels: NDArray[np.generic], scale: NDArray[np.float32]
) -> str:
    """Adds stored levels and the DequantizeLinear that reads them, per output channel; returns its output."""
    names = [f"{name}_levels", f"{name}_scale", f"{name}_zero_point"]
    arrays = [levels, scale, np.zeros(scale.shape, dtype=levels.dtype)]
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for a, n in zip(arrays, names, strict=True))
    model.graph.node.append(
        onnx.helper.make_node("DequantizeLinear", names, [f"{name}_real"], name=f"{name}_dequantize", axis=0)
    )
    return f"{name}_real"


def _after_relu(graph: Graph, tensor: str) -> str:
    """The tensor behind a Relu that alone takes `tensor`, else `tensor`."""
    node = graph.only_consumer(tensor)
    return node.output[0] if node is not None and node.op_type == "Relu" else tensor


def _before_movement(graph: Graph, tensor: str) -> str:
    node = graph.producer.get(tensor)
    return node.input[0] if node is not None and node.op_type == "DepthToSpace" else tensor


def _drop_unused_initializers(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
