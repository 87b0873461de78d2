"""The picture that goes out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.gstreamer import gst, packed

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
    def shared_bytes(self) -> Any:
        """`nv12_bytes` as GLib's bytes, made once for all outputs that show this picture."""
        return import_module("gi.repository.GLib").Bytes.new(nv12_bytes(self))


def even_size(picture: Picture) -> tuple[int, int]:
    """Returns height and width rounded up to even numbers, the only ones that H.264 in 4:2:0 has."""
    height, width = picture.luma_hw.shape
    return height + height % 2, width + width % 2


def caps_text(picture: Picture) -> str:
    """Returns the caps of `nv12_bytes(picture)`; the timestamps tell the true frame rate."""
    height, width = even_size(picture)
    return (
        f"video/x-raw,format=NV12,width={width},height={height},framerate={NOMINAL_FPS}/1,"
        f"colorimetry=(string){picture.colorimetry}"
    )


def nv12_buffer(picture: Picture) -> Any:
    """Returns a Gst.Buffer of its own around the picture's shared bytes."""
    return gst().Buffer.new_wrapped_bytes(picture.shared_bytes)


def nv12_bytes(picture: Picture) -> bytes:
    """Returns the picture as GStreamer's NV12 of even sides; an odd side repeats its last row or column."""
    height, width = picture.luma_hw.shape
    luma_hw = picture.luma_hw
    if height % 2 or width % 2:
        luma_hw = np.pad(luma_hw, ((0, height % 2), (0, width % 2)), mode="edge")
    return packed([luma_hw, picture.chroma])


def grey_chroma(size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns the chroma plane of a grey picture of this size."""
    return np.full((-(-size_hw[0] // 2), 2 * (-(-size_hw[1] // 2))), 128, np.uint8)
