"""Pictures and videos for the tests of `irvis fuse`, and what it leaves in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.image import write_picture

Picture = NDArray[Any]


def scene(height: int = 48, width: int = 64, channels: int = 3, seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height, width, channels), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2).reshape(height, width, channels)


def make(path: Path, picture: Picture) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, picture[..., 0] if picture.shape[2:] == (1,) else picture)
    return path


def make_variable_video(path: Path, positions: Sequence[int], fps: float = 25.0) -> Path:
    """Frame n of brightness 10 n, shown at positions[n] / fps seconds: Motion JPEG with times of its own."""
    if not hasattr(cv2, "VIDEOWRITER_PROP_PTS"):
        pytest.skip(f"OpenCV {cv2.__version__} writes no videos of variable rate")
    options = [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, (64, 48), options)
    assert writer.isOpened()
    for number, position in enumerate(positions):
        frame = np.full((48, 64, 3), 10 * number, np.uint8)
        assert writer.set(cv2.VIDEOWRITER_PROP_PTS, position)
        writer.write(cv2.imencode(".jpg", frame)[1].reshape(1, -1))
    writer.release()
    return path


def files_below(folder: Path) -> list[str]:
    """Every file and folder, hidden ones included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
