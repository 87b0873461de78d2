"""Writes INT8 for ONNX Runtime: uint8 activations, int8 weights per output channel, as Q/DQ (opset 17)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto

from irvis_export.graph import Graph, cast_target, sort_nodes

from .blocks import move_blocks
from .byte_input import fold_bytes, normalise_at_once
from .casts import move_casts_inward
from .channels_last import keep_channels_last
from .layers import (
    Layer,
    after_relu,
    before_shuffle,
    context_tensors,
    quantized_layers,
    shared_ranges,
    split_before_offsets,
)
from .parts import insert_parted, parts_of
from .range import Range
from .weights import Rounded, store_weights


def quantized_tensors(model: ModelProto, kept: Collection[str] = ()) -> list[str]:
    """The tensors that need a range, in the graph's order: what INT8 convolutions and sums take and give.

    The inputs of a Concat have its range: then it moves bytes. The parts of a Split have ranges of their own.
    `kept`: convolutions that stay FP32.
    """
    return _tensors(prepared(model), kept)


def _tensors(graph: Graph, kept: Collection[str]) -> list[str]:
    names: list[str] = []
    for layer in quantized_layers(graph, kept):
        names += [before_shuffle(graph, layer.conv.input[0]), layer.result]
    names = [part for name in names for part in parts_of(graph, name) or [name]]
    held = set(names)
    for node in graph.model.graph.node:
        if node.op_type in ("Add", "Concat") and held.issuperset(
            before_shuffle(graph, name) for name in node.input
        ):
            names.append(after_relu(graph, node.output[0]))
            held.add(names[-1])
    shared = shared_ranges(graph, names)
    return [name for name in dict.fromkeys(names) if name not in shared]


def quantize(
    model: ModelProto,
    ranges: Mapping[str, Range],
    rounded: Mapping[str, Rounded] | None = None,
    kept: Collection[str] = (),
) -> ModelProto:
    """Returns the INT8 graph of a FP32 one; `ranges` has an entry for each of `quantized_tensors`.

    `rounded`: the convolutions' weights by name (rounding); to the nearest level without it. `kept`: the
    names of convolutions that stay FP32; ranges that they alone would need are not looked at.
    Relu in front of a quantized tensor is left out, and Clip where its range says the same: levels end there.
    """
    graph = prepared(model)
    # What a Concat joins has its range, also where it is the only one of its INT8 neighbours that is left.
    whole = shared_ranges(graph, ranges)
    ranges = {name: _above_relu(graph, name, ranges[whole.get(name, name)]) for name in _tensors(graph, kept)}
    layers = quantized_layers(graph, kept)
    steps = [
        float(ranges[before_shuffle(graph, layer.conv.input[0])].scale_and_zero_point()[0])
        for layer in layers
    ]
    for layer in layers:
        _drop_modulation(graph, layer)
    shared = shared_ranges(graph, ranges)
    split = {layer.result: parts_of(graph, layer.result) for layer in layers}
    split = {whole: parts for whole, parts in split.items() if parts}
    in_parts = {part for parts in split.values() for part in parts}
    gains = {
        whole: insert_parted(graph, whole, {part: ranges[part] for part in parts})
        for whole, parts in split.items()
    }
    for tensor, span in [*ranges.items(), *((part, ranges[whole]) for part, whole in shared.items())]:
        if tensor not in shared.values() and tensor not in in_parts:
            _insert_pair(graph, tensor, span)
    for tensor in dict.fromkeys(shared.values()):
        _join_levels(graph, tensor)
    store_weights(graph, layers, steps, rounded or {}, gains)
    graph.drop_unused()
    normalise_at_once(graph)
    _round_once(graph)
    move_blocks(graph)
    graph.drop_unused()
    keep_channels_last(graph, context_tensors(graph))
    graph.drop_unused()
    _drop_unused_initializers(graph.model)
    sort_nodes(graph.model)
    onnx.checker.check_model(graph.model, full_check=True)
    return graph.model


def prepared(model: ModelProto) -> Graph:
    """The FP32 graph with the convolutions that `quantize` finds, under the names that they keep."""
    graph = Graph(move_casts_inward(model))
    fold_bytes(graph)
    split_before_offsets(graph)
    sort_nodes(graph.model)
    return Graph(graph.model)


def _above_relu(graph: Graph, tensor: str, span: Range) -> Range:
    """Without what is below zero, where a Relu makes the tensor: its levels then end where the Relu does."""
    if graph.producer[tensor].op_type != "Relu":
        return span
    return Range(max(span.low, 0.0), max(span.high, 0.0))


def _drop_modulation(graph: Graph, layer: Layer) -> None:
    """Takes a modulation out of the graph: it goes into the convolution's scales."""
    nodes = [node for node in (layer.multiply, layer.add) if node is not None]
    if not nodes:
        return
    result = nodes[-1].output[0]
    for node in nodes:
        graph.remove(node)
    (layer.shuffle or layer.conv).output[0] = result
    graph.index()


