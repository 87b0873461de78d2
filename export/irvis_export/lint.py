"""What TensorRT would refuse or run slowly, read off an ONNX graph; each rule with its source.

`irvis export` and `irvis quantize` keep RULES in every file for TensorRT; dla.py has those of the DLA.

Sources: [types] NVIDIA TensorRT, "Working with Quantized Types"; [ops] onnx-tensorrt, docs/operators.md;
[src] NvInfer.h; [dla] NVIDIA TensorRT, "Working with DLA".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from .graph import Graph, cast_target

DLA_ACTIVATIONS = {"Relu", "Sigmoid", "Tanh", "Clip"}
SLOW_ACTIVATIONS = {
    "Elu",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Mish",
    "Selu",
    "Softplus",
    "Swish",
}
HALF_SCALES_OPSET = 19
MOVEMENTS = {"Slice", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "DepthToSpace", "SpaceToDepth"}
WHOLE_PICTURE = {"InstanceNormalization", "LayerNormalization", "GroupNormalization", "BatchNormalization"}


@dataclass(frozen=True)
class Fault:
    """A rule that a node breaks."""

    rule: str
    node: str
    text: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.node}: {self.text} [{self.rule}]"


Rule = Callable[[Graph, NodeProto], Iterator[str]]


def _symmetric(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[types] Zero points are int8 and 0."""
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return
    zero = graph.initializers.get(node.input[2]) if len(node.input) > 2 else None
    if zero is None:
        yield "expected a stored zero point, int8 and 0, got none"
    elif zero.data_type != TensorProto.INT8:
        yield f"expected an int8 zero point, got {TensorProto.DataType.Name(zero.data_type)}"
    elif np.any(np.asarray(graph.value(node.input[2])) != 0):
        yield "expected the zero point 0, got another"


def _stored_steps(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[types] Scales are build-time constants above 0."""
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return
    if node.input[1] not in graph.initializers:
        yield "expected a stored scale, got one that the graph computes"
    elif np.any(np.asarray(graph.value(node.input[1])) <= 0):
        yield "expected scales above 0, got one that is not"


def _per_tensor(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[types] Activations have one scale; weights one for each output channel, on axis 0."""
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or node.input[1] not in graph.initializers:
        return
    count, is_weight = np.asarray(graph.value(node.input[1])).size, node.input[0] in graph.initializers
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    if count > 1 and not is_weight:
        yield f"expected one scale for a tensor that is computed, got {count}"
    elif count > 1 and axis != 0:
        yield f"expected the scales of weights along axis 0, got axis {axis}"


def _activation_first(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[types] No Q/DQ between a convolution and its activation: they would not be fused."""
    if node.op_type != "QuantizeLinear":
        return
    behind = graph.only_consumer(node.output[0])
    after = graph.only_consumer(behind.output[0]) if behind is not None else None
    if after is not None and after.op_type in DLA_ACTIVATIONS:
        yield f"expected {after.op_type} before it, got it behind"


def _levels_reach_convolutions(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[types] Nothing stands between DequantizeLinear and a convolution: with a cast there it is not INT8."""
    if node.op_type != "Conv":
        return
    for name in node.input[:2]:
        cast = graph.producer.get(name)
        source = None if cast is None else graph.producer.get(cast.input[0])
        is_cast = cast is not None and cast.op_type == "Cast"
        if is_cast and source is not None and source.op_type == "DequantizeLinear":
            yield "expected levels dequantized to the type that it takes, got a cast behind them"


def _half_scales(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[ops] FP16 scales begin with opset 19, which TensorRT takes from 10.0 on."""
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return
    scale = graph.initializers.get(node.input[1])
    opset = max((entry.version for entry in graph.model.opset_import if not entry.domain), default=0)
    if scale is not None and scale.data_type == TensorProto.FLOAT16 and opset < HALF_SCALES_OPSET:
        yield f"expected opset {HALF_SCALES_OPSET} or newer for a scale of FP16, got {opset}"


def _not_on_outputs(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[types] The graph's outputs are not quantized: that costs a reformat."""
    outputs = {output.name for output in graph.model.graph.output}
    if node.op_type == "DequantizeLinear" and outputs & set(node.output):
        yield "expected a float before the output, got levels"


def _whole_bytes(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[ops] A cast to uint8 truncates and is undefined outside 0..255: Clip and Round come before it."""
    if node.op_type != "Cast" or cast_target(node) != TensorProto.UINT8:
        return
    rounding = graph.producer.get(node.input[0])
    while rounding is not None and rounding.op_type in MOVEMENTS:
        rounding = graph.producer.get(rounding.input[0])
    clip = None if rounding is None else graph.producer.get(rounding.input[0])
    if rounding is None or rounding.op_type != "Round" or clip is None or clip.op_type != "Clip":
        yield "expected Clip and Round before a cast to bytes, got none"


def _known_operators(graph: Graph, node: NodeProto) -> Iterator[str]:
    """[ops] ONNX Runtime's own forms are unknown; [dla] few activations run everywhere."""
    if node.op_type.startswith(("QLinear", "QGemm")) or node.op_type in ("ConvInteger", "MatMulInteger"):
        yield f"expected Q/DQ around a float operator, got {node.op_type}"
    if node.op_type in SLOW_ACTIVATIONS:
        yield f"expected one of {', '.join(sorted(DLA_ACTIVATIONS))}, got {node.op_type}"


def _no_norm(graph: Graph, node: NodeProto) -> Iterator[str]:
    """A norm over the picture: no tile, no INT8 and no steady video; fold it (train/README.md)."""
    if node.op_type in WHOLE_PICTURE:
        yield f"expected no norm that sees the whole picture, got {node.op_type}"


RULES: dict[str, Rule] = {
    "symmetric": _symmetric,
    "stored-scale": _stored_steps,
    "per-tensor": _per_tensor,
    "activation-first": _activation_first,
    "levels-reach": _levels_reach_convolutions,
    "half-scales": _half_scales,
    "float-outputs": _not_on_outputs,
    "whole-bytes": _whole_bytes,
    "operators": _known_operators,
    "no-norm": _no_norm,
}


def find_faults(model: ModelProto, rules: Mapping[str, Rule] = MappingProxyType(RULES)) -> list[Fault]:
    """Everything in a graph that breaks a rule; empty for one that TensorRT should take as it is."""
    graph = Graph(ModelProto.FromString(model.SerializeToString()))
    return [
        Fault(name, node.name or node.op_type, text)
        for node in graph.model.graph.node
        for name, rule in rules.items()
        for text in rule(graph, node)
    ]
