"""What an infrared and a visible picture of one scene have in common: where edges are and how they run."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.image import opencv

# Edges weaker than noise of an 8-bit sensor say nothing; in Scharr's units, 16 for one grey level a pixel.
NOISE_GRADIENT = 8.0
TOLERANCE_SIGMA_PX = 1.0


def orientation_map(
    picture_hw: NDArray[np.uint8], sigma_px: float, surround_px: float
) -> NDArray[np.float32]:
    """Returns (H, W, 2) float32: strength times cosine and sine of twice the gradient's angle, in [-1, 1].

    Twice the angle makes dark-to-bright equal to bright-to-dark, which heat and light rarely agree on; the
    strength is relative to the mean gradient within `surround_px`, so a faint wall counts as a bright lamp.
    """
    cv2 = opencv()
    smooth_hw = cv2.GaussianBlur(picture_hw.astype(np.float32), (0, 0), sigma_px)
    x_hw = cv2.Scharr(smooth_hw, cv2.CV_32F, 1, 0)
    y_hw = cv2.Scharr(smooth_hw, cv2.CV_32F, 0, 1)
    strength_hw = cv2.magnitude(x_hw, y_hw)
    surround_hw = cv2.GaussianBlur(strength_hw, (0, 0), surround_px)
    divisor_hw = strength_hw * (strength_hw + surround_hw + NOISE_GRADIENT) + 1e-6
    double_hw2 = np.dstack([(x_hw**2 - y_hw**2) / divisor_hw, 2 * x_hw * y_hw / divisor_hw])
    return cast("NDArray[np.float32]", cv2.GaussianBlur(double_hw2, (0, 0), TOLERANCE_SIGMA_PX))
