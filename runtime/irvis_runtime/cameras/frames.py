"""One frame of a camera as arrays, taken out of GStreamer's memory with its time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import gst, gst_video

FULL_RANGE = "1:4:0:0"
"""GStreamer's colorimetry text (range:matrix:transfer:primaries) for full range, BT.601, the rest unsaid."""

# Its name begins with a digit, which PyGObject's versions spell differently; the number is GStreamer's ABI.
COLOR_RANGE_0_255 = 1


@dataclass(frozen=True)
class Frame:
    """A frame that owns its memory.

    `luma_hw`: uint8, or uint16 counts of a 16-bit infrared camera. `chroma`: NV12's second plane, uint8
    (ceil(H/2), 2 ceil(W/2)), U and V in turn, or None for grey. `time_ns`: capture, on the clock of
    time.monotonic_ns. `colorimetry`: as in the caps. `is_full_range`: black is 0 and white 255, not 16 and
    235.
    """

    luma_hw: NDArray[Any]
    chroma: NDArray[np.uint8] | None
    time_ns: int
    colorimetry: str
    is_full_range: bool


def frame_from_sample(sample: Any, base_time_ns: int, latency_ns: int = 0) -> Frame:
    """Copies an appsink's sample (NV12, I420, GRAY8 or GRAY16_LE) out, whatever its row strides.

    YUY2 is taken as counts of 16 bit, as which some thermal cameras send it.
    `base_time_ns`: the clock's time at running time 0. `latency_ns`: the camera's constant delay, taken off
    the time.
    """
    Gst, video = gst(), gst_video()
    buffer, caps = sample.get_buffer(), sample.get_caps()
    info = video.VideoInfo.new_from_caps(caps)
    meta = video.buffer_get_video_meta(buffer)
    offsets, strides = (meta.offset, meta.stride) if meta is not None else (info.offset, info.stride)
    is_mapped, memory = buffer.map(Gst.MapFlags.READ)
    if not is_mapped:
        raise BackendError("GStreamer: a frame's memory cannot be read; ask the source for system memory")
    try:
        # Without PyGObject's Gst overrides `data` is a copy already, and bytes() returns it as it is.
        content = bytes(memory.data)
    finally:
        buffer.unmap(memory)
    name = caps.get_structure(0).get_string("format")
    height, width = info.height, info.width
    chroma = None
    if name in ("GRAY16_LE", "YUY2"):
        luma = np.ndarray((height, width), np.dtype("<u2"), content, offsets[0], (strides[0], 2))
    else:
        luma = np.ndarray((height, width), np.uint8, content, offsets[0], (strides[0], 1))
    if name == "NV12":
        shape = (-(-height // 2), 2 * (-(-width // 2)))
        chroma = np.ndarray(shape, np.uint8, content, offsets[1], (strides[1], 1))
    is_full_range = name.startswith("GRAY") or int(info.colorimetry.range) == COLOR_RANGE_0_255
    colorimetry = info.colorimetry.to_string() or FULL_RANGE
    return Frame(
        luma, chroma, _capture_ns(sample, buffer, base_time_ns) - latency_ns, colorimetry, is_full_range
    )


def _capture_ns(sample: Any, buffer: Any, base_time_ns: int) -> int:
    """The clock's time of the buffer; now where the source gives none."""
    Gst = gst()
    if buffer.pts == Gst.CLOCK_TIME_NONE:
        return time.monotonic_ns()
    running_ns = sample.get_segment().to_running_time(Gst.Format.TIME, buffer.pts)
    return time.monotonic_ns() if running_ns == Gst.CLOCK_TIME_NONE else base_time_ns + int(running_ns)
