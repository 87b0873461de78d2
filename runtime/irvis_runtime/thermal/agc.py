"""Automatic gain control: 16-bit thermal counts to 8 bits.

The forms are those of FLIR's note on the Tau 2 (102-PS242-100-01 rev. 110, sections 2.2 and 2.3): a slope
that maximum gain bounds, around an ITT midpoint in the middle of the grey scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.kernels.library import kernels

# Hot and dead pixels lie outside; the rest keeps its contrast.
LOW_PERCENT, HIGH_PERCENT = 0.5, 99.5
MID_GREY = 128
MIDDLE = 127.5
# What a fixed range must have, for its line to be one in float32: a difference, and ends near the counts.
LEAST_SPAN = 1e-3
FARTHEST_COUNT = 1e6

_COUNTS = np.arange(65536, dtype=np.float32)


class Agc(Protocol):
    """A rule that makes a curve for the counts of a picture."""

    def curve(self, counts: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Returns the grey, float32 0..255, of each of the 65536 counts; it never falls."""
        ...


@dataclass(frozen=True)
class LinearAgc:
    """The counts between two percentiles onto 0..255."""

    max_gain: float

    def curve(self, counts: NDArray[np.uint16]) -> NDArray[np.float32]:
        """A straight line through the middle of the two percentiles, not steeper than `max_gain`."""
        low, high = _percentiles(counts, (LOW_PERCENT, HIGH_PERCENT))
        gain = min(self.max_gain, 255 / (high - low)) if high > low else self.max_gain
        return _straight(gain, (low + high) / 2)


@dataclass(frozen=True)
class PlateauAgc:
    """Grey levels to each count as it has pixels, up to a plateau: plateau histogram equalization."""

    plateau_percent: float
    max_gain: float

    def curve(self, counts: NDArray[np.uint16]) -> NDArray[np.float32]:
        """The clipped histogram's running sum, no step higher than `max_gain`, around the middle grey.

        Counts beyond those of the picture go on with `max_gain`, so that a hot thing that a subsample missed
        is not lost.
        """
        first, pixels = _histogram(counts)
        weights = np.minimum(pixels, counts.size * self.plateau_percent / 100)
        steps = np.minimum(255 * weights / weights.sum(), self.max_gain)
        ends = np.cumsum(steps)
        low, high = MIDDLE - ends[-1] / 2, MIDDLE + ends[-1] / 2
        beyond = first + steps.size
        greys = np.empty(65536, np.float32)
        greys[:first] = low - self.max_gain * (first - 0.5 - _COUNTS[:first])
        # A count lies in the middle of its own step.
        greys[first:beyond] = low + ends - steps / 2
        greys[beyond:] = high + self.max_gain * (_COUNTS[beyond:] - (beyond - 0.5))
        return np.clip(greys, 0, 255, out=greys)


@dataclass(frozen=True)
class FixedAgc:
    """One range of counts for ever: equal temperatures have equal grey levels, in every picture.

    `high` is LEAST_SPAN above `low` or more, and neither is beyond FARTHEST_COUNT.
    """

    low: float
    high: float

    def curve(self, counts: NDArray[np.uint16]) -> NDArray[np.float32]:
        """The straight line from `low` to `high`, whatever the picture; always the same array, read-only."""
        return self._line

    @cached_property
    def _line(self) -> NDArray[np.float32]:
        line = _straight(255 / (self.high - self.low), (self.low + self.high) / 2)
        line.setflags(write=False)
        return line


@dataclass(frozen=True)
class StretchAgc:
    """The counts between the 0.5 and the 99.5 percentile onto 0..255, the rest clamped.

    For a single picture, of which training sees many: exact percentiles, no maximum gain. Where the two
    percentiles are equal, the smallest and the largest count take their place; a picture of one count becomes
    128 everywhere.
    """

    def curve(self, counts: NDArray[np.uint16]) -> NDArray[np.float32]:
        """The straight line from the lower percentile to the upper one."""
        low, high = (float(value) for value in np.percentile(counts, (LOW_PERCENT, HIGH_PERCENT)))
        if high <= low:
            low, high = float(counts.min()), float(counts.max())
        if high <= low:
            return np.full(65536, MID_GREY, np.float32)
        greys: NDArray[np.float32] = (_COUNTS - np.float32(low)) * np.float32(255.0 / (high - low))
        return np.clip(greys, 0, 255, out=greys)


def to_8_bit(counts_hw: NDArray[np.uint16], agc: Agc) -> NDArray[np.uint8]:
    """Returns a single picture's counts as grey levels, by the curve of all its pixels."""
    return look_up(grey_table(agc.curve(counts_hw)), counts_hw)


def grey_table(curve: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns the curve in whole grey levels, uint8 (65536,)."""
    return np.rint(curve).astype(np.uint8)


def look_up(table: NDArray[np.uint8], counts_hw: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Returns the counts as grey levels."""
    compiled = kernels()
    if compiled is not None and counts_hw.ndim == 2 and counts_hw.dtype == np.uint16:
        return compiled.look_up(table, counts_hw)
    # No count lies outside; "clip" spares NumPy the look, a third of the time.
    return np.take(table, counts_hw, mode="clip")


def stretch_to_8_bit(counts_hw: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Returns a single picture's counts as grey levels, by `StretchAgc`."""
    return to_8_bit(counts_hw, StretchAgc())


def _histogram(counts: NDArray[np.uint16]) -> tuple[int, NDArray[np.intp]]:
    """The smallest count, and how many pixels have it and each of the next ones, up to the largest."""
    first = int(counts.min())
    return first, np.bincount(counts.ravel() - np.uint16(first))


def _percentiles(counts: NDArray[np.uint16], percents: Sequence[float]) -> list[float]:
    """What np.percentile gives (linear interpolation), by counting instead of sorting."""
    first, pixels = _histogram(counts)
    until = np.cumsum(pixels)
    values = []
    for percent in percents:
        position = percent / 100 * (counts.size - 1)
        rank = int(position)
        lower, upper = np.searchsorted(until, (rank, min(rank + 1, counts.size - 1)), side="right")
        values.append(first + float(lower) + (position - rank) * float(upper - lower))
    return values


def _straight(gain: float, middle: float) -> NDArray[np.float32]:
    """The line that is middle grey at the count `middle`, clamped."""
    greys: NDArray[np.float32] = _COUNTS - np.float32(middle)
    greys *= np.float32(gain)
    greys += np.float32(MIDDLE)
    return np.clip(greys, 0, 255, out=greys)
