"""What the live picture is doing, and how well, in numbers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

State = Literal["starting", "fusing", "holding", "visible-only", "infrared-only", "no-cameras", "stopped"]
"""`holding`: fused with the last infrared frame of a camera that is silent or whose shutter is closed."""

WINDOW_FRAMES = 900
"""Frames over which latency and skew are told: half a minute at 30 a second."""
FPS_WINDOW_S = 5.0
MAX_FPS = 250
"""Rates up to this are told right."""


class Statistics:
    """Counts of a run, and times over its last frames; its size does not grow."""

    def __init__(self) -> None:
        self.frames = 0
        self.held = 0
        """Frames that were fused with an infrared frame older than a pair may be."""
        self._started_s = time.monotonic()
        self._pushed_s: deque[float] = deque(maxlen=round(MAX_FPS * FPS_WINDOW_S))
        self._latency_ms: deque[float] = deque(maxlen=WINDOW_FRAMES)
        self._skew_ms: deque[float] = deque(maxlen=WINDOW_FRAMES)

    def add(self, captured_ns: int, skew_ms: float | None, is_held: bool = False) -> None:
        """Counts a picture that is being handed to the outputs now; the skew's size counts, not its sign."""
        now_s = time.monotonic()
        self.frames += 1
        self.held += is_held
        self._pushed_s.append(now_s)
        self._latency_ms.append(now_s * 1e3 - captured_ns / 1e6)
        if skew_ms is not None:
            self._skew_ms.append(abs(skew_ms))

    def fps(self) -> float:
        """Pictures a second over the last five seconds, or since the start where that is less."""
        now_s = time.monotonic()
        recent = sum(pushed_s > now_s - FPS_WINDOW_S for pushed_s in self._pushed_s)
        return recent / max(min(FPS_WINDOW_S, now_s - self._started_s), 1e-3)

    def to_mapping(self) -> dict[str, Any]:
        """The status file's frames, held, fps, latency_ms, skew_ms; null for what has not been measured."""
        return {
            "frames": self.frames,
            "held": self.held,
            "fps": round(self.fps(), 2),
            "latency_ms": _percentiles(self._latency_ms),
            "skew_ms": _percentiles(self._skew_ms),
        }


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """The middle value and the 99th of 100, by nearest rank."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": None, "p99": None}
    return {
        f"p{percent}": round(ordered[max(-(-percent * len(ordered) // 100) - 1, 0)], 3)
        for percent in (50, 99)
    }
