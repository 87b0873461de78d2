"""When the frames of a video are shown, counted in frames of its stated rate."""

from __future__ import annotations

import math

SNAP_FRAMES = 0.1
"""A time this near to the even grid lies on it."""
ROUNDING_S = 1.1e-3
"""Matroska, WebM and FLV round times to milliseconds, the first one's and each other's."""
LONGEST_GAP_S = 600.0
"""What a container leaves empty for longer is a wrong time, no pause."""


class FrameTimes:
    """Follows the times that a container gives its frames; what it gives none, or a wrong one, is guessed."""

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self.position = -1.0
        """Of the last frame, in frames at `fps` since the first: whole for a constant rate. -1: none yet."""
        self.frames = 0
        self.guessed = 0
        """Frames without a time of their own, each taken to come one frame after the one before."""
        self.is_variable = False
        """Whether a frame was not where a constant rate puts it."""
        self._snap = min(0.49, max(SNAP_FRAMES, ROUNDING_S * fps))
        self._unsnapped = self._shift = self._last_ms = 0.0

    def add(self, position_ms: float) -> None:
        """Takes the container's time of the next frame, in milliseconds from any beginning."""
        given = position_ms * 1e-3 * self.fps
        if self.frames == 0:
            self._shift = -given if math.isfinite(given) else 0.0
            self._unsnapped = 0.0
        elif 0.0 < given + self._shift - self._unsnapped <= LONGEST_GAP_S * self.fps:
            self._unsnapped = given + self._shift
        else:
            self.guessed += 1
            self._unsnapped = self.position + 1.0
            # A second time after the jump that follows the first: the clock began anew, so its times count.
            if self._last_ms < position_ms < math.inf:
                self._shift = self._unsnapped - given
        self._last_ms = position_ms
        even = round(self._unsnapped)
        self.position = float(even) if abs(self._unsnapped - even) <= self._snap else self._unsnapped
        self.is_variable |= self.position != self.frames
        self.frames += 1

    @property
    def has_none(self) -> bool:
        """Whether the container gave not one time that follows another."""
        return self.guessed > 0 and self.guessed == self.frames - 1
