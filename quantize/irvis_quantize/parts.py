"""Levels of a tensor that is split: each part has a step of its own, at no cost.

A convolution's output channel may be in any unit: its weights' scale is told. So the channels of each part
come out in steps of that part, and DequantizeLinear behind the Split knows them. The zero is common to all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from irvis_export.graph import Graph

from .range import LEVELS, Range


def parts_of(graph: Graph, tensor: str) -> list[str]:
    """The parts into which nothing but a Split takes a tensor; none for any other."""
    split = graph.only_consumer(tensor)
    return list(split.output) if split is not None and split.op_type == "Split" else []


def insert_parted(graph: Graph, whole: str, ranges: Mapping[str, Range]) -> NDArray[np.float32]:
    """Puts QuantizeLinear before the Split and DequantizeLinear behind it.

    Returns by what each channel of `whole` is to be multiplied to be in steps of the common scale.
    """
    scales, zero_point = part_scales(list(ranges.values()))
    common = max(scales)
    split = graph.only_consumer(whole)
    if split is None:
        raise ValueError(f"{whole}: not taken by a Split alone")
    widths = [int(width) for width in np.asarray(graph.value(split.input[1]))]
    zero = graph.constant(f"{whole}_zero_point", np.asarray(zero_point, np.uint8))
    scale = graph.constant(f"{whole}_scale", np.asarray(common, np.float32))
    split.input[0] = f"{whole}_levels"
    graph.add("QuantizeLinear", [whole, scale, zero], split.input[0])
    for position, (part, own) in enumerate(zip(ranges, scales, strict=True)):
        split.output[position] = f"{part}_levels"
        step = graph.constant(f"{part}_scale", np.asarray(own, np.float32))
        graph.add("DequantizeLinear", [f"{part}_levels", step, zero], part)
    return np.repeat([np.float32(common / own) for own in scales], widths)


def part_scales(ranges: list[Range]) -> tuple[list[float], int]:
    """The steps of all parts and their common zero, chosen for the least sum of squared steps."""
    best: tuple[float, list[float], int] | None = None
    for zero_point in range(LEVELS + 1):
        scales = [_least_scale(span, zero_point) for span in ranges]
        cost = sum(scale**2 for scale in scales)
        if best is None or cost < best[0]:
            best = (cost, scales, zero_point)
    if best is None:
        raise ValueError("no parts")
    return best[1], best[2]


def _least_scale(span: Range, zero_point: int) -> float:
    """The smallest step with which a range fits around a zero; infinite where it cannot."""
    below = _share(max(-span.low, 0.0), zero_point)
    above = _share(max(span.high, 0.0), LEVELS - zero_point)
    return max(below, above, 1e-6 / LEVELS)


def _share(size: float, levels: int) -> float:
    return size / levels if levels else (np.inf if size else 0.0)
