"""Many small matches of structure around a coarse homography, so that a fit has points to weigh."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.image import opencv

from .fit import Points, mapped
from .search import PicturePair
from .structure import orientation_map

Size = tuple[int, int]

SIDE_PX = 640
"""Longer side of the visible picture in this step; a larger one is shrunk to it, a smaller one enlarged."""
MAX_ENLARGED = 2.5
SIGMA_PX, SURROUND_PX = 1.2, 24.0
GRID = 18
"""Patches along the longer side."""
MIN_STRUCTURE = 0.12
MIN_CORRELATION = 0.3
MIN_LEAD = 0.03
"""Lead over the best place further off; an edge alone fits anywhere along itself."""


@dataclass(frozen=True)
class Reach:
    """Half the side of a patch and how far around its place it is looked for, in pixels of `SIDE_PX`."""

    patch_px: int
    radius_px: int


@dataclass(frozen=True)
class Matches:
    """Points found in both pictures, (N, 2) x and y, in the pixels of the pictures as given."""

    infrared_n2: Points
    visible_n2: Points
    correlation_n: NDArray[np.float64]


def find_matches(pairs: Sequence[PicturePair], homography_33: NDArray[np.float64], reach: Reach) -> Matches:
    """Returns the patches of all pairs that have one clear place near where the homography puts them."""
    parts = [_matches_of_pair(*pair, homography_33, reach) for pair in pairs]
    visible_n2 = np.concatenate([part[0] for part in parts])
    warped_n2 = np.concatenate([part[1] for part in parts])
    infrared_n2 = mapped(np.asarray(np.linalg.inv(homography_33), np.float64), warped_n2)
    return Matches(infrared_n2, visible_n2, np.concatenate([part[2] for part in parts]))


def work_factor(visible_hw: Size) -> float:
    """Pixels of this step for one of the visible picture."""
    return min(MAX_ENLARGED, SIDE_PX / max(visible_hw))


def _matches_of_pair(
    infrared_hw: NDArray[np.uint8],
    visible_hw: NDArray[np.uint8],
    homography_33: NDArray[np.float64],
    reach: Reach,
) -> tuple[Points, Points, NDArray[np.float64]]:
    """Visible points, the warped infrared's points (both in visible pixels), and their correlations."""
    cv2 = opencv()
    factor = work_factor((visible_hw.shape[0], visible_hw.shape[1]))
    size = round(visible_hw.shape[1] * factor), round(visible_hw.shape[0] * factor)
    scale_x, scale_y = size[0] / visible_hw.shape[1], size[1] / visible_hw.shape[0]
    shrink_33 = np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    visible_map = orientation_map(
        cv2.resize(visible_hw, size, interpolation=interpolation), SIGMA_PX, SURROUND_PX
    )
    warped_map, view_hw = _warped_map(infrared_hw, shrink_33 @ homography_33, size)
    found = []
    margin = reach.patch_px + reach.radius_px
    for centre in _grid(size, margin):
        match = _match(warped_map, visible_map, view_hw, centre, reach)
        if match is not None:
            found.append((*centre, *match))
    table = np.array(found, np.float64).reshape(-1, 5)
    unshrink_33 = np.linalg.inv(shrink_33)
    return mapped(unshrink_33, table[:, 2:4]), mapped(unshrink_33, table[:, :2]), table[:, 4]


def _warped_map(
    infrared_hw: NDArray[np.uint8], homography_33: NDArray[np.float64], size: Size
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The infrared picture's map where the homography puts it, and 1 where it sees anything."""
    cv2 = opencv()
    middle = np.array([(infrared_hw.shape[1] - 1) / 2, (infrared_hw.shape[0] - 1) / 2, 1.0])
    scale = math.sqrt(abs(np.linalg.det(homography_33) / (homography_33[2] @ middle) ** 3))
    if scale < 1:
        infrared_hw = cv2.GaussianBlur(infrared_hw, (0, 0), 0.45 * math.sqrt(1 / scale**2 - 1) + 1e-3)
    warped_hw = cv2.warpPerspective(infrared_hw, homography_33, size, borderMode=cv2.BORDER_REPLICATE)
    view_hw = cv2.warpPerspective(np.ones(infrared_hw.shape, np.uint8), homography_33, size)
    return orientation_map(warped_hw, SIGMA_PX, SURROUND_PX), view_hw


def _grid(size: Size, margin_px: int) -> list[tuple[int, int]]:
    step = max(max(size) // GRID, 4)
    return [
        (x, y)
        for y in range(margin_px, size[1] - margin_px, step)
        for x in range(margin_px, size[0] - margin_px, step)
    ]


def _match(
    warped_map: NDArray[np.float32],
    visible_map: NDArray[np.float32],
    view_hw: NDArray[np.uint8],
    centre: tuple[int, int],
    reach: Reach,
) -> tuple[float, float, float] | None:
    """Where in the visible map (x, y) the patch of the warped map lies best, and its correlation."""
    cv2 = opencv()
    (x, y), half, far = centre, reach.patch_px, reach.patch_px + reach.radius_px
    patch = warped_map[y - half : y + half + 1, x - half : x + half + 1]
    view = view_hw[y - half : y + half + 1, x - half : x + half + 1]
    if view.min() == 0 or float(np.sqrt(np.mean(patch**2))) < MIN_STRUCTURE:
        return None
    area = visible_map[y - far : y + far + 1, x - far : x + far + 1]
    score = cv2.matchTemplate(area, patch, cv2.TM_CCOEFF_NORMED)
    _, best, _, (at_x, at_y) = cv2.minMaxLoc(score)
    last = 2 * reach.radius_px
    if best < MIN_CORRELATION or not (0 < at_x < last and 0 < at_y < last):
        return None
    near = max(reach.patch_px // 5, 3)
    elsewhere = score.copy()
    cv2.rectangle(elsewhere, (at_x - near, at_y - near), (at_x + near, at_y + near), -1.0, cv2.FILLED)
    if best - float(elsewhere.max()) < MIN_LEAD:
        return None
    peak = score[at_y - 1 : at_y + 2, at_x - 1 : at_x + 2]
    return (
        x + at_x - reach.radius_px + _parabola(*peak[1]),
        y + at_y - reach.radius_px + _parabola(*peak[:, 1]),
        float(best),
    )


def _parabola(before: float, at: float, after: float) -> float:
    """Where between -0.5 and 0.5 the parabola through three equally spaced values has its top."""
    bend = before - 2 * at + after
    return 0.0 if bend >= -1e-9 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))
