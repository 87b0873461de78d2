"""Keeps what lies between INT8 convolutions channels last, as ONNX Runtime's kernels have it.

ONNX Runtime transposes in front of and behind each QLinearConv and cancels what it can; sums, products and
the final blend between them stay channels first, with a transposition of every operand. Here each
QLinearConv's result is turned channels last at once, and the turn back is pushed down, past all that works
element by element, to the next QLinearConv, where both cancel.
"""

from __future__ import annotations

from onnx import NodeProto

from irvis_export.graph import Graph, integer_attribute, integers_attribute, text_attribute

from .blocks import CHANNELS_FIRST, CHANNELS_LAST, reshaped, shape_constant

ELEMENTWISE = {
    *("Add", "Sub", "Mul", "Div", "Relu", "Clip", "Sigmoid", "Round", "Cast"),
    *("DequantizeLinear", "QuantizeLinear"),
}
BY_CHANNEL = {"Concat", "Split"}


def keep_channels_last(graph: Graph, still: set[str]) -> None:
    """Rewrites the graph; `still`: the tensors that the context alone decides, (1, C, 1, 1) or scalars."""
    for conv in list(graph.nodes("QLinearConv")):
        _turn(graph, conv)
    while any(_push_down(graph, node, still) for node in list(graph.model.graph.node)):
        pass
    for turn in [node for node in graph.nodes("Transpose") if _is_turn_back(node)]:
        _turn_levels(graph, turn)


def _turn(graph: Graph, conv: NodeProto) -> None:
    """Puts a pair of transpositions behind a convolution whose result does not go to convolutions alone."""
    (result,) = conv.output
    if all(node.op_type in ("QLinearConv", "Transpose") for node in graph.consumers.get(result, [])):
        return
    conv.output[0] = f"{result}_first"
    graph.index()
    last = graph.add("Transpose", [conv.output[0]], f"{result}_last", perm=CHANNELS_LAST)
    graph.add("Transpose", [last], result, perm=CHANNELS_FIRST)


def _push_down(graph: Graph, node: NodeProto, still: set[str]) -> bool:
    """Lets a node work channels last where all its operands are turned back just before it."""
    pixel = node.op_type == "DepthToSpace" and text_attribute(node, "mode") == "CRD"
    if node.op_type not in ELEMENTWISE | BY_CHANNEL and not pixel:
        return False
    data = [name for name in node.input if name and name not in still and name not in graph.initializers]
    turns = [graph.producer.get(name) for name in data]
    if not data or not all(turn is not None and _is_turn_back(turn) for turn in turns):
        return False
    if pixel:
        _to_pixels(graph, node)
        return True
    for position, name in enumerate(node.input):
        if name in data:
            node.input[position] = graph.producer[name].input[0]
        elif node.op_type in ("Add", "Sub", "Mul", "Div"):
            node.input[position] = _channel_row(graph, name, graph.producer[data[0]].input[0])
    if node.op_type in BY_CHANNEL:
        axis = next(attribute for attribute in node.attribute if attribute.name == "axis")
        axis.i = 3
    results = list(node.output)
    node.output[:] = [f"{name}_channels_last" for name in results]
    graph.index()
    for last, name in zip(list(node.output), results, strict=True):
        graph.add("Transpose", [last], name, perm=CHANNELS_FIRST)
    return True


def _turn_levels(graph: Graph, turn: NodeProto) -> None:
    """Where nothing took the turn further, levels are turned rather than the floats that they become."""
    real = graph.producer.get(turn.input[0])
    if real is None or real.op_type != "DequantizeLinear" or graph.only_consumer(real.output[0]) is not turn:
        return
    levels, result = real.input[0], turn.output[0]
    turn.input[0], turn.output[0] = levels, f"{result}_levels_first"
    real.input[0], real.output[0] = turn.output[0], result
    graph.index()


def _is_turn_back(node: NodeProto) -> bool:
    return node.op_type == "Transpose" and integers_attribute(node, "perm") == CHANNELS_FIRST


def _channel_row(graph: Graph, tensor: str, like: str) -> str:
    """A scalar as it is; (1, C, 1, 1) as (1, 1, W, C), W as `like` has it.

    ONNX Runtime adds a whole row at once three times as fast as (1, 1, 1, C) with 16 channels.
    """
    if _is_scalar(graph, tensor):
        return tensor
    name = f"{tensor}_row_like_{like}"
    if name in graph.producer:
        return name
    vector = graph.add("Transpose", [tensor], f"{name}_vector", perm=CHANNELS_LAST)
    # Of the levels, if there are: what a DequantizeLinear gives is made anew for each that takes it.
    source = graph.producer.get(like)
    levels = source.input[0] if source is not None and source.op_type == "DequantizeLinear" else like
    size = graph.add("Shape", [levels], f"{name}_size")
    picks = [shape_constant(graph, [number]) for number in (2, 3, 0)]
    width = graph.add("Slice", [size, *picks], f"{name}_width")
    one = shape_constant(graph, [1])
    shape = graph.add("Concat", [one, one, width, one], f"{name}_shape", axis=0)
    return graph.add("Expand", [vector, shape], name)


def _is_scalar(graph: Graph, tensor: str) -> bool:
    """Whether it has no axes: a constant without, or what a Squeeze of all axes gives."""
    if tensor in graph.initializers:
        return len(graph.initializers[tensor].dims) < 2
    maker = graph.producer.get(tensor)
    return maker is not None and maker.op_type == "Squeeze" and len(maker.input) == 1


def _to_pixels(graph: Graph, node: NodeProto) -> None:
    """DepthToSpace to one channel from (1, H, W, block^2): channel y * block + x is pixel y, x of it."""
    block = integer_attribute(node, "blocksize")
    source, result = graph.producer[node.input[0]].input[0], node.output[0]
    graph.remove(node)
    tensor = graph.add("Squeeze", [source, shape_constant(graph, [0])], f"{result}_rows")
    tensor = reshaped(graph, tensor, [0, 0, block, block], f"{result}_blocks")
    tensor = graph.add("Transpose", [tensor], f"{result}_lines", perm=[0, 2, 1, 3])
    tensor = reshaped(graph, tensor, [0, 0, -1], f"{result}_wide")
    tensor = reshaped(graph, tensor, [1, -1, 0], f"{result}_whole")
    graph.add("Unsqueeze", [tensor, shape_constant(graph, [1])], result)
