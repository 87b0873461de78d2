"""Metrics of how near the fused picture's levels are to those of the sources."""

from __future__ import annotations

import math

import numpy as np

from .pictures import Picture, Plane, check_pictures

PEAK = 255.0


def mse(fused_hw: Picture, infrared_hw: Picture, visible_hw: Picture) -> float:
    """MSE, the mean squared difference of the fused picture to a source; lower is better.

    The mean over both sources, with levels as 0..1: 0 (three equal pictures) to 1.

    Ma, Ma, Li, Inf. Fusion 45, 153-178 (2019), doi:10.1016/j.inffus.2018.02.004.
    """
    check_pictures("MSE", 1, fused_hw, infrared_hw, visible_hw)
    fused = fused_hw.astype(np.int32)
    infrared_error = np.square(fused - infrared_hw).mean()
    visible_error = np.square(fused - visible_hw).mean()
    return float((infrared_error + visible_error) / 2.0 / PEAK**2)


def psnr(fused_hw: Picture, infrared_hw: Picture, visible_hw: Picture) -> float:
    """PSNR, 10 log10(1 / MSE) in dB with MSE as in `mse`; higher is better.

    0 upwards; infinite where all three pictures are equal. Published values that mix a peak of 255 with an
    MSE of levels 0..1 are 20 log10(255) = 48.13 dB higher.

    Ma, Ma, Li, Inf. Fusion 45, 153-178 (2019), doi:10.1016/j.inffus.2018.02.004.
    """
    check_pictures("PSNR", 1, fused_hw, infrared_hw, visible_hw)
    error = mse(fused_hw, infrared_hw, visible_hw)
    return -10.0 * math.log10(error) if error > 0.0 else math.inf


def cc(fused_hw: Picture, infrared_hw: Picture, visible_hw: Picture) -> float:
    """CC, the mean of Pearson's correlations of the fused picture with each source; higher is better.

    -1 to 1; the correlation with a flat picture counts as 0.

    Ma, Ma, Li, Inf. Fusion 45, 153-178 (2019), doi:10.1016/j.inffus.2018.02.004.
    """
    check_pictures("CC", 1, fused_hw, infrared_hw, visible_hw)
    fused = _centred(fused_hw)
    return (_correlation(fused, _centred(infrared_hw)) + _correlation(fused, _centred(visible_hw))) / 2.0


def scd(fused_hw: Picture, infrared_hw: Picture, visible_hw: Picture) -> float:
    """SCD, the sum of the correlations of differences; higher is better.

    What the fused picture has beyond one source is correlated with the other: r(F - V, I) + r(F - I, V). -2
    to 2; a flat difference or source counts as 0, so a fused picture that equals both sources has 0.

    Aslantas, Bendes, AEU 69(12), 1890-1896 (2015), doi:10.1016/j.aeue.2015.09.004.
    """
    check_pictures("SCD", 1, fused_hw, infrared_hw, visible_hw)
    fused, infrared, visible = _centred(fused_hw), _centred(infrared_hw), _centred(visible_hw)
    return _correlation(fused - visible, infrared) + _correlation(fused - infrared, visible)


def _centred(picture_hw: Picture) -> Plane:
    """The picture less its mean; exactly 0 everywhere for a flat one."""
    return np.subtract(picture_hw, np.mean(picture_hw, dtype=np.float64), dtype=np.float64)


def _correlation(a_hw: Plane, b_hw: Plane) -> float:
    """Pearson's correlation of two planes of mean 0; 0 where either is flat."""
    energy = float(np.square(a_hw).sum()) * float(np.square(b_hw).sum())
    return float(np.sum(a_hw * b_hw)) / math.sqrt(energy) if energy > 0.0 else 0.0
