"""Video's limited luma (16..235) to the network's full range (0..255) and back."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.image import opencv

BLACK, WHITE = 16, 235

_CODES = np.arange(256, dtype=np.float64)
# ITU-R BT.601-7 and BT.709-6: Y' = 219 E' + 16, in both.
_TO_FULL = np.clip(np.rint((_CODES - BLACK) * 255 / (WHITE - BLACK)), 0, 255).astype(np.uint8)
_TO_LIMITED = np.rint(_CODES * (WHITE - BLACK) / 255 + BLACK).astype(np.uint8)


def to_full_range(limited_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns luma with black 16 at 0 and white 235 at 255; what lies outside is clamped."""
    return cast("NDArray[np.uint8]", opencv().LUT(limited_hw, _TO_FULL))


def to_limited_range(full_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns luma with 0 at 16 and 255 at 235; `to_full_range` of it is within one step of the original."""
    return cast("NDArray[np.uint8]", opencv().LUT(full_hw, _TO_LIMITED))
