"""The same sizes laid out in memory in all the ways that NumPy knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LAYOUTS = (
    "contiguous",
    "part of a wider picture",
    "upside down",
    "mirrored",
    "every second pixel",
    "turned",
    "one row for all",
)


def laid_out(layout: str, size_hw: tuple[int, int], seed: int, dtype: Any = np.uint8) -> NDArray[Any]:
    """Returns noise over all values of the type, in that layout."""
    height, width = size_hw
    rng, values = np.random.default_rng(seed), np.iinfo(dtype).max + 1
    if layout == "turned":
        return np.asarray(rng.integers(0, values, (width, height), dtype).T)
    if layout == "one row for all":
        return np.broadcast_to(rng.integers(0, values, width, dtype), size_hw)
    wide: NDArray[Any] = rng.integers(0, values, (height + 2, 2 * width + 5), dtype)
    if layout == "part of a wider picture":
        return wide[1 : height + 1, 3 : width + 3]
    if layout == "upside down":
        return wide[height - 1 :: -1, :width]
    if layout == "mirrored":
        return wide[:height, width - 1 :: -1]
    if layout == "every second pixel":
        return wide[:height, : 2 * width : 2]
    return np.ascontiguousarray(wide[:height, :width])
