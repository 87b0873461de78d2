"""Writes FP16, typed in the graph, opset 19; what the context's statistics need stays FP32."""

from __future__ import annotations

import onnx
from onnx import ModelProto, TensorProto, version_converter
from onnxruntime.transformers.float16 import convert_float_to_float16

from irvis_export.graph import Graph, cast_target, sort_nodes
from irvis_runtime.errors import BackendError

from .layers import context_tensors

OPSET = 19
IR_VERSION = 9


def to_fp16(model: ModelProto) -> ModelProto:
    """Returns the graph with FP16 arithmetic between its uint8 ports.

    What the thumbnails alone decide stays FP32: squares of grey levels reach 65025, their sums are more than
    FP16 holds, and it costs next to nothing.
    """
    converted = version_converter.convert_version(model, OPSET)
    half: ModelProto = convert_float_to_float16(
        converted,
        keep_io_types=True,
        node_block_list=_context_nodes(Graph(converted)),
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


def _context_nodes(graph: Graph) -> list[str]:
    """The nodes that the context alone decides, up to what they give to the pictures' convolutions.

    Not the levels of weights, which nothing decides: a cast behind them would keep TensorRT from INT8.
    """
    still = context_tensors(graph)
    return [
        node.name
        for node in graph.model.graph.node
        if still.issuperset(node.output) and not graph.initializers.keys() >= set(node.input)
    ]


def _drop_round_trips(graph: Graph) -> None:
    """Takes out FP32 -> FP16 -> FP32: the converter writes one where a blocked node reads a float input."""
    for back in list(graph.nodes("Cast")):
        there = graph.producer.get(back.input[0])
        if there is None or there.op_type != "Cast" or cast_target(back) != TensorProto.FLOAT:
            continue
        if cast_target(there) == TensorProto.FLOAT16:
            graph.rename_input(back.output[0], there.input[0])
    graph.drop_unused_casts()
