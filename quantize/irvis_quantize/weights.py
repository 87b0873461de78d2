"""Stores weights and biases of convolutions as levels, or computes in the graph what the context decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .graph import Graph, integer_attribute, text_attribute
from .layers import Layer
from .levels import MAX_BIAS_LEVEL, Modulated, Scales, modulated_scales, scaled_weights


def store_weights(graph: Graph, layers: Sequence[Layer], steps: Sequence[float]) -> None:
    """`steps`: of the levels that each convolution takes."""
    modulated: list[tuple[Layer, Modulated]] = []
    for layer, input_step in zip(layers, steps, strict=True):
        conv, order, source = layer.conv, _channel_order(layer, graph), layer.conv.input
        weight = _floats(graph, source[1])[order]
        bias = _floats(graph, source[2])[order] if len(source) > 2 else np.zeros(len(weight), np.float32)
        step, levels = _levels(weight, bias, input_step)
        del source[1:]
        source.append(graph.constant(f"{conv.name}_weight_levels", levels))
        if layer.multiply is not None and layer.add is not None:
            scale, offset = layer.multiply.input[1], layer.add.input[1]
            channels = _modulated_channels(layer, len(bias))
            modulated.append((layer, Modulated(conv.name, scale, offset, channels, step, bias, input_step)))
        else:
            _finish(graph, layer, _stored_scales(graph, layer, step, bias, input_step))
    parts = modulated_scales(graph, [part for _, part in modulated])
    for (layer, _), scales in zip(modulated, parts, strict=True):
        _finish(graph, layer, scales)


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


def _levels(
    weight: NDArray[np.float32], bias: NDArray[np.float32], input_step: float
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Step of each output channel, and the weights in it.

    A channel of almost no weight gets steps so coarse that its bias fits into int32.
    """
    step = np.maximum(np.abs(weight).max(axis=(1, 2, 3)) / 127, np.abs(bias) / (input_step * MAX_BIAS_LEVEL))
    scale = np.maximum(step, 1e-10).astype(np.float32)
    levels = np.clip(np.rint(weight / scale[:, None, None, None]), -127, 127).astype(np.int8)
    return scale, levels


def _modulated_channels(layer: Layer, count: int) -> NDArray[np.int64]:
    """The channel behind the DepthToSpace, if any, for each of the convolution's."""
    block = 1 if layer.shuffle is None else integer_attribute(layer.shuffle, "blocksize")
    return np.arange(count) % (count // block**2)


def _stored_scales(
    graph: Graph, layer: Layer, step: NDArray[np.float32], bias: NDArray[np.float32], input_step: float
) -> Scales:
    """Bias and scale stored; the scale may be modulated still, and the bias then is with it."""
    name = layer.conv.name
    scale = graph.constant(f"{name}_weight_scale", step)
    if layer.multiply is not None:
        channels = _modulated_channels(layer, len(bias))
        scale = scaled_weights(graph, name, layer.multiply.input[1], channels, scale)
    levels = np.rint(bias / (step * np.float32(input_step))).astype(np.int32)
    return Scales(scale, graph.constant(f"{name}_bias_levels", levels))


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
