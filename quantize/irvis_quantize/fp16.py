"""Writes FP16, typed in the graph, opset 19; what the context's statistics need stays FP32."""

from __future__ import annotations

import onnx
from irvis_runtime.errors import BackendError
from onnx import ModelProto, version_converter
from onnxruntime.transformers.float16 import convert_float_to_float16

from .graph import Graph

OPSET = 19
IR_VERSION = 9
STATISTICS = ("ReduceMean", "Sqrt", "Reciprocal")


def to_fp16(model: ModelProto) -> ModelProto:
    """Returns the graph with FP16 arithmetic between its uint8 ports.

    Mean and deviation of the thumbnails stay FP32: squares of grey levels reach 65025, and their sums overflow FP16.
    """
    converted = version_converter.convert_version(model, OPSET)
    half = convert_float_to_float16(
        converted, keep_io_types=True, node_block_list=_statistics_nodes(Graph(converted)), disable_shape_infer=False
    )
    half.ir_version = IR_VERSION
    found = {entry.domain: entry.version for entry in half.opset_import}
    if found != {"": OPSET}:
        raise BackendError(f"the FP16 conversion wrote opset {found}, expected {OPSET}; use the pinned onnx")
    onnx.checker.check_model(half, full_check=True)
    return half


def _statistics_nodes(graph: Graph) -> list[str]:
    """The nodes from the context up to its mean, deviation and normalised thumbnails."""
    blocked: list[str] = []
    reached = {"context"}
    for node in graph.model.graph.node:
        if node.op_type in (*STATISTICS, "Sub", "Mul", "Add", "Div", "Clip") and reached & set(node.input):
            if not all(name in reached or name in graph.initializers for name in node.input):
                continue
            reached.update(node.output)
            blocked.append(node.name)
    return blocked
