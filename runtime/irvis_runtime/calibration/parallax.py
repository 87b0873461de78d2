"""What distance does to registration: two cameras side by side see a near thing at different places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DISTANCES_M = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)


def shift_px(focal_px: float, baseline_m: float, distance_m: float) -> float:
    """Returns how far apart two parallel cameras see one thing: f B / Z (Hartley and Zisserman, 9.1)."""
    return focal_px * baseline_m / distance_m


def parallax_table(focal_px: float, baseline_m: float, calibrated_m: float | None) -> list[str]:
    """Returns one line for each distance: the shift against infinity, or what is left at it by a calibration.

    `focal_px`: of the visible camera. `calibrated_m`: where the homography was taken; None is far away.
    """
    offset_px = 0.0 if calibrated_m is None else shift_px(focal_px, baseline_m, calibrated_m)
    lines = [f"{'distance m':>11} {'shift px':>9}"]
    for distance_m in DISTANCES_M:
        lines.append(f"{distance_m:>11g} {shift_px(focal_px, baseline_m, distance_m) - offset_px:>9.2f}")
    return lines


def parallax_33(
    focal_px: float, baseline_m: Sequence[float], calibrated_m: float | None, distance_m: float | None
) -> NDArray[np.float64]:
    """Returns what moves a picture registered at `calibrated_m` to agree at `distance_m`; None is far away.

    3x3, visible pixels -> visible pixels. `baseline_m`: where the infrared camera stands, seen from the
    visible one: to the right, and down. `focal_px`: of the visible camera, whose axis is parallel to the
    infrared one's.
    """
    near = [0.0 if metres is None else focal_px / metres for metres in (distance_m, calibrated_m)]
    shift = (near[0] - near[1]) * np.asarray(baseline_m, np.float64)
    return np.array([[1.0, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])
