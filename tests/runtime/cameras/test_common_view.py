"""The largest window that both cameras see: against every rectangle there is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irvis_runtime.cameras.common_view import Window, common_view
from irvis_runtime.errors import ContractError


def largest_by_trying_all(inside_hw: NDArray[np.bool_]) -> int:
    """The largest area of an even window, by summed areas."""
    sums = np.pad(np.cumsum(np.cumsum(inside_hw, axis=0), axis=1), ((1, 0), (1, 0)))
    rows, columns = inside_hw.shape
    best = 0
    for top in range(0, rows, 2):
        for bottom in range(top + 16, rows + 1, 2):
            for left in range(0, columns, 2):
                rights = np.arange(left + 16, columns + 1, 2)
                areas = (bottom - top) * (rights - left)
                filled = sums[bottom, rights] - sums[top, rights] - sums[bottom, left] + sums[top, left]
                best = max(best, int(np.max(areas[filled == areas], initial=0)))
    return best


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=4, max_size=4))
def test_no_window_is_larger(moves: list[tuple[int, int]]) -> None:
    corners = np.array([[4, 3], [48, 3], [48, 36], [4, 36]]) + moves
    inside = (
        cv2.fillConvexPoly(np.zeros((41, 53), np.uint8), cv2.convexHull(corners.astype(np.int32)), 1) == 1
    )
    expected = largest_by_trying_all(inside)
    if expected == 0:
        with pytest.raises(ContractError, match="view in common"):
            common_view(inside)
        return
    window = common_view(inside)
    assert inside[window.slices].all()
    assert window.height * window.width == expected
    assert not any(number % 2 for number in (window.top, window.left, window.height, window.width))


def test_all_is_seen() -> None:
    assert common_view(np.ones((480, 640), np.bool_)) == Window(0, 0, 480, 640)
    assert common_view(np.ones((41, 51), np.bool_)) == Window(0, 0, 40, 50)


def test_nothing_is_seen() -> None:
    with pytest.raises(ContractError, match="less than 16x16 pixels of view in common"):
        common_view(np.zeros((480, 640), np.bool_))
