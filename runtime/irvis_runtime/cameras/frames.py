"""One frame of a camera as arrays, taken out of GStreamer's memory with its time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.buffers import bytes_of
from irvis_runtime.gstreamer import gst, gst_video

FULL_RANGE = "1:4:0:0"
"""GStreamer's colorimetry text (range:matrix:transfer:primaries) for full range, BT.601, the rest unsaid."""

# Its name begins with a digit, which PyGObject's versions spell differently; the number is GStreamer's ABI.
COLOR_RANGE_0_255 = 1


@dataclass(frozen=True)
class Frame:
    """A frame; its arrays are read-only.

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


@dataclass(frozen=True)
class Form:
    """What a camera's caps say of its frames."""

    format: str
    height_px: int
    width_px: int
    fps: float
    """As negotiated; 0 where the rate is variable or unsaid."""
    colorimetry: str
    is_full_range: bool
    offsets: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def text(self) -> str:
        """The form in a log's words, as in 640x480 NV12."""
        return f"{self.width_px}x{self.height_px} {self.format}"


class FrameReader:
    """Reads an appsink's samples (NV12, I420, GRAY8 or GRAY16_LE), whatever their row strides.

    YUY2 is taken as counts of 16 bit, as which some thermal cameras send it.
    `base_time_ns`: the clock's time at running time 0. `latency_ns`: the camera's constant delay, taken off
    the time. `is_lent`: the frame keeps the buffer, which saves 20 us a frame of 640x480; else it owns a
    copy.
    """

    def __init__(self, base_time_ns: int, latency_ns: int = 0, *, is_lent: bool = False) -> None:
        self._base_time_ns, self.latency_ns, self._is_lent = base_time_ns, latency_ns, is_lent
        self._caps: Any = None
        self.form: Form | None = None
        """The form of the last frame."""
        self.duration_ns: int | None = None
        """Of the last frame, where its buffer says it."""

    def read(self, sample: Any) -> Frame:
        """Returns the sample's frame; BackendError where its memory cannot be read."""
        buffer = sample.get_buffer()
        form = self._form_of(sample.get_caps())
        self.duration_ns = None if buffer.duration == gst().CLOCK_TIME_NONE else buffer.duration
        meta = gst_video().buffer_get_video_meta(buffer)
        offsets, strides = (meta.offset, meta.stride) if meta is not None else (form.offsets, form.strides)
        content = bytes_of(buffer)
        if not self._is_lent:
            content = content.copy()
            content.setflags(write=False)
        height, width = form.height_px, form.width_px
        chroma = None
        if form.format in ("GRAY16_LE", "YUY2"):
            luma = np.ndarray((height, width), np.dtype("<u2"), content.data, offsets[0], (strides[0], 2))
        else:
            luma = np.ndarray((height, width), np.uint8, content.data, offsets[0], (strides[0], 1))
        if form.format == "NV12":
            shape = (-(-height // 2), 2 * (-(-width // 2)))
            chroma = np.ndarray(shape, np.uint8, content.data, offsets[1], (strides[1], 1))
        time_ns = _capture_ns(sample, buffer, self._base_time_ns) - self.latency_ns
        return Frame(luma, chroma, time_ns, form.colorimetry, form.is_full_range)

    def _form_of(self, caps: Any) -> Form:
        """The caps as a Form; parsed anew only where they are other ones than the last frame's."""
        if self.form is None or hash(caps) != hash(self._caps):
            self._caps, self.form = caps, _parsed(caps)
        return self.form


def _parsed(caps: Any) -> Form:
    info = gst_video().VideoInfo.new_from_caps(caps)
    name = caps.get_structure(0).get_string("format")
    return Form(
        name,
        info.height,
        info.width,
        info.fps_n / info.fps_d if info.fps_d else 0.0,
        info.colorimetry.to_string() or FULL_RANGE,
        name.startswith("GRAY") or int(info.colorimetry.range) == COLOR_RANGE_0_255,
        tuple(info.offset),
        tuple(info.stride),
    )


def _capture_ns(sample: Any, buffer: Any, base_time_ns: int) -> int:
    """The clock's time of the buffer; now where the source gives none.

    Nor later than now: an MPEG transport stream says when a frame is to be shown, 0.1 s ahead.
    """
    Gst = gst()
    now_ns = time.monotonic_ns()
    if buffer.pts == Gst.CLOCK_TIME_NONE:
        return now_ns
    running_ns = sample.get_segment().to_running_time(Gst.Format.TIME, buffer.pts)
    return now_ns if running_ns == Gst.CLOCK_TIME_NONE else min(base_time_ns + int(running_ns), now_ns)