def _insert_pair(graph: Graph, tensor: str, span: Range) -> None:
    """Puts Q and DQ behind a tensor; data movement before, between and behind them moves bytes."""
    scale, zero_point = span.scale_and_zero_point()
    constants = [
        graph.constant(f"{tensor}_scale", np.asarray(scale, np.float32)),
        graph.constant(f"{tensor}_zero_point", np.asarray(zero_point, np.uint8)),
    ]
    levels, real = f"{tensor}_levels", f"{tensor}_real"
    graph.rename_input(tensor, real)
    if graph.producer[tensor].op_type == "Add":
        _keep_sums_exact(graph, tensor, real)
    source = _without_clamp(graph, tensor, span)
    before = graph.producer[source]
    if before.op_type == "DepthToSpace":
        source, before.input[0] = before.input[0], f"{tensor}_unmoved"
        before.output[0] = levels
        graph.add("QuantizeLinear", [source, *constants], f"{tensor}_unmoved")
    else:
        graph.add("QuantizeLinear", [source, *constants], levels)
    behind = graph.only_consumer(real)
    if behind is not None and behind.op_type in ("DepthToSpace", "SpaceToDepth", "Split"):
        moved = [(f"{name}_levels", name) for name in behind.output]
        behind.input[0] = levels
        behind.output[:] = [name for name, _ in moved]
    else:
        moved = [(levels, real)]
    for moved_levels, name in moved:
        graph.add("DequantizeLinear", [moved_levels, *constants], name)


def _keep_sums_exact(graph: Graph, tensor: str, real: str) -> None:
    """Lets a sum of a sum take it as the float that it is: its levels are for convolutions alone."""
    for node in graph.consumers.get(real, []):
        if node.op_type == "Add":
            node.input[:] = [tensor if name == real else name for name in node.input]
    graph.index()


def _join_levels(graph: Graph, tensor: str) -> None:
    """Lets a Concat whose inputs have levels of one range move these."""
    concat = graph.producer[tensor]
    pairs = [graph.producer[name] for name in concat.input]
    concat.input[:] = [pair.input[0] for pair in pairs]
    concat.output[0] = f"{tensor}_levels"
    graph.add("DequantizeLinear", [concat.output[0], *pairs[0].input[1:]], tensor)


def _without_clamp(graph: Graph, tensor: str, span: Range) -> str:
    """What feeds the Relu or Clip that makes `tensor`, if the range clamps as tightly; else `tensor`."""
    node = graph.producer[tensor]
    low, high = -np.inf, np.inf
    if node.op_type == "Relu":
        low = 0.0
    elif node.op_type == "Clip":
        low, high = (float(graph.value(name)) for name in node.input[1:3])
    else:
        return tensor
    if span.low < low or span.high > high:
        return tensor
    source: str = node.input[0]
    graph.remove(node)
    return source


def _round_once(graph: Graph) -> None:
    """Clip to 0..255, Round and Cast to bytes are what QuantizeLinear does at once; blocks move after."""
    for cast in list(graph.nodes("Cast")):
        rounding = graph.producer.get(cast.input[0])
        clip = None if rounding is None else graph.producer.get(rounding.input[0])
        if cast_target(cast) != TensorProto.UINT8 or rounding is None or clip is None:
            continue
        if (rounding.op_type, clip.op_type) != ("Round", "Clip") or not _clips_to_bytes(graph, clip):
            continue
        scale = graph.constant(f"{cast.output[0]}_step", np.array(1.0, np.float32))
        zero = graph.constant(f"{cast.output[0]}_zero", np.array(0, np.uint8))
        graph.remove(cast)
        source, result = clip.input[0], cast.output[0]
        shuffle = graph.producer.get(source)
        if shuffle is not None and shuffle.op_type == "DepthToSpace" and graph.only_consumer(source) is clip:
            source, shuffle.input[0], shuffle.output[0] = shuffle.input[0], f"{result}_unmoved", result
            result = shuffle.input[0]
        graph.add("QuantizeLinear", [source, scale, zero], result)


def _clips_to_bytes(graph: Graph, clip: NodeProto) -> bool:
    ends = [graph.value(name) for name in clip.input[1:] if name in graph.initializers]
    return [float(end) for end in ends] == [0.0, 255.0]


def _drop_unused_initializers(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
