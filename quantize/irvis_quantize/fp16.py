"""Writes FP16, typed in the graph, opset 19; what the context's statistics need stays FP32."""

from __future__ import annotations

import onnx
from onnx import ModelProto, TensorProto, version_converter
from onnxruntime.transformers.float16 import convert_float_to_float16

from irvis_runtime.contract import CONTEXT
from irvis_runtime.errors import BackendError

from .graph import Graph, cast_target, sort_nodes

OPSET = 19
IR_VERSION = 9
STATISTICS = ("ReduceMean", "Sub", "Mul", "Add", "Div", "Sqrt", "Reciprocal", "Clip")


def to_fp16(model: ModelProto) -> ModelProto:
    """Returns the graph with FP16 arithmetic between its uint8 ports.

    Mean and deviation of the thumbnails stay FP32: squares of grey levels reach 65025, and their sums are
    more than FP16 holds.
    """
    converted = version_converter.convert_version(model, OPSET)
    half: ModelProto = convert_float_to_float16(
        converted,
        keep_io_types=True,
        node_block_list=_statistics_nodes(Graph(converted)),
        disable_shape_infer=False,
    )
    _drop_round_trips(Graph(half))
    sort_nodes(half)
    half.ir_version = IR_VERSION
    found = {entry.domain: entry.version for entry in half.opset_import}
    if found != {"": OPSET}:
        raise BackendError(f"the FP16 conversion wrote opset {found}, expected {OPSET}; use the pinned onnx")
    onnx.checker.check_model(half, full_check=True)
    return half


def _statistics_nodes(graph: Graph) -> list[str]:
    """The nodes from the context up to its mean, deviation and normalised thumbnails."""
    constants = set(graph.initializers) | {node.output[0] for node in graph.nodes("Constant")}
    reached = {CONTEXT}
    blocked: list[str] = []
    for node in graph.model.graph.node:
        data = {name for name in node.input if name not in constants}
        if node.op_type in STATISTICS and data and data <= reached:
            reached.update(node.output)
            blocked.append(node.name)
    return blocked


def _drop_round_trips(graph: Graph) -> None:
    """Takes out FP32 -> FP16 -> FP32: the converter writes one where a blocked node reads a float input."""
    for back in list(graph.nodes("Cast")):
        there = graph.producer.get(back.input[0])
        if there is None or there.op_type != "Cast" or cast_target(back) != TensorProto.FLOAT:
            continue
        if cast_target(there) == TensorProto.FLOAT16:
            graph.rename_input(back.output[0], there.input[0])
    graph.drop_unused_casts()
