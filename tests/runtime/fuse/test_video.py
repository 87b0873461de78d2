from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.backends import cudart
from irvis_runtime.fuse.video import fuse_videos
from irvis_runtime.fuser import Fuser
from irvis_runtime.image import luma_bt601, read_picture, write_picture
from irvis_runtime.video import VideoReader, writing_video

from .fuse_pictures import make_variable_video

Picture = NDArray[Any]
Run = Callable[..., tuple[int, list[str]]]


def scene(height: int = 48, width: int = 64, seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def make_video(path: Path, count: int, seed: int = 0, fps: float = 25.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing_video(path, fps, (48, 64)) as sink:
        for number in range(count):
            sink.write(scene(seed=seed + number))
    return path


def files_below(folder: Path) -> list[str]:
    """Every file and folder, hidden ones included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_videos_are_fused(tmp_path: Path, run: Run) -> None:
    infrared = make_video(tmp_path / "ir.mkv", 5, seed=10)
    visible = make_video(tmp_path / "vis.mkv", 6, seed=20)
    output, record = tmp_path / "out" / "fused.mkv", tmp_path / "record.json"
    code, lines = run(infrared, visible, "-o", output, "--json", record)
    assert code == 0
    assert lines == [
        "irvis fuse: the infrared video is the shorter one; the fused one ends there, at frame 5"
    ]
    assert files_below(tmp_path / "out") == ["fused.mkv"]
    fused = VideoReader(output)
    assert (fused.fps, fused.announced_frames, fused.size_hw) == (25.0, 5, (48, 64))
    (entry,) = json.loads(record.read_text())["pictures"]
    assert (entry["frames"], entry["fps"], entry["width"], entry["height"]) == (5, 25.0, 64, 48)
    assert 0 < entry["fuse_ms"]["p50"] <= entry["fuse_ms"]["p99"]


def test_a_frame_is_handed_in_while_the_gpu_has_the_one_before(
    tmp_path: Path, cuda: Any, install: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stand-ins for TensorRT and CUDA, whose engine gives the larger of both pictures."""
    monkeypatch.setenv("IRVIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cudart, "CDLL", lambda name: cuda)
    install("10.3.0", cuda)
    infrared, visible = (
        make_video(tmp_path / "ir.mkv", 5, seed=10),
        make_video(tmp_path / "vis.mkv", 5, seed=20),
    )
    with Fuser(backend="tensorrt") as fuser:
        entry, notices = fuse_videos(fuser, infrared, visible, tmp_path / "fused.mkv", is_gray=True)
    assert (entry["frames"], notices) == (5, [])
    launches = [name for name in cuda.calls if name in ("cudaGraphLaunch", "cudaEventSynchronize")]
    assert launches[:4] == ["cudaGraphLaunch", "cudaGraphLaunch", "cudaEventSynchronize", "cudaGraphLaunch"]
    assert launches.count("cudaGraphLaunch") == launches.count("cudaEventSynchronize") == 5
    fused = VideoReader(tmp_path / "fused.mkv")
    for number in range(5):
        pictures = [luma_bt601(scene(seed=seed + number)) for seed in (10, 20)]
        frame = fused.read()
        assert frame is not None
        np.testing.assert_array_equal(luma_bt601(frame), np.maximum(*pictures))
    assert set(cuda.held().values()) == {0}


def test_the_first_frame_is_the_picture_of_it(tmp_path: Path, run: Run) -> None:
    # Its context has no past yet, so the frame is what the two pictures alone give.
    infrared, visible = make_video(tmp_path / "ir.mkv", 2, 1), make_video(tmp_path / "vis.mkv", 2, 2)
    assert run(infrared, visible, "-o", tmp_path / "fused.mkv") == (0, [])
    for path in (infrared, visible, tmp_path / "fused.mkv"):
        frame = VideoReader(path).read()
        assert frame is not None
        write_picture(tmp_path / f"{path.stem}.png", frame)
    assert run(tmp_path / "ir.png", tmp_path / "vis.png", "-o", tmp_path / "picture.png") == (0, [])
    np.testing.assert_array_equal(
        read_picture(tmp_path / "picture.png"), read_picture(tmp_path / "fused.png")
    )


def test_a_still_video_does_not_flicker(tmp_path: Path, run: Run) -> None:
    for name in ("ir.mkv", "vis.mkv"):
        with writing_video(tmp_path / name, 25.0, (48, 64)) as sink:
            for _ in range(4):
                sink.write(scene(seed=5))
    assert run(tmp_path / "ir.mkv", tmp_path / "vis.mkv", "-o", tmp_path / "f.mkv", "--gray") == (0, [])
    fused = VideoReader(tmp_path / "f.mkv")
    first, *others = [fused.read() for _ in range(4)]
    assert first is not None
    for frame in others:
        np.testing.assert_array_equal(frame, first)


def test_a_recording_of_variable_rate_lasts_as_long_as_before(tmp_path: Path, run: Run) -> None:
    recording = make_variable_video(tmp_path / "recording.mkv", [0, 3, 4, 7, 8, 9])
    record = tmp_path / "record.json"
    code, lines = run(recording, recording, "-o", tmp_path / "f.mkv", "--gray", "--json", record)
    assert code == 0
    assert lines == [
        "irvis fuse: the infrared video has a variable frame rate, 6 frames in 0.40 s; "
        "frames are matched by time",
        "irvis fuse: the visible video has a variable frame rate, 6 frames in 0.40 s; "
        "on the even grid of 25 a second 4 frames are repeats and 0 were left out",
    ]
    assert json.loads(record.read_text())["pictures"][0]["frames"] == 10
    fused = VideoReader(tmp_path / "f.mkv")
    frames = [fused.read() for _ in range(10)]
    assert fused.read() is None
    for number, shown in enumerate([0, 0, 0, 3, 4, 4, 4, 7, 8, 9]):
        np.testing.assert_array_equal(frames[number], frames[shown])
    assert fused.fps == 25.0


def test_a_full_disk_leaves_no_video(tmp_path: Path) -> None:
    video = make_video(tmp_path / "in" / "v.mkv", 20)
    arguments = ["fuse", str(video), str(video), "-o", str(tmp_path / "out" / "fused.mkv")]
    done = subprocess.run(
        [sys.executable, "-m", "irvis_runtime", *arguments],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stderr.splitlines() if not line.startswith("fusing")]
    assert (done.returncode, len(errors)) == (2, 1), done.stderr
    assert "cannot write" in errors[0]
    assert files_below(tmp_path / "out") == []
