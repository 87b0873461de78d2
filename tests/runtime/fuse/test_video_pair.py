"""Two videos by time: which frames come together, and for how long each is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.fuse.video_pair import VideoPair
from irvis_runtime.video import VideoReader, writing_video

from .fuse_pictures import make_variable_video

Frame = NDArray[Any]


def numbered(number: int) -> Frame:
    """A frame whose brightness tells its number, with texture around."""
    frame = np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)
    frame[8:-8, 8:-8] = number
    return frame


def make_video(path: Path, frames: Sequence[Frame], fps: float = 25.0) -> Path:
    with writing_video(path, fps, (48, 64)) as sink:
        for frame in frames:
            sink.write(frame)
    return path


def numbers_of(pair: VideoPair) -> list[tuple[int, int]]:
    """The frame numbers (infrared, visible) shown together, one entry a frame of the output."""
    return [
        (int(frames.infrared_hw3[20, 20, 0]), int(frames.visible_hw3[20, 20, 0]))
        for frames in pair
        for _ in range(frames.shown_frames)
    ]


def read_pair_of(infrared: Path, visible: Path) -> tuple[list[tuple[int, int]], list[str]]:
    pair = VideoPair(VideoReader(infrared), VideoReader(visible))
    return numbers_of(pair), pair.notices


def test_videos_of_one_rate_go_frame_by_frame(tmp_path: Path) -> None:
    frames = [numbered(number) for number in range(6)]
    numbers, notices = read_pair_of(
        make_video(tmp_path / "ir.mkv", frames), make_video(tmp_path / "vis.mkv", frames)
    )
    assert numbers == [(number, number) for number in range(6)]
    assert notices == []


@pytest.mark.parametrize(("infrared", "visible", "ended"), [(4, 6, "infrared"), (6, 4, "visible")])
def test_the_shorter_video_ends_the_pair(tmp_path: Path, infrared: int, visible: int, ended: str) -> None:
    frames = [numbered(number) for number in range(6)]
    numbers, notices = read_pair_of(
        make_video(tmp_path / "ir.mkv", frames[:infrared]), make_video(tmp_path / "vis.mkv", frames[:visible])
    )
    assert numbers == [(number, number) for number in range(4)]
    assert notices == [f"the {ended} video is the shorter one; the fused one ends there, at frame 4"]


@pytest.mark.parametrize(
    ("infrared_fps", "visible_fps", "expected"),
    [(10.0, 30.0, [0, 0, 1, 1, 1, 2, 2, 2, 3]), (30.0, 10.0, [0, 3, 6, 9])],
)
def test_frames_of_other_rates_are_matched_by_time(
    tmp_path: Path, infrared_fps: float, visible_fps: float, expected: list[int]
) -> None:
    infrared = [numbered(number) for number in range(12)]
    visible = [numbered(number) for number in range(len(expected))]
    numbers, notices = read_pair_of(
        make_video(tmp_path / "ir.mkv", infrared, infrared_fps),
        make_video(tmp_path / "vis.mkv", visible, visible_fps),
    )
    assert numbers == [(index, number) for number, index in enumerate(expected)]
    assert f"has {infrared_fps:g} frames a second and the visible one {visible_fps:g}" in notices[0]


def test_a_cut_video_is_noticed(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "vis.mkv", [numbered(number) for number in range(12)])
    cut = tmp_path / "ir.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    numbers, notices = read_pair_of(cut, whole)
    assert 1 <= len(numbers) < 12
    assert f"{cut} announces 12 frames and gives {len(numbers)}" in notices


# Videos of variable rate, as `irvis live` records them: a frame is left out where none came.
VARIABLE = [0, 1, 2, 5, 6, 9, 10]


def tens(numbers: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(round(infrared / 10), round(visible / 10)) for infrared, visible in numbers]


def test_a_variable_visible_video_keeps_its_timing(tmp_path: Path) -> None:
    infrared = make_variable_video(tmp_path / "ir.mkv", range(11))
    visible = make_variable_video(tmp_path / "vis.mkv", VARIABLE)
    numbers, notices = read_pair_of(infrared, visible)
    assert [number for _, number in tens(numbers)] == [0, 1, 2, 2, 2, 3, 4, 4, 4, 5, 6]
    assert [number for number, _ in tens(numbers)] == [0, 1, 2, 2, 2, 5, 6, 6, 6, 9, 10]
    assert notices == [
        "the visible video has a variable frame rate, 7 frames in 0.44 s; "
        "on the even grid of 25 a second 4 frames are repeats and 0 were left out"
    ]


def test_a_variable_infrared_video_is_matched_by_time(tmp_path: Path) -> None:
    infrared = make_variable_video(tmp_path / "ir.mkv", VARIABLE)
    visible = make_variable_video(tmp_path / "vis.mkv", range(11))
    numbers, notices = read_pair_of(infrared, visible)
    # Visible 3 (120 ms) is nearer to infrared 2 (80 ms), visible 4 (160 ms) to infrared 3 (200 ms).
    assert [number for number, _ in tens(numbers)] == [0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    assert notices == [
        "the infrared video has a variable frame rate, 7 frames in 0.44 s; frames are matched by time"
    ]


def test_the_context_is_told_how_long_a_frame_was(tmp_path: Path) -> None:
    path = make_variable_video(tmp_path / "v.mkv", VARIABLE)
    pairs = list(VideoPair(VideoReader(path), VideoReader(path)))
    assert [pair.dt_s for pair in pairs] == [frames / 25.0 for frames in (1, 1, 1, 3, 1, 3, 1)]
    assert [pair.shown_frames for pair in pairs] == [1, 1, 3, 1, 3, 1, 1]


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
@pytest.mark.parametrize("fps", [9.0, 24000 / 1001, 30000 / 1001, 30.0, 120.0])
def test_a_constant_rate_is_none_that_varies(tmp_path: Path, suffix: str, fps: float) -> None:
    path = make_video(tmp_path / f"v{suffix}", [numbered(number) for number in range(40)], fps)
    pair = VideoPair(VideoReader(path), VideoReader(path))
    pairs = list(pair)
    assert [(frames.shown_frames, frames.dt_s) for frames in pairs] == [(1, 1.0 / pair.fps)] * 40
    assert pair.notices == []
