"""Videos: frames read with their times, and a file written whole or not at all."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import atomic
from .errors import BackendError, ContractError
from .frame_times import FrameTimes
from .image import opencv

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts"})
# MPEG-4 part 2, Motion JPEG, and the lossless FFV1: encoders that every build of FFmpeg has.
CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "FFV1"}


class VideoReader:
    """The frames of one video file, (H, W, 3 BGR) uint8, in order.

    `bits` is what a sample has in the file, as far as its pixel format tells; frames are given with 8.
    A rotation that the file asks for is not applied: sensors are registered by their pixel grids.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file; ContractError if it is missing, no video, or has no frame or no frame rate."""
        self.path = path
        if not path.is_file():
            raise ContractError(f"{path}: expected a video, found no such file; check the path")
        cv2 = _opencv_for_video()
        self._capture = cv2.VideoCapture(str(path), _container_backend(cv2))
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        self._position_ms = cv2.CAP_PROP_POS_MSEC
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.announced_frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.frames_read = 0
        is_decoded, self._first = self._capture.read()
        if not is_decoded:
            self.close()
            raise ContractError(f"{path}: OpenCV decodes no frame, it is cut or no video; convert it")
        if not (math.isfinite(self.fps) and self.fps > 0.0):
            self.close()
            raise ContractError(f"{path}: expected a frame rate, the file names none; convert it to .mp4")
        self.bits = _bits_of(int(self._capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)))
        self.size_hw: tuple[int, int] = self._first.shape[:2]
        self.times = FrameTimes(self.fps)

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame, or None after the last; `times.position` then tells when it belongs."""
        frame: NDArray[np.uint8] | None = self._first
        if self.frames_read:
            frame = self._capture.read()[1]
        if frame is None:
            return None
        if frame.shape[:2] != self.size_hw:
            raise ContractError(
                f"{self.path}: expected frames of one size, frame {self.frames_read} differs; convert it"
            )
        self.frames_read += 1
        self.times.add(float(self._capture.get(self._position_ms)))
        return frame

    @property
    def is_cut(self) -> bool:
        """Whether the frames end clearly before the file's announced end; asked after the last one.

        Where a container names no number of frames, OpenCV makes one of duration and frame rate: with a
        variable rate fewer frames reach as far.
        """
        reached = max(self.frames_read, self.times.position + 1)
        return reached < 0.95 * self.announced_frames

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()


class VideoSink:
    """Takes frames for the video that `writing_video` opened."""

    def __init__(self, path: Path, fps: float, size_hw: tuple[int, int]) -> None:
        """Opens the file for frames of `size_hw`; BackendError where OpenCV lacks the encoder."""
        self._cv2 = cv2 = _opencv_for_video()
        self.size_hw = even_size(size_hw)
        self.frames = 0
        codec = CODECS[path.suffix.lower()]
        self._writer = cv2.VideoWriter(
            str(path), _container_backend(cv2), cv2.VideoWriter.fourcc(*codec), fps, self.size_hw[::-1]
        )
        if not self._writer.isOpened():
            raise BackendError(
                f"this OpenCV cannot write {codec} into {path.suffix}; "
                f"name another of {', '.join(CODECS)} or run `pip install opencv-python-headless`"
            )

    def write(self, picture: NDArray[Any]) -> None:
        """Adds a frame, (H, W) or (H, W, 3 BGR) uint8; an odd last row or column is left out."""
        height, width = self.size_hw
        frame = picture[:height, :width]
        bgr_hw3 = self._cv2.cvtColor(frame, self._cv2.COLOR_GRAY2BGR) if frame.ndim == 2 else frame
        self._writer.write(np.ascontiguousarray(bgr_hw3))
        self.frames += 1

    def close(self) -> None:
        """Writes the end of the file."""
        self._writer.release()


@contextmanager
def writing_video(path: Path, fps: float, size_hw: tuple[int, int]) -> Iterator[VideoSink]:
    """Yields a sink for frames of `size_hw`; the file appears when all went well, else nothing is left.

    OpenCV's writer reports no full disk, so the frames are counted in what was written. ContractError where
    some are missing, BackendError where OpenCV lacks the encoder.
    """
    with atomic.replacing(path) as temporary:
        sink = VideoSink(temporary, fps, size_hw)
        try:
            yield sink
        finally:
            sink.close()
        written = _count_frames(temporary)
        if written != sink.frames:
            raise ContractError(
                f"cannot write {path}: {written} of {sink.frames} frames arrived; "
                "free some space or name another output"
            )


def even_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    """The size that is written: encoders take even heights and widths."""
    return size_hw[0] // 2 * 2, size_hw[1] // 2 * 2


def checked_video_suffix(path: Path) -> str:
    """The lower-case suffix of a video that can be written; ContractError for any other."""
    suffix = path.suffix.lower()
    if suffix not in CODECS:
        raise ContractError(
            f"{path}: cannot write a video as {suffix or 'a file without suffix'}; "
            f"name it with one of {', '.join(CODECS)}"
        )
    return suffix


def _bits_of(pixel_format: int) -> int:
    """Bits of a sample, from FFmpeg's tag of a pixel format; 8 where it tells nothing.

    Tags of more than 8 bits end in their number, such as "Y1", 0, 16; big-endian ones have it in front.
    """
    tag = (pixel_format & 0xFFFFFFFF).to_bytes(4, "little")
    return next((bits for bits in (tag[3], tag[0]) if 9 <= bits <= 16), 8)


def _count_frames(path: Path) -> int:
    cv2 = _opencv_for_video()
    capture = cv2.VideoCapture(str(path), _container_backend(cv2))
    frames = 0
    while capture.grab():
        frames += 1
    capture.release()
    return frames


def _opencv_for_video() -> ModuleType:
    """OpenCV whose FFmpeg prints nothing: it reads its log level, here AV_LOG_QUIET, at its first use."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    return opencv()


def _container_backend(cv2: ModuleType) -> int:
    """FFmpeg where OpenCV has it: without it named, a file name with % or digits may be read as a series."""
    has_ffmpeg = cv2.CAP_FFMPEG in cv2.videoio_registry.getStreamBackends()
    return int(cv2.CAP_FFMPEG if has_ffmpeg else cv2.CAP_ANY)
