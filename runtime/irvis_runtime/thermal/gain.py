"""Gain of a 16-bit thermal camera over time: it follows a scene without pumping, and begins anew at a cut."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.context import ContextSmoother

from .agc import Agc, apply_table, grey_table

SAMPLES = 20_000
"""Pixels that a curve is made of, at least: every fourth each way of 640x512, all of 160x120."""
CHANGED_SHARE = 0.5
"""Of the pixels, below black or above white: with more the scene is another one."""


class SmoothGain:
    """Turns counts into grey levels by the curve of an AGC, smoothed over time.

    A curve is 256 counts, one for each grey level. Each moves as the context does, in two equal stages: 63 %
    of a change have come through after `time_constant_s` seconds, whatever the frame rate; 0 follows at once.
    Where more than half of the pixels of two frames in a row lie outside the curve, the scene has changed (a
    turn to the sky, another gain of the sensor), and the second frame's own curve is taken. A single such
    frame, torn or of the shutter's flag, changes nothing.
    """

    def __init__(self, agc: Agc, time_constant_s: float) -> None:
        self.agc = agc
        self._smoother = ContextSmoother(time_constant_s)
        self._curve: NDArray[np.float32] | None = None
        self._table: NDArray[np.uint8] | None = None
        self._time_ns = self._seen_ns = 0
        self._was_outside = False

    def apply(self, counts_hw: NDArray[np.uint16], time_ns: int) -> NDArray[np.uint8]:
        """Returns the counts of a frame as uint8 grey levels; `time_ns` is its capture."""
        if self._table is None or time_ns != self._seen_ns:
            self._table = self._followed(self._table, counts_hw, time_ns)
            self._seen_ns = time_ns
        return apply_table(self._table, counts_hw)

    def _followed(
        self, table: NDArray[np.uint8] | None, counts_hw: NDArray[np.uint16], time_ns: int
    ) -> NDArray[np.uint8]:
        """The grey table after another frame; a frame that is asked for again does not count twice."""
        sample = subsample(counts_hw)
        is_outside = self._curve is not None and share_outside(self._curve, sample) > CHANGED_SHARE
        is_second, self._was_outside = self._was_outside, is_outside
        if table is not None and is_outside and not is_second:
            return table
        if is_outside:
            self._smoother.reset()
        # A clock that runs backwards must not stop the gain for good: time begins anew there.
        elapsed_s = max(time_ns - self._time_ns, 0) / 1e9
        self._time_ns = time_ns
        self._curve = self._smoother.update(self.agc.curve(sample), elapsed_s)
        return grey_table(self._curve)


def subsample(counts_hw: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Returns a view of every n-th pixel each way that keeps at least 20 000 of them, or all."""
    step = max(1, math.isqrt(counts_hw.size // SAMPLES))
    return counts_hw[::step, ::step]


def share_outside(curve: NDArray[np.float32], counts: NDArray[np.uint16]) -> float:
    """Returns the share of the counts that the curve shows as mere black or white."""
    return float(np.mean((counts < curve[0]) | (counts > curve[-1])))
