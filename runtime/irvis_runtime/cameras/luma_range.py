"""Video's limited luma (16..235) to the network's full range (0..255) and back."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.image import opencv
from irvis_runtime.kernels.library import kernels

BLACK, WHITE = 16, 235

# ITU-R BT.601-7 and BT.709-6: Y' = 219 E' + 16, in both. No code of 0..255 lies half-way between two results,
# so that OpenCV's single precision and the kernels' 16 bits both give the exact ones.
_GAIN = 255 / (WHITE - BLACK)


def to_full_range(limited_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns luma with black 16 at 0 and white 235 at 255; what lies outside is clamped."""
    compiled = kernels()
    if compiled is not None:
        return compiled.to_full_range(limited_hw)
    full_hw = opencv().addWeighted(limited_hw, _GAIN, limited_hw, 0.0, -BLACK * _GAIN)
    return cast("NDArray[np.uint8]", full_hw)


def to_limited_range(full_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns luma with 0 at 16 and 255 at 235; `to_full_range` of it is within one step of the original."""
    compiled = kernels()
    if compiled is not None:
        return compiled.to_limited_range(full_hw)
    return cast("NDArray[np.uint8]", opencv().convertScaleAbs(full_hw, alpha=1 / _GAIN, beta=BLACK))
