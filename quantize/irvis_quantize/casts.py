"""Moves casts past data movement, so that bytes are moved where floats would be."""

from __future__ import annotations

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from irvis_export.graph import Graph, cast_target, sort_nodes

MOVEMENT = ("Pad", "SpaceToDepth", "DepthToSpace", "Concat", "Slice")
"""Operators that only move pixels: they give the same bytes before a cast as after it."""


def move_casts_inward(model: ModelProto) -> ModelProto:
    """Returns the graph with its casts behind the first and before the last data movement: bytes are moved.

    A byte moves four times cheaper than a float. ONNX Runtime pads and folds bytes; TensorRT does not, so
    this is for ONNX Runtime's file alone.
    """
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    graph = Graph(moved)
    while _push_one_down(graph) or _pull_one_up(graph):
        pass
    sort_nodes(moved)
    return moved


def _push_one_down(graph: Graph) -> bool:
    """Cast(uint8 -> float), then movement: the movement first. For Concat all inputs must be cast bytes."""
    for node in graph.model.graph.node:
        if not _moves_any_type(node):
            continue
        data = list(node.input) if node.op_type == "Concat" else [node.input[0]]
        casts = [graph.producer.get(name) for name in data]
        if not all(cast is not None and is_byte_to_float(cast, graph) for cast in casts):
            continue
        sources = [cast.input[0] for cast in casts if cast is not None]
        raw = f"{node.output[0]}_bytes"
        for position, source in enumerate(sources):
            node.input[position] = source
        cast_after = onnx.helper.make_node(
            "Cast", [raw], [node.output[0]], name=f"{node.name}_cast", to=TensorProto.FLOAT
        )
        node.output[0] = raw
        graph.model.graph.node.append(cast_after)
        _read_shapes_before_casts(graph)
        graph.drop_unused_casts()
        return True
    return False


def _pull_one_up(graph: Graph) -> bool:
    """Movement, then Cast(float -> uint8): the cast first."""
    for cast in graph.nodes("Cast"):
        movement = graph.producer.get(cast.input[0])
        if cast_target(cast) != TensorProto.UINT8 or movement is None or not _moves_any_type(movement):
            continue
        if movement.op_type == "Concat" or graph.only_consumer(movement.output[0]) is not cast:
            continue
        source, result = movement.input[0], cast.output[0]
        early = f"{source}_bytes"
        cast.input[0], cast.output[0] = source, early
        movement.input[0], movement.output[0] = early, result
        graph.index()
        return True
    return False


def _moves_any_type(node: NodeProto) -> bool:
    """Whether a node only moves values; a Pad with a value of its own would need it in the other type."""
    return node.op_type in MOVEMENT and not (node.op_type == "Pad" and len(node.input) > 2)


def is_byte_to_float(node: NodeProto, graph: Graph) -> bool:
    """Whether a node casts bytes to floats."""
    if node.op_type != "Cast" or cast_target(node) != TensorProto.FLOAT:
        return False
    return _holds_bytes(node.input[0], graph)


def _holds_bytes(tensor: str, graph: Graph) -> bool:
    """Whether a tensor is uint8: an input of that type, moved from one, or cast to it."""
    node = graph.producer.get(tensor)
    if node is None:
        types = {port.name: port.type.tensor_type.elem_type for port in graph.model.graph.input}
        return types.get(tensor) == TensorProto.UINT8
    if node.op_type == "Cast":
        return cast_target(node) == TensorProto.UINT8
    return node.op_type in MOVEMENT and _holds_bytes(node.input[0], graph)


def _read_shapes_before_casts(graph: Graph) -> None:
    """A Shape of a cast is the shape of what it casts."""
    for cast in graph.nodes("Cast"):
        for node in graph.consumers.get(cast.output[0], []):
            if node.op_type == "Shape":
                node.input[0] = cast.input[0]
    graph.index()
