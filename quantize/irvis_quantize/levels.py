"""Scales and biases that are known at run time only: what modulation and the pictures' statistics decide.

A convolution of levels gives input scale * weight scale * sum of products, per channel, and these scales may
be computed as well as stored. So modulation costs the INT8 file nothing: it is multiplied into the weights'
scales and added to the bias. Neither passes through levels of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from irvis_export.graph import Graph

MAX_BIAS_LEVEL = 2**30
"""Half of int32's range, which leaves the other half to the sums of products."""
MIN_SCALE = 2.0**-10
"""A modulation closer to zero is taken for this; the offset is divided by it."""


@dataclass(frozen=True, eq=False)
class Modulated:
    """What a modulated convolution's stored part is; channels in the order of its weights."""

    name: str
    scale: str
    """Tensor (1, C, 1, 1)."""
    offset: str
    channels: NDArray[np.int64]
    """Of `scale`, for each channel of the convolution."""
    weight_step: NDArray[np.float32]
    bias: NDArray[np.float32]
    input_step: float


@dataclass(frozen=True)
class Scales:
    """Tensors of one convolution: scale of the weights, levels of the bias."""

    weight: str
    bias_levels: str


def modulated_scales(graph: Graph, layers: Sequence[Modulated]) -> list[Scales]:
    """Computes all layers' scales together, in the operators that one of them would need."""
    if not layers:
        return []
    scale = _joined(graph, [layer.scale for layer in layers], layers, "modulation_scale")
    offset = _joined(graph, [layer.offset for layer in layers], layers, "modulation_offset")
    floor = graph.constant("modulation_floor", np.array(MIN_SCALE, np.float32))
    size = graph.add("Abs", [scale], "modulation_size")
    small = graph.add("Less", [size, floor], "modulation_is_small")
    scale = graph.add("Where", [small, floor, scale], "modulation_scale_floored")
    constants = {
        "weight_step": np.concatenate([layer.weight_step for layer in layers]),
        "bias": np.concatenate([layer.bias for layer in layers]),
        "step": np.concatenate([layer.weight_step * np.float32(layer.input_step) for layer in layers]),
        "widths": np.array([len(layer.bias) for layer in layers], np.int64),
    }
    stored = {name: graph.constant(f"modulation_{name}", array) for name, array in constants.items()}
    weight_scale = graph.add("Mul", [scale, stored["weight_step"]], "modulation_weight_scale")
    share = graph.add("Div", [offset, scale], "modulation_share")
    bias = graph.add("Add", [share, stored["bias"]], "modulation_whole_bias")
    levels = bias_levels(
        graph, graph.add("Div", [bias, stored["step"]], "modulation_bias_in_steps"), "modulation"
    )
    parts = []
    for tensor, kind in ((weight_scale, "weight_scale"), (levels, "bias_levels")):
        parts.append([f"{layer.name}_{kind}" for layer in layers])
        graph.add("Split", [tensor, stored["widths"]], *parts[-1], axis=0)
    return [Scales(weight, bias) for weight, bias in zip(*parts, strict=True)]


@dataclass(frozen=True, eq=False)
class Scaled:
    """A convolution whose modulation goes into its weights' scale alone; channels as in Modulated."""

    name: str
    scale: str
    channels: NDArray[np.int64]
    step: NDArray[np.float32]


def scaled_weights(graph: Graph, layers: Sequence[Scaled]) -> list[str]:
    """Computes the scales of all these layers' weights together, in the operators that one would need.

    Each operator costs some microseconds, whatever it computes: a tenth of irvis-n's time went into these.
    """
    if not layers:
        return []
    scale = _joined(graph, [layer.scale for layer in layers], layers, "scaled_modulation")
    step = graph.constant("scaled_step", np.concatenate([layer.step for layer in layers]))
    product = graph.add("Mul", [scale, step], "scaled_weight_scale")
    widths = graph.constant("scaled_widths", np.array([len(layer.step) for layer in layers], np.int64))
    names = [f"{layer.name}_weight_scale" for layer in layers]
    graph.add("Split", [product, widths], *names, axis=0)
    return names


def bias_levels(graph: Graph, in_steps: str, name: str) -> str:
    """Rounds a bias in its steps to int32, within what it may hold."""
    ends = [
        graph.constant(f"{name}_bias_{end}", np.array(sign * MAX_BIAS_LEVEL, np.float32))
        for end, sign in (("low", -1), ("high", 1))
    ]
    rounded = graph.add("Round", [in_steps], f"{name}_bias_rounded")
    clipped = graph.add("Clip", [rounded, *ends], f"{name}_bias_clipped")
    return graph.add("Cast", [clipped], f"{name}_bias_levels", to=TensorProto.INT32)


def _joined(
    graph: Graph, tensors: Sequence[str], layers: Sequence[Modulated] | Sequence[Scaled], name: str
) -> str:
    """All layers' values one after the other, for each channel of each convolution."""
    places, start = [], 0
    for layer in layers:
        places.append(layer.channels + start)
        start += int(layer.channels.max()) + 1
    joined = graph.add("Concat", tensors, f"{name}_joined", axis=1)
    return _vector(graph, joined, np.concatenate(places), name)


def _vector(graph: Graph, tensor: str, places: NDArray[np.int64], name: str) -> str:
    shape = graph.constant(f"{name}_shape", np.array([-1], np.int64))
    flat = graph.add("Reshape", [tensor, shape], f"{name}_flat")
    return graph.add("Gather", [flat, graph.constant(f"{name}_places", places)], f"{name}_gathered")
