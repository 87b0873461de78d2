"""Qabf: how much of the sources' edges, in strength and in direction, the fused picture keeps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .pictures import Picture, Plane, check_pictures

# Xydeas and Petrovic's constants: what is lost at best, how steeply, and where half is lost.
STRENGTH_GAMMA, STRENGTH_KAPPA, STRENGTH_SIGMA = 0.9994, 15.0, 0.5
DIRECTION_GAMMA, DIRECTION_KAPPA, DIRECTION_SIGMA = 0.9879, 22.0, 0.8


class Edges(NamedTuple):
    """The Sobel gradient of each pixel: its length (0 upwards) and its direction (-pi/2 to pi/2)."""

    strength_hw: Plane
    angle_hw: Plane


def qabf(fused_hw: Picture, infrared_hw: Picture, visible_hw: Picture) -> float:
    """Qabf, the share of the sources' edges that the fused picture keeps; higher is better.

    Each edge counts as much as it is strong. 0 (nothing kept, or two black sources) to 0.9754 (the fused
    picture equals both sources: the published constants do not reach 1). The picture is surrounded by black,
    as in the published code, so the border of anything brighter counts as an edge.

    Xydeas, Petrovic, Electron. Lett. 36(4), 308-309 (2000), doi:10.1049/el:20000267.
    """
    check_pictures("Qabf", 1, fused_hw, infrared_hw, visible_hw)
    fused = _edges(fused_hw)
    kept = available = 0.0
    for source_hw in (infrared_hw, visible_hw):
        source = _edges(source_hw)
        kept += float(np.sum(_preservation(source, fused) * source.strength_hw))
        available += float(source.strength_hw.sum())
    return kept / available if available > 0.0 else 0.0


def _preservation(source: Edges, fused: Edges) -> Plane:
    """How well each pixel's edge is kept, 0..0.9873."""
    weaker = np.minimum(source.strength_hw, fused.strength_hw)
    stronger = np.maximum(source.strength_hw, fused.strength_hw)
    # Equal strengths stand for themselves, as published: 0 stays 0, and of bytes any other is 1 or more.
    strength = np.divide(weaker, stronger, out=weaker.copy(), where=weaker != stronger)
    direction = 1.0 - np.abs(source.angle_hw - fused.angle_hw) / (np.pi / 2.0)
    strength_loss = 1.0 + np.exp(-STRENGTH_KAPPA * (strength - STRENGTH_SIGMA))
    direction_loss = 1.0 + np.exp(-DIRECTION_KAPPA * (direction - DIRECTION_SIGMA))
    return np.asarray(STRENGTH_GAMMA * DIRECTION_GAMMA / (strength_loss * direction_loss), dtype=np.float64)


def _edges(picture_hw: Picture) -> Edges:
    """Sobel's gradient over a black surround; the angle is pi/2 where the horizontal difference is 0."""
    padded = np.pad(picture_hw, 1).astype(np.int32)
    columns = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    # The signs matter: they decide which directions lie far from pi/2. These are the published convolution's.
    leftward: NDArray[np.int32] = columns[:, :-2] - columns[:, 2:]
    downward: NDArray[np.int32] = rows[2:] - rows[:-2]
    slope = np.divide(downward, leftward, out=np.full(picture_hw.shape, np.inf), where=leftward != 0)
    return Edges(np.sqrt(np.square(leftward) + np.square(downward)), np.arctan(slope))
