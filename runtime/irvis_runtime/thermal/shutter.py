"""Since when a thermal camera shows one picture again and again: its shutter is closed, or it hangs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LOOK_PX = 16
"""Every 16th pixel each way is compared first: a live picture differs there, and the rest is spared."""


class ShutterWatch:
    """Tells new pictures from repeats, and a freeze from a stumble.

    A repeat agrees with the last picture in every count, or comes while telemetry says that the shutter is
    closed. From repeats for `freeze_ms`, and at once by telemetry, the camera is frozen, until the next new
    picture. `watches_repeats`: False where pictures may agree though the camera is well, as a file's do.
    """

    def __init__(self, freeze_ms: float, watches_repeats: bool = True) -> None:
        self.freeze_ms, self.watches_repeats = freeze_ms, watches_repeats
        self.is_frozen = False
        self.freezes = 0
        """How often it froze."""
        self._last_hw: NDArray[Any] | None = None
        self._new_ns = self._seen_ns = 0

    @property
    def held_ms(self) -> float:
        """For how long the last picture has been repeated; 0 where the newest one is new."""
        return max(self._seen_ns - self._new_ns, 0) / 1e6

    def is_new(self, picture_hw: NDArray[Any], time_ns: int, is_calibrating: bool | None = None) -> bool:
        """Takes the next picture, which must not change afterwards; False for a repeat."""
        self._seen_ns = time_ns
        is_repeat = bool(is_calibrating) or (self.watches_repeats and self._repeats(picture_hw))
        if is_repeat and self._last_hw is not None:
            is_frozen = bool(is_calibrating) or self.held_ms >= self.freeze_ms
            self.freezes += is_frozen and not self.is_frozen
            self.is_frozen = self.is_frozen or is_frozen
            return False
        self._last_hw, self._new_ns, self.is_frozen = picture_hw, time_ns, False
        return True

    def _repeats(self, picture_hw: NDArray[Any]) -> bool:
        last_hw = self._last_hw
        if last_hw is None or last_hw.shape != picture_hw.shape or last_hw.dtype != picture_hw.dtype:
            return False
        look = slice(None, None, LOOK_PX)
        return np.array_equal(last_hw[look, look], picture_hw[look, look]) and np.array_equal(
            last_hw, picture_hw
        )
