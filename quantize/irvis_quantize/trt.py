"""Writes INT8 for TensorRT and OpenVINO: symmetric Q/DQ on what convolutions take, no more (opset 17).

Where Q/DQ may stand is TensorRT's choice, not ours: zero points are 0, steps per tensor and constant, none
between a convolution and its activation, the skip input of a sum quantized and the convolution's branch not
(NVIDIA, "Working with Quantized Types", and what nvidia-modelopt 0.47 emits). Weights are int8 with a step
for each output channel, which TensorRT 10 takes as they are; biases stay floats. ONNX Runtime runs such a
file slowly, and correctly: that is how its likeness is measured here. It has never been built on a board.

TensorRT before 10.12 takes the file with FP32 around the levels, and chooses FP16 itself (weak typing);
from 10.12 on types are those of the graph (strong typing): `to_fp16_trt` writes FP16 around the same levels,
opset 19, where Q/DQ may have scales of FP16. All steps are numbers that FP16 holds, so that both files have
the same levels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from irvis_export.graph import Graph, sort_nodes
from irvis_runtime.model_files.calibration_file import Levels

from .fp16 import to_fp16
from .layers import Layer, quantized_layers
from .observe import observe
from .weights import MAX_LEVEL, Rounded, half_step

OPSET = 17
CLIP_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)

Inputs = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class TrtPlan:
    """What both files for TensorRT are made from."""

    model: ModelProto
    steps: Mapping[str, Levels]
    """By the tensor that convolutions take."""
    rounded: Mapping[str, Rounded]
    """The weights of all convolutions by name."""
    taken: Mapping[str, str]
    """By the convolution's name, the tensor that it takes."""


def plan_trt(
    model: ModelProto,
    calibration: Sequence[Inputs],
    extremes: Sequence[Inputs],
    rounded: Mapping[str, Rounded],
) -> TrtPlan:
    """Finds the steps of everything that convolutions take; `rounded`: their weights by name."""
    layers = quantized_layers(Graph(model))
    taken = {layer.conv.name: layer.conv.input[0] for layer in layers}
    names = list(dict.fromkeys(taken.values()))
    values, bounds = observe(model, names, calibration, extremes)
    steps = {}
    for name in names:
        largest = max(-bounds[name][0], bounds[name][1])
        step = float(symmetric_step(values[name], largest))
        end = step * (MAX_LEVEL + 0.5)
        clipped = float((np.abs(values[name]) > end).mean())
        steps[name] = Levels(name, -step * MAX_LEVEL, step * MAX_LEVEL, step, 0, clipped)
    return TrtPlan(model, steps, rounded, taken)


def to_trt(plan: TrtPlan, kept: Collection[str] = ()) -> ModelProto:
    """Returns the INT8 graph of a FP32 one; `kept`: the names of convolutions that stay floats."""
    copy = ModelProto()
    copy.CopyFrom(plan.model)
    graph = Graph(copy)
    layers = quantized_layers(graph, kept)
    convs = {layer.conv.name for layer in layers}
    for tensor in dict.fromkeys(layer.conv.input[0] for layer in layers):
        _insert_pair(graph, tensor, np.float32(plan.steps[tensor].scale), convs)
    for layer in layers:
        _store_weights(graph, layer, plan.rounded[layer.conv.name])
    graph.drop_unused()
    used = {name for node in graph.model.graph.node for name in node.input}
    kept = [tensor for tensor in graph.model.graph.initializer if tensor.name in used]
    del graph.model.graph.initializer[:]
    graph.model.graph.initializer.extend(kept)
    sort_nodes(graph.model)
    onnx.checker.check_model(graph.model, full_check=True)
    return graph.model


def to_fp16_trt(plan: TrtPlan, kept: Collection[str] = ()) -> ModelProto:
    """The same with FP16 where `to_trt` has FP32, typed in the graph, opset 19."""
    return to_fp16(to_trt(plan, kept))


def symmetric_step(values: NDArray[np.float32], largest: float) -> np.float32:
    """The step whose 255 levels around zero give the values back with the least squared error."""
    errors: dict[float, float] = {}
    for share in CLIP_SHARES:
        step = float(half_step(np.asarray(max(largest * share, 1e-6) / MAX_LEVEL)))
        levels = np.clip(np.rint(values / step), -MAX_LEVEL, MAX_LEVEL)
        errors[step] = float(np.square(levels * step - values).mean())
    best: np.float32 = np.float32(min(errors, key=errors.__getitem__))
    return best


def _insert_pair(graph: Graph, tensor: str, step: np.float32, convs: Collection[str]) -> None:
    """Q and DQ behind a tensor, for those of `convs` and the sums that take it."""
    constants = [
        graph.constant(f"{tensor}_step", np.asarray(step, np.float32)),
        graph.constant(f"{tensor}_zero", np.asarray(0, np.int8)),
    ]
    takers = [node for node in graph.consumers[tensor] if node.op_type == "Add" or node.name in convs]
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
