"""Pictures made or read in Python, pushed into a pipeline at the speed of a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import gst

MAX_SIDE_PX = 8192
APPSRC = "appsrc name=feed is-live=true format=time block=true max-buffers=2"


@dataclass(frozen=True)
class Feed:
    """A maker of pictures.

    `buffer`: number of the picture, from 0 -> its Gst.Buffer, as `new_buffer` and `read_buffer` make them.
    `frames`: 0 goes on for ever.
    """

    buffer: Callable[[int], Any]
    fps: float
    frames: int = 0


class Feeder:
    """Pushes the pictures of a feed into the appsrc named `feed`, each at its time."""

    def __init__(self, pipeline: Any, feed: Feed, base_time_ns: int) -> None:
        self._appsrc, self._feed, self._base_time_ns = pipeline.get_by_name("feed"), feed, base_time_ns
        self.failure: str | None = None
        """Why it can give no further picture."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Begins with the picture that is due now."""
        self._thread.start()

    def stop(self) -> None:
        """Asks it to end; the pipeline is stopped next, which frees a push that waits."""
        self._stopping.set()

    def join(self) -> None:
        """Waits until the picture that is being made is done."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._push_until_stopped()
        except (BackendError, ContractError, OSError) as error:
            self.failure = str(error)
        except Exception as error:
            # A fault of the program: told by its name, where the thread's end would be told as a silence.
            self.failure = repr(error)

    def _push_until_stopped(self) -> None:
        Gst = gst()
        period_ns = round(1e9 / self._feed.fps)
        index = max(0, time.monotonic_ns() - self._base_time_ns) // period_ns
        while not self._stopping.is_set():
            if self._feed.frames and index >= self._feed.frames:
                self._appsrc.end_of_stream()
                return
            buffer = self._feed.buffer(index)
            buffer.pts, buffer.duration = index * period_ns, period_ns
            wait_s = (self._base_time_ns + index * period_ns - time.monotonic_ns()) / 1e9
            if wait_s > 0:
                self._stopping.wait(wait_s)
            if self._appsrc.push_buffer(buffer) != Gst.FlowReturn.OK:
                return
            # A picture that takes too long to make costs the next ones, as in a camera under load.
            now_ns = time.monotonic_ns() - self._base_time_ns
            index = max(index + 1, now_ns // period_ns)


def fps_fraction(fps: float) -> str:
    """Returns frames a second as GStreamer writes them, 29.97 as 2997/100; 0.1 to 240, else ContractError."""
    if not 0.1 <= fps <= 240:
        raise ContractError(f"fps: expected 0.1 to 240, got {fps:g}")
    fraction = Fraction(fps).limit_denominator(1001)
    return f"{fraction.numerator}/{fraction.denominator}"


def check_size(width: int, height: int, least: int = 1) -> None:
    """ContractError for a side, in pixels, that is below `least` or above 8192."""
    for name, side in (("width", width), ("height", height)):
        if not least <= side <= MAX_SIDE_PX:
            raise ContractError(f"{name}: expected {least} to {MAX_SIDE_PX}, got {side}")
