"""Where the cameras' threads leave their frames and the one that fuses takes the newest."""

from __future__ import annotations

import threading
import time
from collections import deque

from .frames import Frame
from .pairing import KEPT_FRAMES

LATE_S = 0.003
"""By so much later than expected is an infrared frame still waited for; USB and threads delay one as much."""


class Inbox:
    """Holds the newest visible frame and the last infrared ones; what is overwritten is counted.

    `wakes_for_infrared`: whether `take` returns for an infrared frame alone, or only with a visible one,
    so that the loop is woken once for a pair.
    """

    def __init__(self) -> None:
        self.wakes_for_infrared = True
        self._condition = threading.Condition()
        self._visible: Frame | None = None
        self._infrared: deque[Frame] = deque()
        self._is_infrared_awaited = False
        self.dropped = {"infrared": 0, "visible": 0}
        self._infrared_delay_ns = 0
        """From capture to here, of the last infrared frame."""

    def put_visible(self, frame: Frame) -> None:
        """Takes a visible frame in place of the last."""
        with self._condition:
            self.dropped["visible"] += self._visible is not None
            self._visible = frame
            self._condition.notify()

    def put_infrared(self, frame: Frame) -> None:
        """Takes an infrared frame beside the last few."""
        with self._condition:
            self._infrared.append(frame)
            self._infrared_delay_ns = time.monotonic_ns() - frame.time_ns
            if len(self._infrared) > KEPT_FRAMES:
                self._infrared.popleft()
                self.dropped["infrared"] += 1
            if self.wakes_for_infrared or self._is_infrared_awaited:
                self._condition.notify()

    def take(self, timeout_s: float) -> tuple[Frame | None, list[Frame]]:
        """Waits for a frame; returns the newest visible one and the infrared ones since the last call."""
        with self._condition:
            if self._visible is None and not (self.wakes_for_infrared and self._infrared):
                self._condition.wait(timeout_s)
            visible, infrared = self._visible, list(self._infrared)
            self._visible = None
            self._infrared.clear()
            return visible, infrared

    def await_infrared(self, due_ns: int, wait_s: float) -> list[Frame]:
        """Waits for the infrared frame of that time; returns those since the last call.

        It is expected with the delay of the last one. At once where that is later than `wait_s` from now, or
        over; a further visible frame ends the wait.
        """
        with self._condition:
            expected_s = (due_ns + self._infrared_delay_ns - time.monotonic_ns()) / 1e9
            if -LATE_S < expected_s < wait_s:
                self._is_infrared_awaited = True
                self._condition.wait_for(
                    lambda: self._infrared or self._visible, min(wait_s, expected_s + LATE_S)
                )
                self._is_infrared_awaited = False
            infrared = list(self._infrared)
            self._infrared.clear()
            return infrared
