"""A convolution and what follows it up to the tensor that gets levels: shuffle, modulation, Relu."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from onnx import NodeProto

from irvis_export.graph import Graph
from irvis_runtime.contract import CONTEXT

SHUFFLES = ("DepthToSpace", "SpaceToDepth")


@dataclass(frozen=True, eq=False)
class Layer:
    """Convolution, maybe DepthToSpace, maybe modulation (times a scale, plus an offset), maybe Relu."""

    conv: NodeProto
    shuffle: NodeProto | None
    multiply: NodeProto | None
    add: NodeProto | None
    """None also where the offset stays a float operator of its own."""
    result: str
    """The tensor at the end of it."""


def context_tensors(graph: Graph) -> set[str]:
    """What the context alone decides, constants included: the same for every position of a picture."""
    known = {CONTEXT, *graph.initializers}
    for node in graph.model.graph.node:
        if known.issuperset(name for name in node.input if name):
            known.update(node.output)
    return known


def quantized_layers(graph: Graph, kept: Collection[str] = ()) -> list[Layer]:
    """The convolutions that become INT8, in the graph's order: those that see pictures, but for `kept`.

    What sees the thumbnails alone stays FP32: INT8 would save nothing there and cost accuracy everywhere. So
    does a convolution in front of a sigmoid, where 256 levels are up to four grey levels apart.
    """
    still = context_tensors(graph)
    convs = [conv for conv in graph.nodes("Conv") if conv.input[0] not in still]
    onward = _ancestors(graph, [conv.input[0] for conv in convs])
    return [
        _layer(graph, conv, still, onward)
        for conv in convs
        if conv.name not in kept and not _feeds_sigmoid(graph, conv)
    ]


def split_before_offsets(graph: Graph) -> None:
    """Split of (features + offset) becomes two: of the features, which levels can do, and of the offset."""
    still = context_tensors(graph)
    for split in list(graph.nodes("Split")):
        add = graph.producer.get(split.input[0])
        if add is None or add.op_type != "Add" or add.input[1] not in still or add.input[0] in still:
            continue
        graph.remove(split)
        features = [f"{name}_features" for name in split.output]
        offsets = [f"{name}_offset" for name in split.output]
        graph.add("Split", [add.input[0], split.input[1]], *features, axis=1)
        graph.add("Split", [add.input[1], split.input[1]], *offsets, axis=1)
        for feature, offset, name in zip(features, offsets, split.output, strict=True):
            graph.add("Add", [feature, offset], name)
    graph.drop_unused()


def shared_ranges(graph: Graph, names: Iterable[str]) -> dict[str, str]:
    """The tensors that a Concat joins into one of `names`, with its name."""
    makers = {name: graph.producer.get(name) for name in names}
    return {
        part: name
        for name, node in makers.items()
        if node is not None and node.op_type == "Concat"
        for part in node.input
    }


def before_shuffle(graph: Graph, tensor: str) -> str:
    """What a SpaceToDepth or DepthToSpace that makes `tensor` takes, else `tensor`."""
    node = graph.producer.get(tensor)
    return node.input[0] if node is not None and node.op_type in SHUFFLES else tensor


def _layer(graph: Graph, conv: NodeProto, still: set[str], onward: set[str]) -> Layer:
    """Finds what belongs to a convolution.

    A bias that is computed costs time: ONNX Runtime's fastest kernels want it stored. Between convolutions
    that is no more than float operators with levels before and after them cost, and loses no accuracy. Behind
    the last one there are floats anyway, so that its offset stays among them.
    """
    tensor = conv.output[0]
    shuffle = _only(graph, tensor, "DepthToSpace")
    tensor = tensor if shuffle is None else shuffle.output[0]
    multiply = _only(graph, tensor, "Mul")
    if multiply is None or multiply.input[1] not in still:
        return Layer(conv, shuffle, None, None, after_relu(graph, tensor))
    add = _only(graph, multiply.output[0], "Add")
    if add is None or add.input[1] not in still or add.output[0] not in onward:
        return Layer(conv, shuffle, multiply, None, after_relu(graph, multiply.output[0]))
    return Layer(conv, shuffle, multiply, add, after_relu(graph, add.output[0]))


def _feeds_sigmoid(graph: Graph, conv: NodeProto) -> bool:
    """Whether nothing but modulation lies between a convolution and a sigmoid."""
    node = graph.only_consumer(conv.output[0])
    while node is not None and node.op_type in ("Mul", "Add"):
        node = graph.only_consumer(node.output[0])
    return node is not None and node.op_type == "Sigmoid"


def _ancestors(graph: Graph, tensors: list[str]) -> set[str]:
    """The tensors that `tensors` are made of, themselves included."""
    found: set[str] = set()
    waiting = list(tensors)
    while waiting:
        tensor = waiting.pop()
        if tensor not in found:
            found.add(tensor)
            node = graph.producer.get(tensor)
            waiting += [] if node is None else list(node.input)
    return found


def _only(graph: Graph, tensor: str, op_type: str) -> NodeProto | None:
    node = graph.only_consumer(tensor)
    return node if node is not None and node.op_type == op_type and node.input[0] == tensor else None


def after_relu(graph: Graph, tensor: str) -> str:
    """The tensor behind a Relu that alone takes `tensor`, else `tensor`."""
    node = _only(graph, tensor, "Relu")
    return tensor if node is None else node.output[0]
