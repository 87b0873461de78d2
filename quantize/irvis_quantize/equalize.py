"""Brings the channels of a tensor nearer to one range, so that its levels serve each of them better.

All channels of a tensor share one step, which the widest decides. A convolution can give each channel in a
scale of its own, and the next one take it back into its weights (cross-layer equalization, Nagel et al. 2019,
arXiv 1906.04721): the graph computes the same picture, at the same cost. Whole equalization makes weights
uneven instead; the square root of it, as in SmoothQuant (Xiao et al. 2022, arXiv 2211.10438), serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from irvis_export.graph import Graph, sort_nodes
from irvis_runtime.progress import Progress

from .channel_ties import FIXED, Channel, ChannelTies
from .examples import Example
from .gate import Reference
from .int8 import quantized_tensors
from .layers import context_tensors
from .observe import observe_channels
from .rounding import round_weights
from .sessions import open_bytes
from .weights import Rounded

SCOPES = ("none", "between convolutions", "across sums")
"""Across sums (residual blocks) more can be equalized, and all terms of a sum must agree: the pictures say
which is better."""
SHARE = 0.5
"""Exponent of a channel's range relative to the widest: 0 leaves it, 1 makes all ranges equal."""
NARROWEST = 1e-3
"""Relative range that is taken for a narrower one: what is always zero needs no levels."""

Inputs = Mapping[str, NDArray[np.generic]]
Quantize = Callable[[ModelProto, Mapping[str, Rounded]], ModelProto]
"""A FP32 graph and its convolutions' rounded weights -> the quantized graph."""


@dataclass(frozen=True)
class Equalized:
    """The graph that is quantized, its rounded weights, and how the scopes agreed with FP32."""

    model: ModelProto
    rounded: Mapping[str, Rounded]
    scope: str
    agreement_db: Mapping[str, float]
    """By scope, over the calibration pairs."""


def choose_equalization(
    model: ModelProto, parts: Sequence[Example], extremes: Sequence[Inputs], quantize: Quantize
) -> Equalized:
    """Takes the scope whose quantized graph agrees best with FP32 over parts of the calibration pairs.

    Not the teacher's error: what INT8 adds to it is a hundredth, and the choice would follow accidents. What
    channels reach at the extremes counts too: by scenes alone, white frames lost 6 dB, and scenes 1.6 dB.
    """
    inputs = [part.inputs for part in parts]
    reference = Reference(open_bytes(model), parts)
    tried: dict[str, tuple[ModelProto, Mapping[str, Rounded]]] = {}
    agreement_db: dict[str, float] = {}
    with Progress("equalizing channels", len(SCOPES)) as progress:
        for scope in SCOPES:
            equalized = equalize(model, [*inputs, *extremes], scope)
            rounded = round_weights(equalized, inputs)
            session = open_bytes(quantize(equalized, rounded))
            tried[scope], agreement_db[scope] = (
                (equalized, rounded),
                reference.measure(session).agreement_psnr_db,
            )
            progress.step(f"{agreement_db[scope]:.2f} dB to FP32")
    best = max(agreement_db, key=agreement_db.__getitem__)
    return Equalized(*tried[best], best, agreement_db)


def equalize(model: ModelProto, seen: Sequence[Inputs], scope: str) -> ModelProto:
    """A graph that computes the same, its channels rescaled by what they reach over the inputs `seen`."""
    copy = ModelProto()
    copy.CopyFrom(model)
    if scope == SCOPES[0]:
        return copy
    graph = Graph(copy)
    counts, still = _channel_counts(model, seen[0]), context_tensors(graph)
    ties = ChannelTies(graph, counts, still, across_sums=scope == SCOPES[2])
    names = [name for name in quantized_tensors(model) if name in counts]
    ratios = _ratios(ties, observe_channels(model, names, seen))

    def ratio(tensor: str) -> NDArray[np.float32]:
        return np.array(
            [ratios.get(ties.root(channel), 1.0) for channel in ties.channels(tensor)], np.float32
        )

    offsets: dict[str, NDArray[np.float32]] = {}
    for node in graph.model.graph.node:
        if node.op_type == "Conv" and node.input[0] not in still:
            _rescale_weights(graph, node, ratio(node.input[0]), ratio(node.output[0]))
        elif node.op_type == "Add" and node.input[1] in still and node.output[0] not in still:
            offsets[node.input[1]] = ratio(node.output[0])
    _rescale_offsets(graph, offsets)
    sort_nodes(graph.model)
    return graph.model


