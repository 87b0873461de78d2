"""A picture to look at: does the infrared picture lie where it belongs?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.cameras.common_view import common_view
from irvis_runtime.cameras.registration import Registration
from irvis_runtime.errors import ContractError
from irvis_runtime.image import opencv

from .fit import Points, corners_of, mapped

EDGE_BGR, VIEW_BGR, WINDOW_BGR, POINT_BGR = (0, 140, 255), (255, 160, 0), (80, 220, 80), (255, 255, 0)
TILES = 8
MIN_WIDTH_PX = 640
MIN_GRADIENT = 40.0
"""In Sobel's units, 8 for a grey level a pixel: evening the contrast makes slopes of flat areas."""


def draw_overlay(
    infrared_hw: NDArray[np.uint8],
    visible_hw: NDArray[np.uint8],
    homography_33: NDArray[np.float64],
    visible_n2: Points,
) -> NDArray[np.uint8]:
    """Returns two pictures side by side, (H, 2 W, 3 BGR).

    Left the visible picture with the infrared one's edges (orange), its border (blue), the largest rectangle
    that both see (green) and the points that agree (cyan); right a checkerboard of both, on which lines go
    on from tile to tile.
    """
    cv2 = opencv()
    registration = Registration(homography_33.tolist())
    size_hw = visible_hw.shape[0], visible_hw.shape[1]
    warped_hw = registration.warp(infrared_hw, size_hw)
    inside_hw = registration.fill(np.ones(size_hw, np.uint8), np.zeros(size_hw, np.uint8)) == 1
    even_hw = cv2.createCLAHE(2.0, (8, 8)).apply(warped_hw)
    thickness = max(round(visible_hw.shape[1] / 640), 1)
    edges_hw = _edges(even_hw, thickness) & cv2.erode(inside_hw.astype(np.uint8), np.ones((5, 5))).astype(
        bool
    )
    left = cv2.cvtColor(visible_hw // 2 + 30, cv2.COLOR_GRAY2BGR)
    left[edges_hw] = EDGE_BGR
    corners = np.rint(mapped(homography_33, corners_of((infrared_hw.shape[0], infrared_hw.shape[1]))))
    cv2.polylines(left, [corners.astype(np.int32)], True, VIEW_BGR, thickness)
    _draw_window(left, inside_hw, thickness)
    for x, y in np.rint(visible_n2).astype(int).tolist():
        cv2.circle(left, (x, y), 2 * thickness, POINT_BGR, thickness)
    tiles_hw = (np.indices(size_hw) // max(max(size_hw) // TILES, 1)).sum(axis=0) % 2 == 1
    right = cv2.cvtColor(np.where(tiles_hw & inside_hw, even_hw, visible_hw), cv2.COLOR_GRAY2BGR)
    both: NDArray[np.uint8] = np.hstack([left, right])
    grow = max(MIN_WIDTH_PX // visible_hw.shape[1], 1)
    return both if grow == 1 else cv2.resize(both, None, fx=grow, fy=grow, interpolation=cv2.INTER_NEAREST)


def _edges(picture_hw: NDArray[np.uint8], thickness: int) -> NDArray[np.bool_]:
    """Canny's edges of the strongest eighth of the gradients."""
    cv2 = opencv()
    smooth_hw = cv2.GaussianBlur(picture_hw, (0, 0), 1.5 * thickness)
    gradient_hw = np.abs(cv2.Sobel(smooth_hw, cv2.CV_32F, 1, 0)) + np.abs(
        cv2.Sobel(smooth_hw, cv2.CV_32F, 0, 1)
    )
    high = max(float(np.percentile(gradient_hw, 87)), MIN_GRADIENT)
    edges_hw = cv2.Canny(smooth_hw, 0.5 * high, high)
    return np.asarray(cv2.dilate(edges_hw, np.ones((thickness, thickness), np.uint8)) > 0)


def _draw_window(picture: NDArray[np.uint8], inside_hw: NDArray[np.bool_], thickness: int) -> None:
    try:
        window = common_view(inside_hw)
    except ContractError:
        return
    end = window.left + window.width - 1, window.top + window.height - 1
    opencv().rectangle(picture, (window.left, window.top), end, WINDOW_BGR, thickness)
