"""Temperatures of a radiometric picture: the coldest, the hottest, and a spot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.image import opencv

from .sensors import Sensor

SPOT_SIDE_PX = 3


def measure_celsius(
    picture_hw: NDArray[Any] | None, sensor: Sensor, spot_xy: tuple[float, float]
) -> Mapping[str, float | None]:
    """Returns `min_c`, `max_c` and `spot_c` in degrees C, each None where the picture holds no temperatures.

    All three are of medians of 3x3 pixels, so that one hot or dead pixel is no temperature. `spot_xy`: x and
    y, 0 to 1 of the picture. Emissivity and the air between are not corrected for.
    """
    if picture_hw is None or picture_hw.dtype != np.uint16 or sensor.kelvin_per_count is None:
        return {"min_c": None, "max_c": None, "spot_c": None}
    medians_hw = opencv().medianBlur(np.ascontiguousarray(picture_hw), SPOT_SIDE_PX)
    height, width = picture_hw.shape
    x, y = (min(int(share * side), side - 1) for share, side in zip(spot_xy, (width, height), strict=True))
    counts = {"min_c": medians_hw.min(), "max_c": medians_hw.max(), "spot_c": medians_hw[y, x]}
    return {name: _rounded(sensor.celsius(float(count))) for name, count in counts.items()}


def _rounded(celsius: float | None) -> float | None:
    return None if celsius is None else round(celsius, 2)