def _channel_counts(model: ModelProto, inputs: Inputs) -> dict[str, int]:
    """Of every tensor (N, C, H, W) that the graph computes; inference of shapes stops at dynamic pads."""
    watched = ModelProto()
    watched.CopyFrom(model)
    known = {output.name for output in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if name not in known]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    tensors = zip(names, open_bytes(watched).run(names, dict(inputs)), strict=True)
    return {name: tensor.shape[1] for name, tensor in tensors if np.ndim(tensor) == 4}


def _ratios(ties: ChannelTies, reached: Mapping[str, NDArray[np.float32]]) -> dict[Channel, float]:
    """By root, what its channels are divided by: 1 for the widest of the tensors that it is part of."""
    widest: dict[Channel, float] = {}
    for tensor, values in reached.items():
        for channel, value in zip(ties.channels(tensor), values, strict=True):
            root = ties.root(channel)
            widest[root] = max(widest.get(root, 0.0), float(value))
    widest.pop(FIXED, None)
    # Tensors of one scale keep their relation: a Concat gives all that it joins one step.
    scale = dict.fromkeys(widest, 0.0)
    changed = True
    while changed:
        changed = False
        for tensor in reached:
            roots = [root for root in map(ties.root, ties.channels(tensor)) if root != FIXED]
            most = max((max(widest[root], scale[root]) for root in roots), default=0.0)
            for root in roots:
                changed |= scale[root] < most
                scale[root] = max(scale[root], most)
    return {
        root: max(value / scale[root], NARROWEST) ** SHARE if scale[root] > 0.0 else 1.0
        for root, value in widest.items()
    }


def _rescale_weights(
    graph: Graph, conv: NodeProto, taken: NDArray[np.float32], given: NDArray[np.float32]
) -> None:
    """The weights of a convolution whose input and output channels are divided by `taken` and `given`."""
    if (given != 1.0).any() or (taken != 1.0).any():
        columns = taken if len(taken) == graph.initializers[conv.input[1]].dims[1] else np.float32(1.0)
        weight = np.asarray(graph.value(conv.input[1]), np.float32)
        conv.input[1] = graph.constant(
            f"{conv.input[1]}_equalized",
            weight * np.reshape(columns, (1, -1, 1, 1)) / given[:, None, None, None],
        )
        if len(conv.input) > 2:
            bias = np.asarray(graph.value(conv.input[2]), np.float32) / given
            conv.input[2] = graph.constant(f"{conv.input[2]}_equalized", bias)


def _rescale_offsets(graph: Graph, ratios: Mapping[str, NDArray[np.float32]]) -> None:
    """Divides offsets (1, C, 1, 1) that the context decides; those of one Split together, before it."""
    for node in list(graph.nodes("Split")):
        if any(name in ratios for name in node.output) and all(
            graph.only_consumer(name) is not None for name in node.output
        ):
            widths = np.asarray(graph.value(node.input[1]), np.int64)
            parts = [
                ratios.get(name, np.ones(width, np.float32))
                for name, width in zip(node.output, widths, strict=True)
            ]
            node.input[0] = _divided(graph, node.input[0], np.concatenate(parts))
            graph.index()
            ratios = {name: ratio for name, ratio in ratios.items() if name not in node.output}
    for name, ratio in ratios.items():
        if (ratio != 1.0).any():
            graph.rename_input(name, _divided(graph, name, ratio))


def _divided(graph: Graph, tensor: str, ratio: NDArray[np.float32]) -> str:
    inverse = graph.constant(f"{tensor}_inverse_ratio", (1.0 / ratio).reshape(1, -1, 1, 1))
    return graph.add("Mul", [tensor, inverse], f"{tensor}_equalized")
