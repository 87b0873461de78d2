"""Metrics of the fused picture's contrast and activity; none sees the sources, so noise raises them all."""

from __future__ import annotations

import math

import numpy as np

from .pictures import Picture, check_pictures

# Below this, there is no neighbour to take a difference with.
DIFFERENCE_SMALLEST_SIDE_PX = 2


def sd(fused_hw: Picture) -> float:
    """SD, the standard deviation of the fused picture's levels (divided by N, not N - 1); higher is better.

    0 for a flat picture to 127.5 for half black, half white. Published tables with SD near 9 took it in
    saturating 8-bit arithmetic and cannot be compared.

    Ma, Ma, Li, Inf. Fusion 45, 153-178 (2019), doi:10.1016/j.inffus.2018.02.004.
    """
    check_pictures("SD", 1, fused_hw)
    return float(np.std(fused_hw, dtype=np.float64))


def sf(fused_hw: Picture) -> float:
    """SF, the spatial frequency: how much neighbouring pixels differ; higher is better.

    The root of the mean squared difference of vertical neighbours plus that of horizontal ones. Each
    direction has its own mean, over (H - 1) W and H (W - 1) differences. 0 for a flat picture to 255 sqrt(2)
    for a chequerboard of black and white. Published tables with SF near 0.05 are in units of 255 levels.

    Eskicioglu, Fisher, IEEE Trans. Commun. 43(12), 2959-2965 (1995), doi:10.1109/26.477498.
    """
    check_pictures("SF", DIFFERENCE_SMALLEST_SIDE_PX, fused_hw)
    levels = fused_hw.astype(np.int32)
    vertical = np.square(np.diff(levels, axis=0)).mean()
    horizontal = np.square(np.diff(levels, axis=1)).mean()
    return math.sqrt(vertical + horizontal)


def ag(fused_hw: Picture) -> float:
    """AG, the average gradient of the fused picture; higher is better.

    The sum of sqrt((gx^2 + gy^2) / 2) over all H W pixels, divided by (H - 1)(W - 1) as the published code
    does; central differences inside, one-sided at the border. 0 for a flat picture.

    Cui, Feng, Xu, Li, Chen, Opt. Commun. 341, 199-209 (2015), doi:10.1016/j.optcom.2014.12.032.
    """
    check_pictures("AG", DIFFERENCE_SMALLEST_SIDE_PX, fused_hw)
    height_px, width_px = fused_hw.shape
    down, right = np.gradient(fused_hw.astype(np.float64))
    total = np.sqrt((np.square(down) + np.square(right)) / 2.0).sum()
    return float(total / ((height_px - 1) * (width_px - 1)))
