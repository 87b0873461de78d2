"""The newest picture as a JPEG or PNG, written beside and renamed: a reader never sees half of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.buffers import bytes_of
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import Description, Platform, build_pipeline, gst
from irvis_runtime.image import write_picture

from .picture import Picture, even_size
from .pipeline import APPSRC, PipelineOutlet


@dataclass(frozen=True)
class SnapshotSink:
    """A picture file that is replaced every `every_s` seconds."""

    uri: str
    path: Path
    every_s: float
    stall_s: float
    waiting_pictures: int = 1

    def check(self, platform: Platform) -> None:
        """Nothing can be missing here that the cameras do not need."""

    def open(self, platform: Platform, picture: Picture) -> SnapshotOutlet:
        """Starts the pipeline that makes colours of NV12, as its colorimetry says."""
        # imencode takes colours as B, G, R.
        launch = f"{APPSRC} ! videoconvert ! video/x-raw,format=BGR ! appsink name=colours sync=false"
        return SnapshotOutlet(build_pipeline(Description(launch)), picture, self)


class SnapshotOutlet(PipelineOutlet):
    """Converts and writes a picture when the next one is due, and ignores the others."""

    def __init__(self, pipeline: Any, picture: Picture, sink: SnapshotSink) -> None:
        super().__init__(pipeline, picture)
        self._sink, self._due_ns = sink, picture.time_ns
        self._colours = pipeline.get_by_name("colours")

    def push(self, picture: Picture) -> None:
        """Replaces the file where the next one is due; BackendError where it cannot be written."""
        if picture.time_ns < self._due_ns:
            return
        self._due_ns = picture.time_ns + round(self._sink.every_s * 1e9)
        super().push(picture)
        sample = self._colours.try_pull_sample(round(self._sink.stall_s * gst().SECOND))
        if sample is None:
            raise BackendError(self.stop_reason() or f"gave no picture for {self._sink.stall_s:g} s")
        try:
            write_picture(self._sink.path, _bgr(sample.get_buffer(), picture))
        except ContractError as error:
            raise BackendError(str(error)) from error


def _bgr(buffer: Any, picture: Picture) -> NDArray[np.uint8]:
    """The sample as (H, W, 3), without the row or column that an odd side was evened with."""
    (height, width), (even_height, even_width) = picture.luma_hw.shape, even_size(picture)
    stride = -(-3 * even_width // 4) * 4
    rows = bytes_of(buffer).reshape(even_height, stride)[:, : 3 * even_width]
    return np.ascontiguousarray(rows.reshape(even_height, even_width, 3)[:height, :width])
