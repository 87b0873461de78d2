"""Metrics from Shannon's information in the histograms of the pictures, in bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .pictures import Picture, check_pictures

LEVELS = 256


def en(fused_hw: Picture) -> float:
    """EN, the entropy of the 256-level histogram of the fused picture, in bits; higher is better.

    0 for a flat picture to 8 where all levels are equally frequent. Noise raises it.

    Roberts, van Aardt, Ahmed, J. Appl. Remote Sens. 2, 023522 (2008), doi:10.1117/1.2945910.
    """
    check_pictures("EN", 1, fused_hw)
    return _entropy(np.bincount(fused_hw.ravel(), minlength=LEVELS))


def mi(fused_hw: Picture, infrared_hw: Picture, visible_hw: Picture) -> float:
    """MI, the mutual information of the fused picture with each source, summed, in bits; higher is better.

    I = H(source) + H(fused) - H(source, fused) over the 256 x 256 joint histogram. 0 to 16; the fused picture
    that equals both sources has 2 EN. The MATLAB code that most published values come from counts levels 254
    and 255 as one in the joint histogram alone; that is not imitated, so values differ by a per cent or so
    where white is frequent.

    Qu, Zhang, Yan, Electron. Lett. 38(7), 313-315 (2002), doi:10.1049/el:20020212.
    """
    check_pictures("MI", 1, fused_hw, infrared_hw, visible_hw)
    fused = fused_hw.ravel().astype(np.intp)
    fused_bits = _entropy(np.bincount(fused, minlength=LEVELS))
    total_bits = 0.0
    for source_hw in (infrared_hw, visible_hw):
        source = source_hw.ravel()
        source_bits = _entropy(np.bincount(source, minlength=LEVELS))
        joint_bits = _entropy(np.bincount(fused * LEVELS + source, minlength=LEVELS * LEVELS))
        total_bits += max(0.0, source_bits + fused_bits - joint_bits)
    return total_bits


def _entropy(counts: NDArray[np.intp]) -> float:
    """The entropy in bits of a histogram; empty bins add nothing."""
    filled = counts[counts > 0]
    total = filled.sum()
    return float(np.sum(filled / total * np.log2(total / filled)))
