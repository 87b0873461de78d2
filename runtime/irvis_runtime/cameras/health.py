"""Whether a camera that sends frames still sees: frozen, black, or too slow."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from operator import sub

import numpy as np

from .frames import Frame
from .presence import PATIENCE

SAMPLE = 16
"""Every sixteenth pixel each way is looked at first: 1200 of a 640x480 picture."""
REPEATS = 3
"""From fewer frames after the first neither frozen nor black is concluded, however long they took."""
BLACK_LEVEL = 8
"""Levels of 255 above black that no pixel of the sample passes; a lens cap gives 0 to 4, a night sky more."""
PAUSE_S = 1.0
"""After so long without a frame, or 2.5 periods, frozen and black are timed anew."""
RATE_WINDOW_S = (5.0, 80.0)
"""The shortest and the longest time over which a camera is called slow; each verdict doubles it."""


@dataclass(frozen=True)
class HealthLimits:
    """When a camera counts as failed; 0 switches a check off."""

    frozen_ms: float = 0.0
    black_ms: float = 0.0
    slow_fps: float = 0.0


class Spell:
    """Frames in a row that show one fault; the fault is proven once they have come for long enough."""

    def __init__(self) -> None:
        self.is_proven = False
        """Whether the fault was proven, in this opening or an earlier one, and not seen to be gone since."""
        self._began_ns: int | None = None
        self._frames = 0

    def take(self, time_ns: int, limit_ms: float) -> bool:
        """Takes one more frame with the fault; returns whether it lasts `limit_ms`, uninterrupted."""
        if self._began_ns is None:
            self._began_ns, self._frames = time_ns, 0
        self._frames += 1
        lasts = self._frames > REPEATS and time_ns - self._began_ns >= limit_ms * 1e6
        self.is_proven = self.is_proven or lasts
        return lasts

    def interrupt(self) -> None:
        """Begins to time it anew: no frames came, which tells nothing of the fault."""
        self._began_ns = None

    def end(self) -> None:
        """The fault is gone."""
        self.is_proven, self._began_ns = False, None


class Health:
    """Judges a camera by its frames; it outlives a camera's restarts, so that a frozen one stays frozen.

    Frozen is every bit of the luma again: no sensor repeats itself, and a still scene has noise. Black is an
    8-bit picture without a pixel above black.
    """

    def __init__(self, limits: HealthLimits) -> None:
        self.limits = limits
        self._last: Frame | None = None
        self._last_ns: int | None = None
        self._frozen, self._black = Spell(), Spell()
        self._window_s = RATE_WINDOW_S[0]
        self._times_ns: deque[int] = deque(maxlen=4096)

    @property
    def is_out(self) -> bool:
        """Whether the camera was frozen or black and has shown nothing else yet: its frames are withheld."""
        return self._frozen.is_proven or self._black.is_proven

    def restart(self) -> None:
        """Says that the camera is opened again: it gets all its time anew, but stays out if it is."""
        self._last_ns = None
        self._times_ns.clear()

    def fault(self, frame: Frame, fps: float) -> str:
        """Takes the next frame and the negotiated rate (0: unknown); returns what is wrong, or nothing.

        What is wrong is so since the camera was opened: it is to be opened again. See `is_out` otherwise.
        """
        limits = self.limits
        self._notice_pause(frame.time_ns, fps)
        black = self._fault_of_black(frame, limits.black_ms)
        frozen = self._fault_of_frozen(frame, limits.frozen_ms)
        return black or frozen or self._fault_of_slow(frame.time_ns, fps, limits.slow_fps)

    def _notice_pause(self, time_ns: int, fps: float) -> None:
        pause_s = max(PAUSE_S, PATIENCE / fps) if fps else PAUSE_S
        if self._last_ns is None or not 0 <= time_ns - self._last_ns <= pause_s * 1e9:
            self._frozen.interrupt()
            self._black.interrupt()
        self._last_ns = time_ns

    def _fault_of_frozen(self, frame: Frame, limit_ms: float) -> str:
        if not limit_ms:
            self._last = None
            self._frozen.end()
            return ""
        if self._last is None or not _is_same(frame, self._last):
            self._frozen.end()
        self._last = frame
        lasts = self._frozen.take(frame.time_ns, limit_ms)
        return f"frozen: one picture for {limit_ms / 1e3:g} s" if lasts else ""

    def _fault_of_black(self, frame: Frame, limit_ms: float) -> str:
        black = BLACK_LEVEL if frame.is_full_range else 16 + BLACK_LEVEL
        is_judged = limit_ms > 0 and frame.luma_hw.dtype == np.uint8
        if not is_judged or frame.luma_hw[::SAMPLE, ::SAMPLE].max() > black:
            self._black.end()
            return ""
        return f"black for {limit_ms / 1e3:g} s" if self._black.take(frame.time_ns, limit_ms) else ""

    def _fault_of_slow(self, time_ns: int, fps: float, slow_fps: float) -> str:
        times_ns = self._times_ns
        if not slow_fps:
            times_ns.clear()
            self._window_s = RATE_WINDOW_S[0]
            return ""
        window_ns = round(self._window_s * 1e9)
        if times_ns and time_ns <= times_ns[-1]:
            times_ns.clear()
        times_ns.append(time_ns)
        # Of three frames a longer step than the window is left over when one of them was a pause.
        while times_ns[-1] - times_ns[0] > window_ns and len(times_ns) > 3:
            times_ns.popleft()
        least = min(slow_fps, fps / 2) if fps else slow_fps
        if times_ns[-1] - times_ns[0] < 0.8 * window_ns:
            return ""
        rate = _steady_rate(times_ns, least)
        if rate >= least:
            return ""
        times_ns.clear()
        self._window_s = min(2 * self._window_s, RATE_WINDOW_S[1])
        return f"too slow: {rate:.1f} frames a second, {least:g} are the least"


def _steady_rate(times_ns: Sequence[int], least: float) -> float:
    """Frames a second; where that is below `least`, the longest step is left out: one pause is no rate."""
    elapsed_ns, steps = times_ns[-1] - times_ns[0], len(times_ns) - 1
    if steps < least * elapsed_ns / 1e9:
        elapsed_ns -= max(map(sub, islice(times_ns, 1, None), times_ns))
        steps -= 1
    return steps / (elapsed_ns / 1e9) if steps else math.inf


def _is_same(frame: Frame, other: Frame) -> bool:
    one_hw, two_hw = frame.luma_hw, other.luma_hw
    if one_hw.shape != two_hw.shape or one_hw.dtype != two_hw.dtype:
        return False
    if not np.array_equal(one_hw[::SAMPLE, ::SAMPLE], two_hw[::SAMPLE, ::SAMPLE]):
        return False
    return np.array_equal(one_hw, two_hw)
