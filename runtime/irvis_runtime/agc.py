"""Automatic gain control: 16-bit thermal counts to 8 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Hot and dead pixels lie outside; the rest keeps its contrast.
LOW_PERCENT, HIGH_PERCENT = 0.5, 99.5
MID_GREY = 128


def stretch_to_8_bit(counts_hw: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Maps the counts between the 0.5 and the 99.5 percentile linearly onto 0..255 and clamps the rest.

    The linear form of FLIR's Tau 2 AGC note, for a single picture. Where the two percentiles are equal, the
    smallest and the largest count take their place; a picture of one count becomes 128 everywhere.
    """
    low, high = (float(value) for value in np.percentile(counts_hw, (LOW_PERCENT, HIGH_PERCENT)))
    if high <= low:
        low, high = float(counts_hw.min()), float(counts_hw.max())
    if high <= low:
        return np.full(counts_hw.shape, MID_GREY, np.uint8)
    scaled = (counts_hw.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    stretched_hw: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return stretched_hw
