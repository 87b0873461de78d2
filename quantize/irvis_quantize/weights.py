"""Stores weights and biases of convolutions as levels, or computes in the graph what the context decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irvis_export.graph import Graph, integer_attribute, text_attribute

from .layers import Layer
from .levels import MAX_BIAS_LEVEL, Modulated, Scaled, Scales, modulated_scales, scaled_weights

MAX_LEVEL = 127


@dataclass(frozen=True, eq=False)
class Rounded:
    """Weights (O, C, kh, kw) as levels, the step of each output channel, and the bias, both (O,)."""

    levels: NDArray[np.int8]
    step: NDArray[np.float32]
    bias: NDArray[np.float32]


def store_weights(
    graph: Graph,
    layers: Sequence[Layer],
    steps: Sequence[float],
    rounded: Mapping[str, Rounded],
    gains: Mapping[str, NDArray[np.float32]],
) -> None:
    """`steps`: of the levels that each convolution takes; `rounded`: by the convolution's name, if at all.

    `gains`: by the result's name, what its channels are multiplied by, where their steps differ (parts).
    """
    modulated: list[tuple[Layer, Modulated]] = []
    scaled: list[tuple[Layer, Scaled, str]] = []
    for layer, input_step in zip(layers, steps, strict=True):
        conv, order = layer.conv, _channel_order(layer, graph)
        found = _rounded_layer(graph, layer, input_step, rounded.get(conv.name))
        step, bias = found.step[order], found.bias[order]
        conv.input[1:] = [graph.constant(f"{conv.name}_weight_levels", found.levels[order])]
        if layer.multiply is not None and layer.add is not None:
            scale, offset = layer.multiply.input[1], layer.add.input[1]
            channels = _modulated_channels(layer, len(bias))
            modulated.append((layer, Modulated(conv.name, scale, offset, channels, step, bias, input_step)))
            continue
        whole = np.rint(bias / (step * np.float32(input_step))).astype(np.int32)
        bias_levels = graph.constant(f"{conv.name}_bias_levels", whole)
        step = step * gains.get(layer.result, np.ones(len(bias), np.float32))[order]
        if layer.multiply is None:
            _finish(graph, layer, Scales(graph.constant(f"{conv.name}_weight_scale", step), bias_levels))
        else:
            # The bias is in steps of the scale, so that it is modulated with it.
            channels = _modulated_channels(layer, len(bias))
            part = Scaled(conv.name, layer.multiply.input[1], channels, step)
            scaled.append((layer, part, bias_levels))
    scales_of = scaled_weights(graph, [part for _, part, _ in scaled])
    for (layer, _, bias_levels), scale in zip(scaled, scales_of, strict=True):
        _finish(graph, layer, Scales(scale, bias_levels))
    parts = modulated_scales(graph, [part for _, part in modulated])
    for (layer, _), scales in zip(modulated, parts, strict=True):
        _finish(graph, layer, scales)


def _rounded_layer(graph: Graph, layer: Layer, input_step: float, given: Rounded | None) -> Rounded:
    """The layer's weights as levels: those given, or each rounded to the nearest."""
    source = layer.conv.input
    weight = _floats(graph, source[1])
    bias = _floats(graph, source[2]) if len(source) > 2 else np.zeros(len(weight), np.float32)
    return _coarse_enough(given or plainly_rounded(weight, bias), weight, input_step)


def _channel_order(layer: Layer, graph: Graph) -> NDArray[np.int64]:
    """The order in which output channels are stored; the DepthToSpace behind them is told.

    A block's rows and columns go before its channels: blocks.py copies whole rows of channels then.
    """
    count = int(graph.initializers[layer.conv.input[1]].dims[0])
    order = np.arange(count)
    if layer.shuffle is None or text_attribute(layer.shuffle, "mode") != "CRD":
        return order
    for attribute in layer.shuffle.attribute:
        if attribute.name == "mode":
            attribute.s = b"DCR"
    blocked: NDArray[np.int64] = order.reshape(-1, integer_attribute(layer.shuffle, "blocksize") ** 2).T
    return blocked.reshape(-1)


def _floats(graph: Graph, name: str) -> NDArray[np.float32]:
    return np.asarray(graph.value(name), np.float32)


def plain_step(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """A 127th of each output channel's largest weight, up to the next that FP16 can hold."""
    return half_step(np.abs(weight).max(axis=(1, 2, 3)) / MAX_LEVEL)


def half_step(step: NDArray[np.floating]) -> NDArray[np.float32]:
    """Steps as float32, none smaller, that FP16 holds exactly: one plan serves FP32's scales and FP16's."""
    half = np.maximum(step, np.finfo(np.float16).smallest_subnormal).astype(np.float16)
    raised = np.where(half < step, np.nextafter(half, np.float16(np.inf)), half)
    return np.asarray(raised, np.float32)


def plainly_rounded(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Rounded:
    """Every weight to the nearest level."""
    step = plain_step(weight)
    return Rounded(_nearest(weight, step), step, bias)


def _nearest(weight: NDArray[np.float32], step: NDArray[np.float32]) -> NDArray[np.int8]:
    levels = np.clip(np.rint(weight / step[:, None, None, None]), -MAX_LEVEL, MAX_LEVEL)
    whole: NDArray[np.int8] = levels.astype(np.int8)
    return whole


def _coarse_enough(found: Rounded, weight: NDArray[np.float32], input_step: float) -> Rounded:
    """A channel of almost no weight gets steps so coarse that its bias fits into int32."""
    least = (np.abs(found.bias) / (input_step * MAX_BIAS_LEVEL)).astype(np.float32)
    if (least <= found.step).all():
        return found
    step = np.maximum(found.step, least)
    levels = np.where((least > found.step)[:, None, None, None], _nearest(weight, step), found.levels)
    return Rounded(levels, step, found.bias)


def _modulated_channels(layer: Layer, count: int) -> NDArray[np.int64]:
    """The channel behind the DepthToSpace, if any, for each of the convolution's."""
    block = 1 if layer.shuffle is None else integer_attribute(layer.shuffle, "blocksize")
    return np.arange(count) % (count // block**2)


def _finish(graph: Graph, layer: Layer, scales: Scales) -> None:
    """Turns a convolution between levels into QLinearConv; levels of weights are symmetric around zero.

    ONNX Runtime makes the same of Conv between DequantizeLinear and QuantizeLinear where scales are stored.
    """
    conv = layer.conv
    taken, given = graph.producer[conv.input[0]], graph.consumers[conv.output[0]][0]
    levels = conv.input[1]
    zero = f"{conv.name}_weight_zero"
    graph.constant(zero, np.zeros(int(graph.initializers[levels].dims[0]), np.int8))
    graph.remove(given)
    conv.op_type = "QLinearConv"
    conv.input[:] = [*taken.input, levels, scales.weight, zero, *given.input[1:], scales.bias_levels]
    conv.output[0] = given.output[0]
    graph.index()
