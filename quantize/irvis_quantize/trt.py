"""Writes INT8 for TensorRT and OpenVINO: symmetric Q/DQ on what convolutions take, no more (opset 17).

Where Q/DQ may stand is TensorRT's choice, not ours: zero points are 0, steps per tensor and constant, none
between a convolution and its activation, the skip input of a sum quantized and the convolution's branch not
(NVIDIA, "Working with Quantized Types", and what nvidia-modelopt 0.47 emits). Weights are int8 with a step
for each output channel, which TensorRT 10 takes as they are; biases stay floats. ONNX Runtime runs such a
file slowly, and correctly: that is how its likeness is measured here. It has never been built on a board.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from .graph import Graph, sort_nodes
from .layers import Layer, quantized_layers
from .observe import observe
from .weights import MAX_LEVEL, Rounded

OPSET = 17
CLIP_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)

Inputs = Mapping[str, NDArray[np.generic]]


def to_trt(
    model: ModelProto,
    calibration: Sequence[Inputs],
    extremes: Sequence[Inputs],
    rounded: Mapping[str, Rounded],
) -> ModelProto:
    """Returns the INT8 graph of a FP32 one; `rounded`: the weights of its convolutions by name."""
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = Graph(copy)
    layers = quantized_layers(graph)
    taken = list(dict.fromkeys(layer.conv.input[0] for layer in layers))
    values, bounds = observe(model, taken, calibration, extremes)
    for tensor in taken:
        largest = max(-bounds[tensor][0], bounds[tensor][1])
        _insert_pair(graph, tensor, symmetric_step(values[tensor], largest))
    for layer in layers:
        _store_weights(graph, layer, rounded[layer.conv.name])
    graph.drop_unused()
    used = {name for node in graph.model.graph.node for name in node.input}
    kept = [tensor for tensor in graph.model.graph.initializer if tensor.name in used]
    del graph.model.graph.initializer[:]
    graph.model.graph.initializer.extend(kept)
    sort_nodes(graph.model)
    onnx.checker.check_model(graph.model, full_check=True)
    return graph.model


def symmetric_step(values: NDArray[np.float32], largest: float) -> np.float32:
    """The step whose 255 levels around zero give the values back with the least squared error."""
    errors: dict[float, float] = {}
    for share in CLIP_SHARES:
        step = max(largest * share, 1e-6) / MAX_LEVEL
        levels = np.clip(np.rint(values / step), -MAX_LEVEL, MAX_LEVEL)
        errors[step] = float(np.square(levels * step - values).mean())
    best: np.float32 = np.float32(min(errors, key=errors.__getitem__))
    return best


def _insert_pair(graph: Graph, tensor: str, step: np.float32) -> None:
    """Q and DQ behind a tensor, for the convolutions and sums that take it."""
    constants = [
        graph.constant(f"{tensor}_step", np.asarray(step, np.float32)),
        graph.constant(f"{tensor}_zero", np.asarray(0, np.int8)),
    ]
    takers = [node for node in graph.consumers[tensor] if node.op_type in ("Conv", "Add")]
    levels = graph.add("QuantizeLinear", [tensor, *constants], f"{tensor}_levels")
    real = graph.add("DequantizeLinear", [levels, *constants], f"{tensor}_real")
    for node in takers:
        node.input[:] = [real if name == tensor else name for name in node.input]
    graph.index()


def _store_weights(graph: Graph, layer: Layer, rounded: Rounded) -> None:
    conv, name = layer.conv, layer.conv.name
    levels = graph.constant(f"{name}_weight_levels", rounded.levels)
    step = graph.constant(f"{name}_weight_step", rounded.step)
    zero = graph.constant(f"{name}_weight_zero", np.zeros(len(rounded.step), np.int8))
    weight = graph.add("DequantizeLinear", [levels, step, zero], f"{name}_weight", axis=0)
    conv.input[:] = [conv.input[0], weight, graph.constant(f"{name}_bias", rounded.bias)]
    graph.index()
