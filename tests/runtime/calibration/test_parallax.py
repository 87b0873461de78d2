"""Shift against distance, and a homography moved from one distance to another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.calibration.parallax import parallax_33, parallax_table, shift_px


@pytest.mark.parametrize(("distance_m", "expected_px"), [(1, 40.0), (10, 4.0), (100, 0.4)])
def test_focal_800_px_and_5_cm(distance_m: float, expected_px: float) -> None:
    assert shift_px(800, 0.05, distance_m) == pytest.approx(expected_px)


def test_the_table_has_a_row_for_each_distance() -> None:
    lines = parallax_table(800, 0.05, None)
    assert lines[1].split() == ["1", "40.00"]
    assert parallax_table(800, 0.05, 10.0)[1].split() == ["1", "36.00"]
    assert ["10", "0.00"] in [line.split() for line in parallax_table(800, 0.05, 10.0)]


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(0.5, 200), st.floats(0.5, 200))
def test_two_pinhole_cameras_agree_at_the_distance(
    right_m: float, down_m: float, distance_m: float, calibrated_m: float
) -> None:
    """A thing at the distance, projected into both cameras, meets itself after the shift."""
    focal_px, thing_m = 700.0, np.array([0.4, -0.2])
    for calibrated in (None, calibrated_m):
        near_px = 0.0 if calibrated is None else focal_px / calibrated
        calibrated_33 = np.eye(3)
        calibrated_33[:2, 2] = near_px * np.array([right_m, down_m])
        visible = focal_px * thing_m / distance_m
        infrared = focal_px * (thing_m - [right_m, down_m]) / distance_m
        moved_33 = parallax_33(focal_px, (right_m, down_m), calibrated, distance_m) @ calibrated_33
        assert (moved_33 @ [*infrared, 1.0])[:2] == pytest.approx(visible, abs=1e-6)


def test_the_calibrated_distance_needs_no_shift() -> None:
    assert np.array_equal(parallax_33(800, (0.05, 0.0), 3.0, 3.0), np.eye(3))
    assert np.array_equal(parallax_33(800, (0.05, 0.0), None, None), np.eye(3))
