"""The warp by maps as the compiled kernel takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.errors import ContractError

from .library import Kernels

Size = tuple[int, int]

BLOCK, SPAN_PX, ROWS = 8, 16, 3
"""Pixels made at once, and the window of the source from which they are made: columns and rows."""
FRACTIONS = 64
"""Positions are rounded to this part of a pixel; OpenCV's maps have 32."""
MAX_START = 65535


@dataclass(frozen=True)
class Warp:
    """Bilinear interpolation at fixed positions of a picture of `source_hw`.

    For each block of eight pixels in a row, `starts` has the row and column of its window of 3 x 16 source
    pixels, and `maps` 24 bytes: for each pixel the column in the window, the share of the next column and the
    depth below the window's first row, both in 64ths. Three rows, so that a block may cross from one to the
    next.
    """

    kernels: Kernels
    source_hw: Size
    target_hw: Size
    starts: NDArray[np.uint16]
    maps: NDArray[np.uint8]

    def __call__(self, picture_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the warped picture, uint8 `target_hw`; ContractError for another size than `source_hw`."""
        if picture_hw.shape != self.source_hw or picture_hw.dtype != np.uint8:
            raise ContractError(
                f"warp: expected uint8 {self.source_hw}, got {picture_hw.dtype} {picture_hw.shape}"
            )
        warped_hw = np.empty(self.target_hw, np.uint8)
        self.kernels.warp(picture_hw, self.starts, self.maps, warped_hw)
        return warped_hw


def plan_warp(
    kernels: Kernels, x_hw: NDArray[np.float32], y_hw: NDArray[np.float32], source_hw: Size
) -> Warp | None:
    """Returns the warp that takes each pixel from (x, y); ContractError where these leave the source picture.

    None where a block's positions do not fit its window: a picture that becomes less than about half as wide,
    or is turned by more than some 7 degrees (each by the scale). None also where the source is smaller than a
    window or has a side over `MAX_START`, or the target is narrower than a block.
    """
    height, width = x_hw.shape
    rows, columns = source_hw
    if width < BLOCK or rows < ROWS or columns < SPAN_PX or max(rows, columns) > MAX_START:
        return None
    # The compiled kernel reads where it is told to; NaN fails both comparisons.
    for positions_hw, length_px in ((x_hw, columns), (y_hw, rows)):
        if not (positions_hw.min() >= 0 and positions_hw.max() <= length_px - 1):
            raise ContractError(
                f"warp: expected positions from 0 to {length_px - 1}, "
                f"got {positions_hw.min()} to {positions_hw.max()}"
            )
    firsts = np.minimum(np.arange(-(-width // BLOCK)) * BLOCK, width - BLOCK)
    pixels = firsts[:, None] + np.arange(BLOCK)
    x = np.rint(x_hw * FRACTIONS).astype(np.int32)[:, pixels]
    y = np.rint(y_hw * FRACTIONS).astype(np.int32)[:, pixels]
    left = np.minimum(x.min(axis=2) // FRACTIONS, columns - SPAN_PX)
    top = np.minimum(y.min(axis=2) // FRACTIONS, rows - ROWS)
    x -= FRACTIONS * left[..., None]
    y -= FRACTIONS * top[..., None]
    if x.max() > FRACTIONS * (SPAN_PX - 1) or y.max() > FRACTIONS * (ROWS - 1):
        return None
    # The window's last column is the next one of the last but one, taken whole.
    column = np.minimum(x // FRACTIONS, SPAN_PX - 2)
    maps = np.stack([column, x - FRACTIONS * column, y], axis=2).astype(np.uint8, order="C")
    starts = np.stack([top, left], axis=2).astype(np.uint16, order="C")
    return Warp(kernels, source_hw, (height, width), starts, maps)
