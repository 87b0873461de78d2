"""Nabf: how much edge the fused picture shows where neither source has as much."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .pictures import Picture, Plane, check_pictures

NABF_SMALLEST_SIDE_PX = 2
# The published code's constants: what is lost at best, how steeply, and where half is lost.
STRENGTH_GAMMA, STRENGTH_KAPPA, STRENGTH_SIGMA = 0.9999, 19.0, 0.5
DIRECTION_GAMMA, DIRECTION_KAPPA, DIRECTION_SIGMA = 0.9995, 22.0, 0.5
LEAST_STRENGTH = 2.0
"""Weaker gradients hardly count."""
WEIGHT_EXPONENT, LEAST_WEIGHT = 1.5, 0.001


class Gradient(NamedTuple):
    """Sobel's gradient of each pixel, over 8: its length (0 upwards) and its direction (-pi/2 to pi/2)."""

    strength_hw: Plane
    angle_hw: Plane


def nabf(fused_hw: Picture, infrared_hw: Picture, visible_hw: Picture) -> float:
    """Nabf, the share of edges that fusion made up; 0 (none) to 1, lower is better.

    Pixels count where the fused picture's gradient exceeds both sources', by what is lost of the sources'
    edges there, each as much as it is strong. The picture is surrounded by its own reflection.

    Shreyamsha Kumar, Signal Image Video Process. 7, 1125-1143 (2013), doi:10.1007/s11760-012-0361-x, the
    "modified" one, in the order of arguments that it means: some published tables have the infrared
    picture in the fused one's place.
    """
    check_pictures("Nabf", NABF_SMALLEST_SIDE_PX, fused_hw, infrared_hw, visible_hw)
    fused = _gradient(fused_hw)
    sources = [_gradient(source_hw) for source_hw in (infrared_hw, visible_hw)]
    is_made_up = np.logical_and.reduce([fused.strength_hw > source.strength_hw for source in sources])
    lost = available = 0.0
    for source in sources:
        weight = np.where(
            source.strength_hw >= LEAST_STRENGTH, source.strength_hw**WEIGHT_EXPONENT, LEAST_WEIGHT
        )
        lost += float(np.sum(weight * (1.0 - _preservation(source, fused)), where=is_made_up))
        available += float(weight.sum())
    return lost / available


def _preservation(source: Gradient, fused: Gradient) -> Plane:
    """How well each pixel's edge is kept, 0..0.9997."""
    weaker = np.minimum(source.strength_hw, fused.strength_hw)
    stronger = np.maximum(source.strength_hw, fused.strength_hw)
    strength = np.divide(weaker, stronger, out=np.zeros_like(weaker), where=weaker > 0.0)
    # 1 for equal directions, and for opposite ones; 0 for a right angle.
    direction = np.abs(np.abs(source.angle_hw - fused.angle_hw) - np.pi / 2.0) * 2.0 / np.pi
    strength_loss = 1.0 + np.exp(-STRENGTH_KAPPA * (strength - STRENGTH_SIGMA))
    direction_loss = 1.0 + np.exp(-DIRECTION_KAPPA * (direction - DIRECTION_SIGMA))
    return np.asarray(
        np.sqrt(STRENGTH_GAMMA * DIRECTION_GAMMA / (strength_loss * direction_loss)), dtype=np.float64
    )


def _gradient(picture_hw: Picture) -> Gradient:
    """The angle is 0 where there is no gradient at all."""
    padded = np.pad(picture_hw, 1, mode="reflect").astype(np.int32)
    columns = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    rightward = (columns[:, 2:] - columns[:, :-2]) / 8.0
    downward = (rows[2:] - rows[:-2]) / 8.0
    slope = np.divide(
        rightward,
        downward,
        out=np.where(rightward == 0.0, 0.0, np.copysign(np.inf, rightward)),
        where=downward != 0.0,
    )
    return Gradient(np.sqrt(np.square(rightward) + np.square(downward)), np.arctan(slope))
