"""test://: pictures made here at the speed of a camera, irvis's own scenes or GStreamer's patterns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from irvis_runtime.buffers import new_buffer
from irvis_runtime.errors import ContractError
from irvis_runtime.scenes.scene import random_scene

from .feed import APPSRC, Feed, check_size, fps_fraction
from .scene_clip import Band, SceneClip


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
        check_size(self.width, self.height)
        fps_fraction(self.fps)
        for name in ("frames", "seed"):
            if getattr(self, name) < 0:
                raise ContractError(f"{name}: expected 0 or more, got {getattr(self, name)}")


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
        return f"{APPSRC} caps=video/x-raw,format=BGR,{size} ! videoconvert ! video/x-raw,format=NV12"
    return f"{APPSRC} caps=video/x-raw,format={grey},{size}"


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
    return Feed(lambda index: new_buffer([clip.picture(index / options.fps)]), options.fps, options.frames)
