"""SSIM: how much of the sources' local structure the fused picture keeps."""

from __future__ import annotations

import math

import numpy as np

from .pictures import Picture, Plane, check_pictures
from .windows import gaussian, smooth, strips

SSIM_SMALLEST_SIDE_PX = 11
SIGMA_PX = 1.5
C1 = (0.01 * 255.0) ** 2
C2 = (0.03 * 255.0) ** 2


def ssim(fused_hw: Picture, infrared_hw: Picture, visible_hw: Picture) -> float:
    """SSIM, the structural similarity of the fused picture with each source, summed; higher is better.

    SSIM(infrared, fused) + SSIM(visible, fused) as in VIFB: 0 to 2 for pictures that resemble each other at
    all, 2 only where all three are equal; negatives of each other reach below 0. Halve it to compare with
    tables that print the mean. Gaussian window of 11 x 11, sigma 1.5, "valid" positions only, K 0.01 and
    0.03, L 255; one luma channel, where VIFB averages the three of a colour picture.

    Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 600-612 (2004), doi:10.1109/TIP.2003.819861; the sum:
    Zhang, Ye, Xiao, CVPRW 2020, 468-478, doi:10.1109/CVPRW50498.2020.00060.
    """
    check_pictures("SSIM", SSIM_SMALLEST_SIDE_PX, fused_hw, infrared_hw, visible_hw)
    window = gaussian(SSIM_SMALLEST_SIDE_PX, SIGMA_PX)
    height_px, width_px = (side_px - SSIM_SMALLEST_SIDE_PX + 1 for side_px in fused_hw.shape)
    total = math.fsum(
        _similarity(fused_hw[rows], (infrared_hw[rows], visible_hw[rows]), window)
        for rows in strips(fused_hw.shape[0], SSIM_SMALLEST_SIDE_PX)
    )
    return total / float(height_px * width_px)


def _similarity(fused_hw: Picture, sources_hw: tuple[Picture, Picture], window: Plane) -> float:
    """The SSIM of each source and the fused picture, summed over sources and window positions."""
    fused = fused_hw.astype(np.float64)
    mean_fused = smooth(fused, window)
    square_fused = smooth(np.square(fused), window)
    total = 0.0
    for source_hw in sources_hw:
        source = source_hw.astype(np.float64)
        mean_source = smooth(source, window)
        square_source = smooth(np.square(source), window)
        product = smooth(source * fused, window)
        means_squared = np.square(mean_source) + np.square(mean_fused)
        means_multiplied = mean_source * mean_fused
        likeness = (2.0 * means_multiplied + C1) * (2.0 * (product - means_multiplied) + C2)
        scale = (means_squared + C1) * (square_source + square_fused - means_squared + C2)
        total += float(np.sum(likeness / scale))
    return total
