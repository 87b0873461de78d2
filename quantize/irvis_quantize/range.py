"""What the levels of a tensor span."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from irvis_runtime.errors import ContractError

LEVELS = 255


@dataclass(frozen=True)
class Range:
    """The values that a tensor's 256 levels span; widened to hold zero, which padding needs exactly."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """ContractError for what no levels can span: the network gives NaN or infinity."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ContractError(
                f"range: expected finite bounds, the lower one first, got {self.low} and {self.high}; "
                "train the student again"
            )

    def ends(self) -> tuple[float, float]:
        """The bounds, widened to hold zero."""
        return min(self.low, 0.0), max(self.high, 0.0)

    def scale_and_zero_point(self) -> tuple[np.float32, int]:
        """Step between levels, and the level of zero."""
        low, high = self.ends()
        scale = np.float32(max(high - low, 1e-6) / LEVELS)
        return scale, int(np.clip(round(-low / float(scale)), 0, LEVELS))
