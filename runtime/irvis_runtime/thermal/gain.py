"""Gain of a 16-bit thermal camera over time: it follows a scene without pumping, and begins anew at a cut."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.context import ContextSmoother

from .agc import Agc, grey_table, look_up

SAMPLES = 20_000
"""Pixels that a curve is made of, at least: every fourth each way of 640x512, all of 160x120."""
CHANGED_SHARE = 0.5


class SmoothGain:
    """Turns counts into grey levels by the curve of an AGC, smoothed over time.

    The grey of each count moves as the context does, in two equal stages: 63 % of a change have come through
    after `time_constant_s`, whatever the frame rate, and no step is larger than 0.79 of the change times the
    frame's share of `time_constant_s`. 0 follows at once. (Smoothing the percentiles instead makes the
    background fall three times as fast when something hot enters: grey goes with the inverse of their span.)

    Where the smoothed curve leaves more than half of the pixels black or white, which their own curve would
    tell apart, in two frames in a row, the scene is another one (a turn to the sky, another gain of the
    sensor), and the second frame's own curve is taken. A single such frame, torn or of the shutter's flag,
    changes nothing.
    """

    def __init__(self, agc: Agc, time_constant_s: float) -> None:
        self.agc = agc
        self.resets = 0
        """How often the scene has changed."""
        self._smoother = ContextSmoother(time_constant_s)
        self._table: NDArray[np.uint8] | None = None
        self._curve: NDArray[np.float32] | None = None
        self._followed_ns = self._seen_ns = 0
        self._was_lost = False

    def apply(self, counts_hw: NDArray[np.uint16], time_ns: int) -> NDArray[np.uint8]:
        """Returns the counts of a frame as uint8 grey levels; `time_ns` is its capture."""
        # A frame that is asked for again does not count twice.
        if self._table is None or time_ns != self._seen_ns:
            self._table = self._followed(self._table, subsample(counts_hw), time_ns)
            self._seen_ns = time_ns
        return look_up(self._table, counts_hw)

    def restart(self) -> None:
        """Forgets the past: the next frame's own curve is taken."""
        self._smoother.reset()
        self._table, self._was_lost = None, False

    def _followed(
        self, table: NDArray[np.uint8] | None, sample_hw: NDArray[np.uint16], time_ns: int
    ) -> NDArray[np.uint8]:
        """The grey table after another frame."""
        curve, before = self.agc.curve(sample_hw), self._curve
        self._curve = curve
        if table is not None and curve is before:
            # One range of counts for ever.
            return table
        if table is not None and self._smoother.time_constant_s > 0:
            is_lost = lost_share(table, grey_table(curve), sample_hw) > CHANGED_SHARE
            was_lost, self._was_lost = self._was_lost, is_lost
            if is_lost and not was_lost:
                return table
            if is_lost:
                self.resets += 1
                self._smoother.reset()
        # A clock that runs backwards must not stop the gain for good: time begins anew there.
        elapsed_s = max(time_ns - self._followed_ns, 0) / 1e9
        self._followed_ns = time_ns
        return grey_table(self._smoother.update(curve, elapsed_s))


def subsample(counts_hw: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Returns every n-th pixel each way, so that at least 20 000 of them are left, or all."""
    step = max(1, math.isqrt(counts_hw.size // SAMPLES))
    return np.ascontiguousarray(counts_hw[::step, ::step])


def lost_share(table: NDArray[np.uint8], own: NDArray[np.uint8], counts: NDArray[np.uint16]) -> float:
    """Returns the share of the counts that `table` makes black or white and `own` does not."""
    greys, own_greys = look_up(table, counts), look_up(own, counts)
    # One more turns 255 into 0 and 0 into 1: below 2 is what was black or white.
    lost = np.count_nonzero((greys + np.uint8(1) < 2) & (own_greys + np.uint8(1) >= 2))
    return lost / counts.size
