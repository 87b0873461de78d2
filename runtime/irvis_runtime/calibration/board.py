"""A board seen by both cameras: circles or a checkerboard, heated or of two materials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.errors import ContractError
from irvis_runtime.image import opencv

from .fit import Points

BoardKind = Literal["circles", "asymmetric-circles", "checkerboard"]

SEARCH_SIDE_PX = 1000
"""Smaller pictures are enlarged up to about this: a board of an 80x60 sensor has squares of few pixels."""

MIN_BLOB_PX = 12.0
"""Of area: OpenCV's default is 25, and a far board's circles have fewer in a thermal picture."""
MAX_BLOBS = 4
"""How many blobs there may be for one circle of the board."""


def find_board(picture_hw: NDArray[np.uint8], kind: BoardKind, size: tuple[int, int]) -> Points | None:
    """Returns the board's points, (columns times rows, 2) x and y row by row, or None where it is not found.

    `size`: columns and rows, of circles, or of the checkerboard's inner corners. Hot may be bright or dark,
    and the picture may be faint and small: it is tried stretched, inverted and enlarged.
    """
    for prepared_hw, scale in _attempts(picture_hw):
        found = (
            _checkerboard(prepared_hw, size) if kind == "checkerboard" else _circles(prepared_hw, kind, size)
        )
        if found is not None:
            # A resize keeps edges on edges: the centre of pixel 0 lies at (scale - 1) / 2.
            return (found - (scale - 1) / 2) / scale
    return None


def match_boards(
    pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]], kind: BoardKind, size: tuple[int, int]
) -> tuple[Points, Points, int]:
    """Returns infrared points, visible points and in how many (infrared, visible) pairs both show the board.

    ContractError where none does.
    """
    infrared: list[Points] = []
    visible: list[Points] = []
    missing = {"infrared": 0, "visible": 0}
    for infrared_hw, visible_hw in pairs:
        found = {
            "infrared": find_board(infrared_hw, kind, size),
            "visible": find_board(visible_hw, kind, size),
        }
        for name, points_n2 in found.items():
            missing[name] += points_n2 is None
        if found["infrared"] is not None and found["visible"] is not None:
            infrared.append(found["infrared"])
            visible.append(_in_order_of(found["infrared"], found["visible"], size, kind))
    if not infrared:
        raise ContractError(
            f"no picture pair shows the {kind} board of {size[0]}x{size[1]} to both cameras (not found in "
            f"{missing['infrared']} infrared and {missing['visible']} visible of {len(pairs)} pictures); "
            "heat it, fill more of the view, or check --size"
        )
    return np.concatenate(infrared), np.concatenate(visible), len(infrared)


def _in_order_of(infrared_n2: Points, visible_n2: Points, size: tuple[int, int], kind: BoardKind) -> Points:
    """The visible points counted from the same end as the infrared ones.

    A board that looks the same upside down is counted from either end; two cameras on one rig are not turned
    against each other by 180 degrees.
    """
    if kind == "asymmetric-circles" and size[1] % 2:
        return visible_n2
    orders = (visible_n2, visible_n2[::-1])
    ways = [float(np.sum((order[-1] - order[0]) * (infrared_n2[-1] - infrared_n2[0]))) for order in orders]
    return orders[int(np.argmax(ways))]


def _attempts(picture_hw: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.uint8], int]]:
    cv2 = opencv()
    largest = max(SEARCH_SIDE_PX // max(picture_hw.shape), 1)
    stretched_hw = cv2.normalize(picture_hw, None, 0, 255, cv2.NORM_MINMAX)
    evened_hw = cv2.createCLAHE(3.0, (4, 4)).apply(stretched_hw)
    for scale in sorted({1, min(2, largest), largest}):
        for tried_hw in (stretched_hw, evened_hw):
            enlarged_hw = (
                tried_hw
                if scale == 1
                else cv2.resize(tried_hw, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            )
            yield enlarged_hw, scale
            yield 255 - enlarged_hw, scale


def _checkerboard(picture_hw: NDArray[np.uint8], size: tuple[int, int]) -> Points | None:
    cv2 = opencv()
    flags = cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY | cv2.CALIB_CB_NORMALIZE_IMAGE
    is_found, corners = cv2.findChessboardCornersSB(picture_hw, size, flags=flags)
    return _points(corners) if is_found else None


def _circles(picture_hw: NDArray[np.uint8], kind: BoardKind, size: tuple[int, int]) -> Points | None:
    cv2 = opencv()
    parameters = cv2.SimpleBlobDetector_Params()
    parameters.minArea = MIN_BLOB_PX
    parameters.maxArea = max(MIN_BLOB_PX, picture_hw.size / 50)
    parameters.minDistBetweenBlobs = 4.0
    blobs = cv2.SimpleBlobDetector_create(parameters).detect(picture_hw)
    # OpenCV weighs every pair of blobs: thousands of them, as in noise, take it minutes.
    if not size[0] * size[1] <= len(blobs) <= MAX_BLOBS * size[0] * size[1]:
        return None
    layout = cv2.CALIB_CB_ASYMMETRIC_GRID if kind == "asymmetric-circles" else cv2.CALIB_CB_SYMMETRIC_GRID
    # All five by position: only so does Python reach the form that takes points instead of a picture.
    is_found, centres = cv2.findCirclesGrid(
        cv2.KeyPoint_convert(blobs).reshape(-1, 1, 2),
        size,
        layout | cv2.CALIB_CB_CLUSTERING,
        None,
        cv2.CirclesGridFinderParameters(),
    )
    return _points(centres) if is_found else None


def _points(found: NDArray[np.float32]) -> Points:
    return cast("Points", found.reshape(-1, 2).astype(np.float64))
