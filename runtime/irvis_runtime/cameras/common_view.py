"""The largest rectangle that both cameras see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.contract import MIN_SIDE_PX
from irvis_runtime.errors import ContractError


@dataclass(frozen=True)
class Window:
    """A part of the visible picture, in pixels; all four are even, as 4:2:0 chroma asks."""

    top: int
    left: int
    height: int
    width: int

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def common_view(inside_hw: NDArray[np.bool_]) -> Window:
    """Returns the window of largest area within `inside_hw`, which the infrared camera sees, (H, W).

    These are convex (a homography keeps lines straight), so a rectangle lies inside where its first and last
    row do. The shape of the visible picture is not kept, which would give away more. ContractError where
    nothing of the network's least size is left.
    """
    rows, columns = inside_hw.shape
    tops = np.arange(0, rows - 1, 2)
    first = np.where(inside_hw.any(axis=1), inside_hw.argmax(axis=1), columns)
    last = np.where(inside_hw.any(axis=1), columns - inside_hw[:, ::-1].argmax(axis=1), 0)
    # One entry for each first row (down) and each last row (across), which lies at 2 n + 1.
    left = np.maximum(first[tops][:, None], first[tops + 1][None, :])
    right = np.minimum(last[tops][:, None], last[tops + 1][None, :])
    left, right = left + left % 2, right - right % 2
    heights = tops[None, :] + 2 - tops[:, None]
    areas = np.where((heights >= MIN_SIDE_PX) & (right - left >= MIN_SIDE_PX), heights * (right - left), 0)
    top, bottom = np.unravel_index(int(areas.argmax()), areas.shape)
    if areas[top, bottom] == 0:
        raise ContractError(
            f"registration: the cameras have less than {MIN_SIDE_PX}x{MIN_SIDE_PX} pixels of view in common; "
            'calibrate again, or set crop = "none"'
        )
    return Window(
        int(tops[top]),
        int(left[top, bottom]),
        int(heights[top, bottom]),
        int(right[top, bottom] - left[top, bottom]),
    )
