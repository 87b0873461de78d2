"""Whether a camera that sends frames still sees: frozen, black, or too slow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from .frames import Frame

SAMPLE = 16
"""Every sixteenth pixel each way is looked at first: 1200 of a 640x480 picture."""
FROZEN_REPEATS = 3
BLACK_LEVEL = 8
"""Levels of 255 above black that no pixel of the sample passes; a lens cap gives 0 to 4, a night sky more."""
RATE_WINDOW_S = (5.0, 80.0)
"""The shortest and the longest time over which a camera is called slow; each verdict doubles it."""


@dataclass(frozen=True)
class HealthLimits:
    """When a camera counts as failed; 0 switches a check off."""

    frozen_ms: float = 0.0
    black_ms: float = 0.0
    slow_fps: float = 0.0


class Health:
    """Judges a camera by its frames; it outlives a camera's restarts, so that a frozen one stays frozen.

    Frozen is every bit of the luma again: no sensor repeats itself, and a still scene has noise. Black is an
    8-bit picture without a pixel above black.
    """

    def __init__(self, limits: HealthLimits) -> None:
        self.limits = limits
        self._last: Frame | None = None
        self._repeats = 0
        self._changed_ns: int | None = None
        self._lit_ns: int | None = None
        self._window_s = RATE_WINDOW_S[0]
        self._times_ns: deque[int] = deque(maxlen=4096)

    def restart(self) -> None:
        """Says that the camera is opened again: the pause is no part of its rate."""
        self._times_ns.clear()

    def fault(self, frame: Frame, fps: float) -> str:
        """Takes the next frame and the negotiated rate (0: unknown); returns what is wrong, or nothing."""
        return self._black(frame) or self._frozen(frame) or self._slow(frame, fps)

    def _frozen(self, frame: Frame) -> str:
        if not self.limits.frozen_ms:
            return ""
        is_same = self._last is not None and _is_same(frame, self._last)
        self._repeats = self._repeats + 1 if is_same else 0
        if not is_same or self._changed_ns is None:
            self._changed_ns = frame.time_ns
        self._last = frame
        since_ms = (frame.time_ns - self._changed_ns) / 1e6
        is_frozen = self._repeats >= FROZEN_REPEATS and since_ms >= self.limits.frozen_ms
        return f"frozen: one picture for {self.limits.frozen_ms / 1e3:g} s" if is_frozen else ""

    def _black(self, frame: Frame) -> str:
        if not self.limits.black_ms or frame.luma_hw.dtype != np.uint8:
            return ""
        black = BLACK_LEVEL if frame.is_full_range else 16 + BLACK_LEVEL
        if self._lit_ns is None or frame.luma_hw[::SAMPLE, ::SAMPLE].max() > black:
            self._lit_ns = frame.time_ns
        is_black = frame.time_ns - self._lit_ns >= self.limits.black_ms * 1e6
        return f"black for {self.limits.black_ms / 1e3:g} s" if is_black else ""

    def _slow(self, frame: Frame, fps: float) -> str:
        if not self.limits.slow_fps:
            return ""
        times_ns, window_ns = self._times_ns, round(self._window_s * 1e9)
        if times_ns and frame.time_ns <= times_ns[-1]:
            times_ns.clear()
        times_ns.append(frame.time_ns)
        while times_ns[-1] - times_ns[0] > window_ns and len(times_ns) > 2:
            times_ns.popleft()
        elapsed_ns = times_ns[-1] - times_ns[0]
        least = min(self.limits.slow_fps, fps / 2) if fps else self.limits.slow_fps
        if elapsed_ns < 0.8 * window_ns:
            return ""
        rate = (len(times_ns) - 1) / (elapsed_ns / 1e9)
        if rate >= least:
            return ""
        times_ns.clear()
        self._window_s = min(2 * self._window_s, RATE_WINDOW_S[1])
        return f"too slow: {rate:.1f} frames a second, {least:g} are the least"


def _is_same(frame: Frame, other: Frame) -> bool:
    one_hw, two_hw = frame.luma_hw, other.luma_hw
    if one_hw.shape != two_hw.shape or one_hw.dtype != two_hw.dtype:
        return False
    if not np.array_equal(one_hw[::SAMPLE, ::SAMPLE], two_hw[::SAMPLE, ::SAMPLE]):
        return False
    return np.array_equal(one_hw, two_hw)
