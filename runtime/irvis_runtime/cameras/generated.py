"""test://: pictures made here at the speed of a camera, irvis's own scenes or GStreamer's patterns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from numpy.typing import NDArray

from irvis_runtime.errors import ContractError
from irvis_runtime.gstreamer import gst, packed
from irvis_runtime.scenes.scene import random_scene

from .scene_clip import Band, SceneClip

MAX_SIDE_PX = 8192


@dataclass(frozen=True)
class TestOptions:
    """Options of test://."""

    # Not a test, whatever its name says to pytest.
    __test__ = False

    width: int = field(default=640, metadata={"doc": "pixels"})
    height: int = field(default=480, metadata={"doc": "pixels"})
    fps: float = field(default=30.0, metadata={"doc": "frames a second"})
    frames: int = field(default=0, metadata={"doc": "end after so many; 0: never"})
    pattern: Literal["", "smpte", "snow", "black", "white", "ball", "gradient", "pinwheel"] = field(
        default="", metadata={"doc": "a pattern of GStreamer's videotestsrc in place of a scene"}
    )
    camera: Literal["auto", "infrared", "visible"] = field(
        default="auto",
        metadata={"doc": "which camera of the scene; auto: the one that this source stands for"},
    )
    seed: int = field(default=1, metadata={"doc": "which scene; two cameras with one seed see the same"})
    kind: Literal["", "day", "overcast", "dusk", "night", "fog"] = field(
        default="", metadata={"doc": "light and weather of the scene; empty: the seed decides"}
    )
    format: Literal["gray8", "y16"] = field(
        default="gray8", metadata={"doc": "of an infrared camera; y16 is 16 bit"}
    )

    def __post_init__(self) -> None:
        """ContractError for sizes and speeds that cannot be made."""
        for name in ("width", "height"):
            if not 1 <= getattr(self, name) <= MAX_SIDE_PX:
                raise ContractError(f"{name}: expected 1 to {MAX_SIDE_PX}, got {getattr(self, name)}")
        fps_fraction(self.fps)
        for name in ("frames", "seed"):
            if getattr(self, name) < 0:
                raise ContractError(f"{name}: expected 0 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class Feed:
    """A maker of pictures.

    `picture`: seconds since the start -> uint8 (H, W), uint16 (H, W), or uint8 BGR (H, W, 3). `frames`: 0
    goes on for ever.
    """

    picture: Callable[[float], NDArray[Any]]
    fps: float
    frames: int = 0


def test_launch(options: TestOptions, role: str) -> str:
    """Returns the pipeline up to raw pictures of the role's format: NV12, GRAY8 or GRAY16_LE."""
    grey = "GRAY16_LE" if options.format == "y16" else "GRAY8"
    name = "NV12" if role == "visible" else grey
    size = f"width={options.width},height={options.height},framerate={fps_fraction(options.fps)}"
    if options.pattern:
        count = f" num-buffers={options.frames}" if options.frames else ""
        return (
            f"videotestsrc is-live=true pattern={options.pattern}{count} ! video/x-raw,format={name},{size}"
        )
    if role == "visible":
        return f"{_APPSRC} caps=video/x-raw,format=BGR,{size} ! videoconvert ! video/x-raw,format=NV12"
    return f"{_APPSRC} caps=video/x-raw,format={grey},{size}"


_APPSRC = "appsrc name=feed is-live=true format=time block=true max-buffers=2"


class Feeder:
    """Pushes the pictures of a feed into the appsrc named `feed`, each at its time."""

    def __init__(self, pipeline: Any, feed: Feed, base_time_ns: int) -> None:
        self._appsrc, self._feed, self._base_time_ns = pipeline.get_by_name("feed"), feed, base_time_ns
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="test-feed", daemon=True)

    def start(self) -> None:
        """Begins with the picture of second 0."""
        self._thread.start()

    def stop(self) -> None:
        """Asks it to end; the pipeline is stopped next, which frees a push that waits."""
        self._stopping.set()

    def join(self) -> None:
        """Waits until the picture that is being made is done."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        Gst = gst()
        period_ns = round(1e9 / self._feed.fps)
        index = max(0, time.monotonic_ns() - self._base_time_ns) // period_ns
        while not self._stopping.is_set():
            if self._feed.frames and index >= self._feed.frames:
                self._appsrc.end_of_stream()
                return
            buffer = Gst.Buffer.new_wrapped(packed([self._feed.picture(index / self._feed.fps)]))
            buffer.pts, buffer.duration = index * period_ns, period_ns
            self._stopping.wait(self._base_time_ns / 1e9 + buffer.pts / 1e9 - time.monotonic())
            if self._appsrc.push_buffer(buffer) != Gst.FlowReturn.OK:
                return
            # A scene that is slower to make than its frame rate skips frames, as a camera under load does.
            now_ns = time.monotonic_ns() - self._base_time_ns
            index = max(index + 1, now_ns // period_ns)


def fps_fraction(fps: float) -> str:
    """Returns frames a second as GStreamer writes them, 29.97 as 2997/100; 0.1 to 240, else ContractError."""
    if not 0.1 <= fps <= 240:
        raise ContractError(f"fps: expected 0.1 to 240, got {fps:g}")
    fraction = Fraction(fps).limit_denominator(1001)
    return f"{fraction.numerator}/{fraction.denominator}"


def make_feed(options: TestOptions, role: str) -> Feed:
    """Returns the pictures of one camera of the scene that the options name.

    An 8-bit infrared picture lies on the visible one pixel by pixel; a 16-bit one is its own sensor's.
    """
    scene = random_scene(options.seed, (options.height, options.width), options.kind or None)
    camera = role if options.camera == "auto" else options.camera
    band: Band = "visible"
    if camera == "infrared":
        band = "counts" if options.format == "y16" else "infrared"
    clip = SceneClip(scene, band, options.fps)
    return Feed(clip.picture, options.fps, options.frames)
