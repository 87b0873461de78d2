"""Gaussian windows, and filtering by them at the positions where the window fits whole ("valid")."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .pictures import Plane

# Output samples per matrix product: measured fastest from 16 to 32 for windows of 9 to 17 taps.
BLOCK = 24
# Rows of output at a time, so that intermediate planes stay in the cache.
STRIP = 2 * BLOCK
# Multiplications in one matrix product: OpenBLAS computes this many on the calling thread. More wake its
# pool, and on a busy machine waiting for the pool was measured to take fifty times as long.
PRODUCT = 2**18


def gaussian(size_px: int, sigma_px: float) -> Plane:
    """One axis of a separable Gaussian window: `size_px` weights (an odd number) whose sum is 1."""
    offsets = np.arange(size_px) - size_px // 2
    weights = np.exp(-np.square(offsets) / (2.0 * sigma_px**2))
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def strips(height_px: int, window_px: int) -> Iterator[slice]:
    """The rows to filter together: one below the other, the filtered strips are the whole filtered plane."""
    for start in range(0, height_px - window_px + 1, STRIP):
        yield slice(start, start + STRIP + window_px - 1)


def smooth(plane_hw: Plane, window: Plane, step: int = 1) -> Plane:
    """The plane filtered by the window along both axes, at every `step`-th position.

    n weights and (H, W) give ((H - n) // step + 1, (W - n) // step + 1). Blocks of outputs are products with
    a small banded matrix, which is many times faster than adding shifted planes.
    """
    rows = _smooth_rows(plane_hw, window, step)
    smoothed: Plane = _smooth_rows(rows.T, window, step).T
    return smoothed


def _smooth_rows(plane_hw: Plane, window: Plane, step: int) -> Plane:
    band = _band(window, step)
    height_px, width_px = plane_hw.shape
    length = (height_px - len(window)) // step + 1
    columns = PRODUCT // band.size
    result = np.empty((length, width_px))
    for start in range(0, length, BLOCK):
        count = min(BLOCK, length - start)
        needed = (count - 1) * step + len(window)
        rows = plane_hw[start * step : start * step + needed]
        for left in range(0, width_px, columns):
            product = result[start : start + count, left : left + columns]
            np.matmul(band[:count, :needed], rows[:, left : left + columns], out=product)
    return result


def _band(window: Plane, step: int) -> Plane:
    """The (BLOCK, (BLOCK - 1) * step + n) matrix whose row k holds the window from column k * step on."""
    band = np.zeros((BLOCK, (BLOCK - 1) * step + len(window)))
    for row in range(BLOCK):
        band[row, row * step : row * step + len(window)] = window
    return band
