"""The two pictures of one moment in the making, and where things of the world are in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .noise import Floats
from .view import View

Window = tuple[slice, slice]


@dataclass
class Shot:
    """What one camera position sees; a band that is not wanted is None."""

    view: View
    """Of the canvas."""
    affine_23: NDArray[np.float64]
    """From canvas pixels to the shot's pixels: the camera's sway."""
    size_hw: tuple[int, int]
    visible_hw3: NDArray[np.uint8] | None = None
    heat_c_hw: Floats | None = None

    def place(self, points_n3: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixels (..., 2) and depths (...) of points of the world."""
        pixels, depth_m = self.view.project(points_n3)
        return self.moved(pixels), depth_m

    def moved(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """The shot's pixels for pixels of the canvas."""
        return np.asarray(pixels @ self.affine_23[:, :2].T + self.affine_23[:, 2])

    def window(self, pixels_n2: NDArray[np.float64], grow_px: int = 1) -> Window | None:
        """The part of the shot around these pixels, or None where there is none."""
        low = np.floor(pixels_n2.min(axis=0)) - grow_px
        high = np.ceil(pixels_n2.max(axis=0)) + grow_px + 1
        height, width = self.size_hw
        x0, x1 = int(max(low[0], 0)), int(min(high[0], width))
        y0, y1 = int(max(low[1], 0)), int(min(high[1], height))
        return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None

    def part(self, image: NDArray[Any], window: Window) -> NDArray[Any]:
        """A picture of the canvas as the shot shows it within `window`."""
        import cv2

        affine = self.affine_23.copy()
        affine[:, 2] -= (window[1].start, window[0].start)
        size = (window[1].stop - window[1].start, window[0].stop - window[0].start)
        return np.asarray(
            cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        )
