"""Two videos to one, frame by frame, with the context smoothed over time."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .context import ContextSmoother, make_context
from .fuser import Fuser
from .image import join_colour, luma_bt601, match_infrared, split_colour
from .pairs import check_size
from .progress import Progress
from .video import VideoPair, VideoReader, even_size, writing_video


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
        worker = _FrameFuser(fuser, visible_video.fps, is_gray)
        with (
            writing_video(output, visible_video.fps, visible_video.size_hw) as sink,
            Progress("fusing frames", pair.announced_frames) as progress,
        ):
            for infrared_hw3, visible_hw3 in pair:
                sink.write(worker.fuse(infrared_hw3, visible_hw3))
                progress.step()
        notices = pair.notices
        is_resized = infrared_video.size_hw != visible_video.size_hw
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


class _FrameFuser:
    """Fuses frames in their order; keeps the smoothed context and the time that each took."""

    def __init__(self, fuser: Fuser, fps: float, is_gray: bool) -> None:
        self._fuser, self._frame_s, self._is_gray = fuser, 1.0 / fps, is_gray
        self._smoother = ContextSmoother()
        self.fuse_ms: list[float] = []

    def fuse(self, infrared_hw3: NDArray[np.uint8], visible_hw3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The fused frame, (H, W, 3 BGR) or (H, W) without colour."""
        visible = split_colour(visible_hw3)
        height, width = visible.luma_hw.shape
        infrared_hw, _ = match_infrared(luma_bt601(infrared_hw3), (height, width))
        start = time.perf_counter()
        context = self._smoother.update(make_context(infrared_hw, visible.luma_hw), self._frame_s)
        fused_hw = self._fuser.fuse(infrared_hw, visible.luma_hw, context)
        self.fuse_ms.append((time.perf_counter() - start) * 1e3)
        return fused_hw if self._is_gray else join_colour(fused_hw, visible)
