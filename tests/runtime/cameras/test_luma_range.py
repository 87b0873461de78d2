"""Limited and full range luma."""

from __future__ import annotations

import numpy as np
import pytest

from irvis_runtime.cameras.luma_range import to_full_range, to_limited_range

pytestmark = pytest.mark.usefixtures("arithmetic")

ALL = np.arange(256, dtype=np.uint8).reshape(16, 16)


def test_black_and_white_lie_where_the_standard_says() -> None:
    """ITU-R BT.601-7: black 16, white 235."""
    assert to_full_range(np.array([[16, 235]], np.uint8)).tolist() == [[0, 255]]
    assert to_limited_range(np.array([[0, 255]], np.uint8)).tolist() == [[16, 235]]


def test_what_lies_outside_is_clamped() -> None:
    assert to_full_range(np.array([[0, 15, 236, 255]], np.uint8)).tolist() == [[0, 0, 255, 255]]


def test_every_limited_level_comes_back() -> None:
    limited_hw = np.arange(16, 236, dtype=np.uint8).reshape(1, -1)
    assert np.array_equal(to_limited_range(to_full_range(limited_hw)), limited_hw)


def test_every_full_level_comes_back_within_one() -> None:
    back_hw = to_full_range(to_limited_range(ALL))
    assert np.abs(back_hw.astype(int) - ALL.astype(int)).max() <= 1


def test_a_view_with_gaps_is_taken() -> None:
    for view in (np.s_[:, ::2], np.s_[::-1], np.s_[:, 3:9], np.s_[2:5, ::-1]):
        assert np.array_equal(to_full_range(ALL[view]), to_full_range(ALL)[view])
        assert np.array_equal(to_limited_range(ALL[view]), to_limited_range(ALL)[view])


def test_every_level_is_the_standards_formula_rounded_whatever_the_width() -> None:
    """Vectors take 16 or 32 levels at once, OpenCV's rest is one by one: both must agree."""
    codes = np.arange(256, dtype=np.float64)
    full = np.clip(np.rint((codes - 16) * 255 / 219), 0, 255).astype(np.uint8)
    limited = np.rint(codes * 219 / 255 + 16).astype(np.uint8)
    for start in range(0, 256, 5):
        for width in (1, 7, 33, 100):
            piece = np.ascontiguousarray(ALL.reshape(1, -1)[:, start : start + width])
            assert np.array_equal(to_full_range(piece)[0], full[piece[0]])
            assert np.array_equal(to_limited_range(piece)[0], limited[piece[0]])
