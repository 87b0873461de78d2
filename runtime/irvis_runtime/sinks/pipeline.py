"""A sink that is one GStreamer pipeline: appsrc, an encoder, and a tail."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import (
    END_OF_STREAM,
    Description,
    Platform,
    build_pipeline,
    gst,
    start_pipeline,
    stop_pipeline,
    stop_reason,
)

from .encoders import Encoding
from .picture import Picture, caps_text, even_size, nv12_buffer
from .recording import Piece, Recording

TRIAL_SIZE_HW = (480, 640)
LIVE_PICTURES = 2
"""How many pictures wait at most for an output that shows what is now, and in its appsrc."""
APPSRC = "appsrc name=pictures is-live=true format=time block=false"


@dataclass(frozen=True)
class PipelineSink:
    """Where one output ends.

    `tail`: the launch text behind the encoder, or behind raw NV12 where `encoding` is None. `properties`: by
    the names of the tail's elements. `recording`: the file that the element `file` writes.
    """

    uri: str
    tail: str
    encoding: Encoding | None
    properties: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recording: Recording | None = None
    stall_s: float = 2.0
    waiting_pictures: int = LIVE_PICTURES

    def check(self, platform: Platform) -> None:
        """BackendError where no encoder works."""
        if self.encoding is not None:
            self.encoding.choose(platform, TRIAL_SIZE_HW)

    def open(self, platform: Platform, picture: Picture) -> PipelineOutlet:
        """Starts the pipeline; a recording begins a file."""
        encoder, properties, piece = "", dict(self.properties), None
        if self.encoding is not None:
            encoder = f"{self.encoding.choose(platform, even_size(picture))} ! "
        if self.recording is not None:
            piece = self.recording.open()
            properties["file"] = {"location": str(piece.part)}
        try:
            pipeline = build_pipeline(Description(f"{APPSRC} ! {encoder}{self.tail}", properties))
            return PipelineOutlet(pipeline, picture, piece)
        except BackendError:
            if piece is not None:
                piece.release()
            raise


class PipelineOutlet:
    """A pipeline that runs; its time 0 is the first picture's."""

    def __init__(self, pipeline: Any, picture: Picture, piece: Piece | None = None) -> None:
        self.pipeline, self._piece = pipeline, piece
        self._appsrc = pipeline.get_by_name("pictures")
        self._caps = caps_text(picture)
        self._appsrc.set_property("caps", gst().Caps.from_string(self._caps))
        self._origin_ns, self._last_pts_ns = picture.time_ns, -gst().MSECOND
        start_pipeline(pipeline, time.monotonic_ns())

    def is_over(self, picture: Picture) -> bool:
        """Whether the picture differs from those before, or the recording's piece is long enough."""
        if caps_text(picture) != self._caps:
            return True
        elapsed_s = (picture.time_ns - self._origin_ns) / 1e9
        return self._piece is not None and self._piece.is_over(elapsed_s)

    def has_room(self) -> bool:
        """Whether fewer than two pictures wait in the pipeline."""
        return int(self._appsrc.get_property("current-level-buffers")) < LIVE_PICTURES

    def push(self, picture: Picture) -> None:
        """Hands the picture to the pipeline without copying it."""
        buffer = nv12_buffer(picture)
        # A camera that takes over from the other may be a little behind it; a muxer wants time to go forward.
        buffer.pts = max(picture.time_ns - self._origin_ns, self._last_pts_ns + gst().MSECOND)
        self._last_pts_ns = buffer.pts
        self._appsrc.push_buffer(buffer)

    def stop_reason(self) -> str | None:
        """What the bus says."""
        return stop_reason(self.pipeline)

    def finish(self, timeout_s: float) -> None:
        """Sends the end of the stream, waits until it is through, and gives a recording its name."""
        self._appsrc.end_of_stream()
        reason = stop_reason(self.pipeline, round(timeout_s * gst().SECOND))
        if reason != END_OF_STREAM:
            raise BackendError(reason or f"did not finish within {timeout_s:g} s")
        if self._piece is not None:
            self._piece.close()

    def close(self) -> None:
        """Stops the pipeline; what a recording's piece holds by then stays on the disk."""
        if self._piece is not None:
            self._piece.release()
        stop_pipeline(self.pipeline)
