"""The pictures' bytes are levels already: the statistics of the context are their scale and their zero.

A normalised picture is (byte - zero) / deviation, zero being the level next to the mean: bytes with a scale
and a zero. So DequantizeLinear normalises, and a first convolution may read the bytes themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto

from .graph import Graph, integer_attribute, is_byte_to_float


@dataclass(frozen=True)
class ByteInput:
    """A picture's bytes as levels: tensors of the levels, their scale and level of zero."""

    levels: str
    scale: str
    zero: str


@dataclass(frozen=True, eq=False)
class Normalised:
    """How a picture's bytes become (bytes - zero) * inverse, and where that is clipped."""

    levels: str
    zero: str
    inverse: str
    ends: tuple[str, ...]


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


def normalised(graph: Graph, tensor: str) -> Normalised | None:
    """How `tensor` is made of bytes for a convolution alone; None where it is not, or where floats are too.

    Kernels that take a computed zero are slower. Where the blend needs the floats too, levels of these cost
    less.
    """
    chain = _normalising(graph, tensor)
    if chain is None or [node.op_type for node in chain[1]] != ["Sub", "Mul", "Clip"]:
        return None
    subtract, multiply, clip = chain[1]
    if graph.only_consumer(multiply.output[0]) is None:
        return None
    ends = (clip.input[1], clip.input[2])
    return Normalised(chain[0].input[0], subtract.input[1], multiply.input[1], ends)


def read_bytes(graph: Graph, picture: Normalised) -> ByteInput:
    """Computes what a convolution needs that reads the bytes themselves, clipped."""
    name = picture.levels
    given = _statistics(graph, picture)
    ends = []
    for what, bound in zip(("low", "high"), picture.ends, strict=True):
        distance = graph.add("Div", [bound, picture.inverse], f"{name}_{what}_distance")
        end = graph.add("Add", [distance, picture.zero], f"{name}_{what}_end")
        ends.append(_byte(graph, graph.add("Round", [end], f"{name}_{what}_rounded"), f"{name}_{what}"))
    clipped = graph.add("Clip", [name, *ends], f"{name}_in_range")
    return ByteInput(clipped, given.scale, given.zero)


def normalise_at_once(graph: Graph) -> None:
    """Cast, Sub and Mul of bytes become DequantizeLinear."""
    for multiply in list(graph.nodes("Mul")):
        chain = _normalising(graph, multiply.output[0])
        if chain is None or [node.op_type for node in chain[1]] != ["Sub", "Mul"]:
            continue
        cast, (subtract, _) = chain
        picture = Normalised(cast.input[0], subtract.input[1], multiply.input[1], ())
        given = _statistics(graph, picture)
        graph.remove(multiply)
        graph.add("DequantizeLinear", [given.levels, given.scale, given.zero], multiply.output[0])


def _statistics(graph: Graph, picture: Normalised) -> ByteInput:
    name = picture.levels
    scale = graph.add("Squeeze", [picture.inverse], f"{name}_scale")
    return ByteInput(name, scale, _byte(graph, picture.zero, f"{name}_zero"))


def _byte(graph: Graph, level: str, name: str) -> str:
    """A whole number as a byte; what lies beyond becomes the nearest."""
    ends = [graph.constant(f"{name}_{end}", np.array(end, np.float32)) for end in (0, 255)]
    inside = graph.add("Clip", [level, *ends], f"{name}_level")
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
