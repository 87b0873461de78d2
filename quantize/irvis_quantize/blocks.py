"""DepthToSpace and SpaceToDepth of levels as transpositions of blocks, channels last.

ONNX Runtime's INT8 convolutions work channels last. These operators do not, and would be bracketed with
transpositions of single bytes; written like this, both sides cancel and whole rows of channels are copied.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from irvis_export.graph import Graph, integer_attribute, text_attribute

from .layers import SHUFFLES

CHANNELS_LAST, CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


def move_blocks(graph: Graph) -> None:
    """Rewrites every DepthToSpace of rows, columns, then channels, and every SpaceToDepth; batch size 1.

    To one channel it stays: there are no rows of channels to copy.
    """
    shuffles = [node for node in graph.model.graph.node if node.op_type in SHUFFLES]
    for node, channels in [(node, _channels(graph, node.input[0])) for node in shuffles]:
        block = integer_attribute(node, "blocksize")
        if node.op_type == "SpaceToDepth":
            shapes = [[0, 0, -1, block * channels], [-1, block, 0, block * channels], [0, 0, -1]]
            graph.remove(node)
            _space_to_depth(graph, node, shapes)
        elif text_attribute(node, "mode") != "CRD" and channels > block**2:
            graph.remove(node)
            _depth_to_space(graph, node, block, channels // block**2)


def _depth_to_space(graph: Graph, node: NodeProto, block: int, channels: int) -> None:
    (source,), (result,) = node.input, node.output
    tensor = graph.add("Transpose", [source], f"{result}_last", perm=CHANNELS_LAST)
    tensor = graph.add("Squeeze", [tensor, shape_constant(graph, [0])], f"{result}_rows")
    tensor = reshaped(graph, tensor, [0, 0, block, block * channels], f"{result}_blocks")
    tensor = graph.add("Transpose", [tensor], f"{result}_lines", perm=[0, 2, 1, 3])
    tensor = reshaped(graph, tensor, [0, 0, -1, channels], f"{result}_wide")
    tensor = reshaped(graph, tensor, [1, -1, 0, channels], f"{result}_whole")
    graph.add("Transpose", [tensor], result, perm=CHANNELS_FIRST)


def _space_to_depth(graph: Graph, node: NodeProto, shapes: list[list[int]]) -> None:
    (source,), (result,) = node.input, node.output
    tensor = graph.add("Transpose", [source], f"{result}_last", perm=CHANNELS_LAST)
    tensor = reshaped(graph, tensor, shapes[0], f"{result}_wide")
    tensor = reshaped(graph, tensor, shapes[1], f"{result}_lines")
    tensor = graph.add("Transpose", [tensor], f"{result}_blocks", perm=[0, 2, 1, 3])
    tensor = reshaped(graph, tensor, shapes[2], f"{result}_rows")
    tensor = graph.add("Unsqueeze", [tensor, shape_constant(graph, [0])], f"{result}_whole")
    graph.add("Transpose", [tensor], result, perm=CHANNELS_FIRST)


def reshaped(graph: Graph, tensor: str, shape: list[int], name: str) -> str:
    """Adds a Reshape and returns its result; 0 keeps a side, -1 is what is left."""
    return graph.add("Reshape", [tensor, shape_constant(graph, shape)], name)


def shape_constant(graph: Graph, numbers: list[int]) -> str:
    """The name of stored int64 numbers, one for all who need the same."""
    name = "shape_" + "_".join(map(str, numbers))
    return name if name in graph.initializers else graph.constant(name, np.array(numbers, np.int64))


def _channels(graph: Graph, tensor: str) -> int:
    """Of a tensor that comes from one-channel pictures by convolutions and what keeps or moves channels."""
    node = graph.producer.get(tensor)
    if node is None:
        return 1
    if node.op_type in ("Conv", "QLinearConv"):
        return int(graph.initializers[node.input[3 if node.op_type == "QLinearConv" else 1]].dims[0])
    before = _channels(graph, node.input[0])
    if node.op_type == "DepthToSpace":
        return before // integer_attribute(node, "blocksize") ** 2
    if node.op_type == "SpaceToDepth":
        return before * integer_attribute(node, "blocksize") ** 2
    if node.op_type == "Split":
        return int(graph.value(node.input[1])[list(node.output).index(tensor)])
    return before
