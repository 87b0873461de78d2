"""Two videos to one, frame by frame, with the context smoothed over time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.context import ContextSmoother, make_context
from irvis_runtime.fuser import Fuser, PendingPicture
from irvis_runtime.image import Visible, join_colour, luma_bt601, match_infrared, split_colour
from irvis_runtime.pairs import check_size
from irvis_runtime.progress import Progress
from irvis_runtime.video import VideoReader, even_size, writing_video

from .video_pair import FramePair, VideoPair

Frame = NDArray[np.uint8]


def fuse_videos(
    fuser: Fuser, infrared: Path, visible: Path, output: Path, is_gray: bool
) -> tuple[dict[str, Any], list[str]]:
    """Writes the fused video and returns what was done and what the user should know."""
    with (
        closing(VideoReader(infrared)) as infrared_video,
        closing(VideoReader(visible)) as visible_video,
    ):
        check_size(infrared, infrared_video.size_hw)
        check_size(visible, visible_video.size_hw)
        pair = VideoPair(infrared_video, visible_video)
        worker = _FrameFuser(fuser, is_gray)
        with (
            writing_video(output, visible_video.fps, visible_video.size_hw) as sink,
            Progress("fusing frames", pair.announced_frames) as progress,
        ):
            for fused, shown_frames in worker.fuse(pair):
                for _ in range(shown_frames):
                    sink.write(fused)
                    progress.step()
        notices = pair.notices
        is_resized = infrared_video.size_hw != visible_video.size_hw
        for name, reader in (("infrared", infrared_video), ("visible", visible_video)):
            if reader.bits > 8:
                notices.append(
                    f"the {name} video has {reader.bits} bits, its frames were decoded to 8; "
                    "folders of 16-bit pictures keep their counts"
                )
        if even_size(visible_video.size_hw) != visible_video.size_hw:
            notices.append("the visible video's odd last row or column is left out; encoders take even sizes")
    median_ms, p99_ms = np.percentile(worker.fuse_ms, (50, 99))
    entry = {
        "name": visible.stem,
        "infrared": str(infrared),
        "visible": str(visible),
        "output": str(output),
        "width": sink.size_hw[1],
        "height": sink.size_hw[0],
        "infrared_resized": is_resized,
        "frames": sink.frames,
        "fps": visible_video.fps,
        "fuse_ms": {"p50": round(float(median_ms), 3), "p99": round(float(p99_ms), 3)},
    }
    return entry, notices


@dataclass(frozen=True)
class _Handed:
    """A frame that was handed in, and how long that took."""

    pending: PendingPicture
    visible: Visible
    shown_frames: int
    took_ms: float


class _FrameFuser:
    """Fuses frames in their order; keeps the smoothed context and how long each held the loop up."""

    def __init__(self, fuser: Fuser, is_gray: bool) -> None:
        self._fuser, self._is_gray = fuser, is_gray
        self._smoother = ContextSmoother()
        self.fuse_ms: list[float] = []

    def fuse(self, pairs: Iterable[FramePair]) -> Iterator[tuple[Frame, int]]:
        """The fused frames, (H, W, 3 BGR) or (H, W) without colour, and for how many frames each is shown.

        A frame is decoded and handed in while a GPU still works on the one before it.
        """
        last: _Handed | None = None
        for pair in pairs:
            handed = self._hand_in(pair)
            if last is not None:
                yield self._collect(last), last.shown_frames
            last = handed
        if last is not None:
            yield self._collect(last), last.shown_frames

    def _hand_in(self, pair: FramePair) -> _Handed:
        visible = split_colour(pair.visible_hw3)
        height, width = visible.luma_hw.shape
        infrared_hw, _ = match_infrared(luma_bt601(pair.infrared_hw3), (height, width))
        start = time.perf_counter()
        context = self._smoother.update(make_context(infrared_hw, visible.luma_hw), pair.dt_s)
        pending = self._fuser.submit(infrared_hw, visible.luma_hw, context)
        return _Handed(pending, visible, pair.shown_frames, (time.perf_counter() - start) * 1e3)

    def _collect(self, handed: _Handed) -> Frame:
        start = time.perf_counter()
        fused_hw = handed.pending.collect()
        self.fuse_ms.append(handed.took_ms + (time.perf_counter() - start) * 1e3)
        return fused_hw if self._is_gray else join_colour(fused_hw, handed.visible)
