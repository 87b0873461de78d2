"""Rounds weights so that the error of a convolution's output is least, not that of each weight.

Inputs are alike from pixel to pixel, so that errors of neighbouring weights add up: with each weight rounded
for itself, the first layers' rounding alone cost more than all activations. Here, column by column, what one
weight loses is made good by those not yet rounded (GPTQ, Frantar et al. 2022, arXiv 2210.17323), by the
inputs' second moments over the calibration pairs; what is left of the mean goes into the bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from irvis_export.graph import Graph, integers_attribute
from irvis_runtime.errors import ContractError

from .int8 import prepared
from .layers import quantized_layers
from .sessions import open_bytes
from .weights import MAX_LEVEL, Rounded, plain_step

POSITIONS = 1500
"""Windows of each convolution's input that are looked at in each pair."""
DAMPING = 0.01
"""Of the mean square of the inputs, added to each: what calibration never saw must not be made to cancel."""


@dataclass(frozen=True)
class Moments:
    """Of a convolution's input windows of K values: mean (K,), and mean of products (K, K)."""

    mean: NDArray[np.float64]
    products: NDArray[np.float64]


def round_weights(
    model: ModelProto, calibration: Sequence[Mapping[str, NDArray[np.generic]]]
) -> dict[str, Rounded]:
    """Returns the rounded weights of every INT8 convolution by its name; `calibration`: inputs by port."""
    graph = prepared(model)
    convs = [layer.conv for layer in quantized_layers(graph)]
    moments = _observe(graph, convs, calibration)
    rounded = {}
    for conv in convs:
        weight = np.asarray(graph.value(conv.input[1]), np.float32)
        if not np.isfinite(moments[conv.name].products).all():
            raise ContractError(
                f"{conv.name}: expected finite inputs, got NaN or infinity; train the student again"
            )
        bias = np.asarray(graph.value(conv.input[2]), np.float32) if len(conv.input) > 2 else None
        rounded[conv.name] = round_layer(weight, bias, moments[conv.name])
    return rounded


def round_layer(weight: NDArray[np.float32], bias: NDArray[np.float32] | None, moments: Moments) -> Rounded:
    """One convolution's weights (O, C, kh, kw) in steps of a 127th of each output channel's largest."""
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    step = plain_step(weight)
    levels = _compensated(flat / step[:, None], moments.products)
    lost = flat - levels * step[:, None].astype(np.float64)
    shift = (lost @ moments.mean).astype(np.float32)
    held = np.zeros(len(weight), np.float32) if bias is None else bias
    return Rounded(levels.reshape(weight.shape).astype(np.int8), step, held + shift)


def _compensated(wanted_ok: NDArray[np.float64], products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole levels (O, K) for weights in steps, least in error over inputs with these mean products."""
    size = len(products)
    # Without any input every rounding is as good as another; the matrix must be one still.
    damped = products + max(DAMPING * np.trace(products) / size, 1e-12) * np.eye(size)
    # Upper triangular U with inverse(damped) = U^T U: row k says where the error of weight k goes.
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    left, levels = wanted_ok.copy(), np.empty_like(wanted_ok)
    for k in range(size):
        levels[:, k] = np.clip(np.rint(left[:, k]), -MAX_LEVEL, MAX_LEVEL)
        error = (left[:, k] - levels[:, k]) / upper[k, k]
        left[:, k + 1 :] -= error[:, None] * upper[k, k + 1 :]
    return levels


def _observe(
    graph: Graph, convs: Sequence[NodeProto], calibration: Sequence[Mapping[str, NDArray[np.generic]]]
) -> dict[str, Moments]:
    watched = ModelProto()
    watched.CopyFrom(graph.model)
    names = list(dict.fromkeys(conv.input[0] for conv in convs))
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    session, random = open_bytes(watched), np.random.default_rng(0)
    sums: dict[str, list[NDArray[np.float64]]] = {}
    for inputs in calibration:
        tensors = dict(zip(names, session.run(names, dict(inputs)), strict=True))
        for conv in convs:
            windows = _windows(conv, tensors[conv.input[0]], graph, random)
            # Products of one pair in float32: twice as fast, and their sum over the pairs is not.
            found = [part.astype(np.float64) for part in (windows.mean(axis=0), windows.T @ windows)]
            found[1] /= len(windows)
            known = sums.get(conv.name, [np.zeros_like(part) for part in found])
            sums[conv.name] = [a + b for a, b in zip(known, found, strict=True)]
    return {name: Moments(*(part / len(calibration) for part in parts)) for name, parts in sums.items()}


def _windows(
    conv: NodeProto, tensor: NDArray[np.float32], graph: Graph, random: np.random.Generator
) -> NDArray[np.float32]:
    """Some of the windows (N, C kh kw) that the convolution multiplies, none of them at the border."""
    height, width = tensor.shape[2:]
    kernel = [int(side) for side in graph.initializers[conv.input[1]].dims[2:]]
    dilations = integers_attribute(conv, "dilations")
    spans = [(side - 1) * dilation for side, dilation in zip(kernel, dilations, strict=True)]
    places = max(height - spans[0], 1) * max(width - spans[1], 1)
    chosen = random.choice(places, min(POSITIONS, places), replace=False)
    tops, lefts = np.divmod(chosen, max(width - spans[1], 1))
    rows = tops[:, None] + np.arange(kernel[0]) * dilations[0]
    columns = lefts[:, None] + np.arange(kernel[1]) * dilations[1]
    rows, columns = np.minimum(rows, height - 1), np.minimum(columns, width - 1)
    picked = tensor[0][:, rows[:, :, None], columns[:, None, :]]
    windows: NDArray[np.float32] = picked.transpose(1, 0, 2, 3).reshape(len(chosen), -1)
    return windows
