"""The pictures' bytes are levels already: the statistics of the context are their scale and their zero.

A normalised picture is (byte - mean) / deviation: DequantizeLinear of bytes, with the level next to the mean
as zero, and what that rounding left out. Without the latter a picture would jump by a level whenever its mean
passes a half.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from irvis_export.graph import Graph, integer_attribute

from .casts import is_byte_to_float


def fold_bytes(graph: Graph) -> None:
    """Moves SpaceToDepth in front of what normalises a picture, so that bytes are moved, and once only."""
    known: dict[tuple[str, ...], str] = {}
    for shuffle in list(graph.nodes("SpaceToDepth")):
        chain = _normalising(graph, shuffle.input[0])
        if chain is None:
            continue
        cast, nodes = chain
        block = integer_attribute(shuffle, "blocksize")
        key = (cast.input[0], str(block))
        if key not in known:
            levels = graph.add("SpaceToDepth", [key[0]], f"{key[0]}_blocks{block}", blocksize=block)
            known[key] = graph.add("Cast", [levels], f"{levels}_real", to=TensorProto.FLOAT)
        graph.remove(shuffle)
        tensor = known[key]
        for node in nodes:
            inputs = [tensor, *node.input[1:]]
            key = (node.op_type, *inputs)
            if node is nodes[-1] or key not in known:
                name = shuffle.output[0] if node is nodes[-1] else f"{node.output[0]}_blocks{block}"
                known[key] = graph.add(node.op_type, inputs, name)
            tensor = known[key]
    graph.drop_unused()


def normalise_at_once(graph: Graph) -> None:
    """Cast, Sub and Mul of bytes become DequantizeLinear and an Add."""
    for multiply in list(graph.nodes("Mul")):
        chain = _normalising(graph, multiply.output[0])
        if chain is None or [node.op_type for node in chain[1]] != ["Sub", "Mul"]:
            continue
        cast, (subtract, _) = chain
        name, mean, inverse = cast.input[0], subtract.input[1], multiply.input[1]
        level = graph.add("Round", [mean], f"{name}_level")
        left_out = graph.add("Sub", [level, mean], f"{name}_left_out")
        # A scalar: ONNX Runtime adds one, channels last, three times as fast as (1, 1, 1, 1).
        product = graph.add("Mul", [left_out, inverse], f"{name}_rest_4d")
        rest = graph.add("Squeeze", [product], f"{name}_rest")
        scale = graph.add("Squeeze", [inverse], f"{name}_scale")
        graph.remove(multiply)
        real = graph.add(
            "DequantizeLinear", [name, scale, _byte(graph, level, f"{name}_zero")], f"{name}_about_level"
        )
        graph.add("Add", [real, rest], multiply.output[0])


def _byte(graph: Graph, level: str, name: str) -> str:
    """A whole number as a byte; what lies beyond becomes the nearest."""
    ends = [graph.constant(f"{name}_{end}", np.array(end, np.float32)) for end in (0, 255)]
    inside = graph.add("Clip", [level, *ends], f"{name}_inside")
    cast = graph.add("Cast", [inside], f"{name}_cast", to=TensorProto.UINT8)
    return graph.add("Squeeze", [cast], name)


def _normalising(graph: Graph, tensor: str) -> tuple[NodeProto, list[NodeProto]] | None:
    """The cast of one picture's bytes and the Sub, Mul and Clip behind it that make `tensor`."""
    nodes: list[NodeProto] = []
    node = graph.producer.get(tensor)
    while node is not None and node.op_type in ("Sub", "Mul", "Clip"):
        nodes.insert(0, node)
        node = graph.producer.get(node.input[0])
    if node is None or not is_byte_to_float(node, graph):
        return None
    source = node.input[0]
    while source in graph.producer:
        if graph.producer[source].op_type == "Concat":
            return None
        source = graph.producer[source].input[0]
    return node, nodes
