"""The picture to look at: two halves, the infrared's edges where the homography puts them."""

from __future__ import annotations

import numpy as np

from irvis_runtime.calibration.overlay import EDGE_BGR, POINT_BGR, draw_overlay


def test_edges_lie_where_the_homography_puts_them() -> None:
    infrared_hw = np.full((240, 320), 40, np.uint8)
    infrared_hw[80:160, 100:200] = 200
    shift_33 = np.array([[1.0, 0, 200], [0, 1, 100], [0, 0, 1]])
    visible_hw = np.full((480, 640), 100, np.uint8)
    picture = draw_overlay(infrared_hw, visible_hw, shift_33, np.array([[40.0, 30.0]]))
    assert picture.shape == (480, 1280, 3)
    ys, xs = np.nonzero((picture[:, :640] == EDGE_BGR).all(axis=2))
    assert abs(xs.min() - 300) < 4
    assert abs(xs.max() - 400) < 4
    assert abs(ys.min() - 180) < 4
    assert abs(ys.max() - 260) < 4
    assert (picture[24:37, 34:47] == POINT_BGR).all(axis=2).any()


def test_the_right_half_is_a_checkerboard_of_both() -> None:
    visible_hw = np.zeros((480, 640), np.uint8)
    infrared_hw = np.random.default_rng(0).integers(100, 255, (480, 640)).astype(np.uint8)
    right = draw_overlay(infrared_hw, visible_hw, np.eye(3), np.empty((0, 2)))[:, 640:]
    assert not right[:80, :80].any()
    assert right[:80, 80:160].mean() > 50


def test_a_small_picture_is_enlarged() -> None:
    small_hw = np.full((60, 80), 90, np.uint8)
    assert draw_overlay(small_hw, small_hw, np.eye(3), np.empty((0, 2))).shape == (480, 1280, 3)
