"""The picture that goes out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.buffers import new_buffer
from irvis_runtime.gstreamer import gst

NOMINAL_FPS = 30
"""With a variable rate x264enc holds each picture back until the next one comes; x265enc does not start."""


@dataclass(frozen=True)
class Picture:
    """NV12 as two planes.

    `luma_hw`: uint8 (H, W). `chroma`: uint8 (ceil(H/2), 2 ceil(W/2)), U and V in turn.
    `time_ns`: capture, on the clock of time.monotonic_ns. `colorimetry`: as in the caps of the visible
    camera.
    """

    luma_hw: NDArray[np.uint8]
    chroma: NDArray[np.uint8]
    time_ns: int
    colorimetry: str

    @cached_property
    def shared_buffer(self) -> Any:
        """The Gst.Buffer whose memory all outputs share that show this picture.

        NV12 of even sides; an odd side repeats its last row or column.
        """
        height, width = self.luma_hw.shape
        luma_hw = self.luma_hw
        if height % 2 or width % 2:
            luma_hw = np.pad(luma_hw, ((0, height % 2), (0, width % 2)), mode="edge")
        return new_buffer([luma_hw, self.chroma])


def even_size(picture: Picture) -> tuple[int, int]:
    """Returns height and width rounded up to even numbers, the only ones that H.264 in 4:2:0 has."""
    height, width = picture.luma_hw.shape
    return height + height % 2, width + width % 2


def caps_text(picture: Picture) -> str:
    """Returns the caps of `nv12_buffer(picture)`; the timestamps tell the true frame rate."""
    height, width = even_size(picture)
    return (
        f"video/x-raw,format=NV12,width={width},height={height},framerate={NOMINAL_FPS}/1,"
        f"colorimetry=(string){picture.colorimetry}"
    )


def nv12_buffer(picture: Picture) -> Any:
    """Returns a Gst.Buffer with times of its own around the picture's shared memory."""
    shared = picture.shared_buffer
    return shared.copy_region(gst().BufferCopyFlags.MEMORY, 0, shared.get_size())


def grey_chroma(size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns the chroma plane of a grey picture of this size."""
    return np.full((-(-size_hw[0] // 2), 2 * (-(-size_hw[1] // 2))), 128, np.uint8)
