from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.errors import ContractError
from irvis_runtime.video import (
    CODECS,
    VideoReader,
    checked_video_suffix,
    even_size,
    writing_video,
)

Frame = NDArray[Any]


def numbered(number: int, height: int = 48, width: int = 64) -> Frame:
    """A frame whose brightness tells its number, with texture around."""
    rng = np.random.default_rng(number)
    frame = rng.integers(0, 256, (height, width, 3), np.uint8)
    frame[8:-8, 8:-8] = number
    return frame


def make_video(path: Path, frames: Sequence[Frame], fps: float = 25.0) -> Path:
    with writing_video(path, fps, frames[0].shape[:2]) as sink:
        for frame in frames:
            sink.write(frame)
    return path


@pytest.mark.parametrize("suffix", CODECS)
def test_what_is_written_comes_back(tmp_path: Path, suffix: str) -> None:
    frames = [numbered(number) for number in range(5)]
    reader = VideoReader(make_video(tmp_path / f"video{suffix}", frames, fps=12.5))
    assert (reader.fps, reader.size_hw, reader.announced_frames) == (12.5, (48, 64), 5)
    for frame in frames:
        read = reader.read()
        assert read is not None
        assert np.abs(read[16:-16, 16:-16].astype(int) - frame[16:-16, 16:-16]).max() <= 4
        if suffix == ".mkv":
            np.testing.assert_array_equal(read, frame)
    assert reader.read() is None
    assert not reader.is_cut
    assert [path.name for path in tmp_path.iterdir()] == [f"video{suffix}"]


def test_grey_frames_are_written(tmp_path: Path) -> None:
    reader = VideoReader(make_video(tmp_path / "v.mkv", [numbered(9)[..., 0]]))
    read = reader.read()
    assert read is not None
    np.testing.assert_array_equal(read, np.dstack([numbered(9)[..., 0]] * 3))


@pytest.mark.parametrize("suffix", CODECS)
def test_odd_sizes_lose_the_last_row_and_column(tmp_path: Path, suffix: str) -> None:
    assert even_size((49, 65)) == (48, 64)
    reader = VideoReader(make_video(tmp_path / f"v{suffix}", [numbered(3, 49, 65)] * 2))
    assert reader.size_hw == (48, 64)


def cut_in_half(path: Path) -> None:
    content = make_video(path, [numbered(0)] * 3).read_bytes()
    path.write_bytes(content[: len(content) // 2])


BAD_VIDEOS: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no video"),
    "folder": lambda path: path.mkdir(),
    "cut mp4": cut_in_half,
    "picture": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99)),
}


@pytest.mark.parametrize("kind", BAD_VIDEOS)
def test_no_video_says_so_in_one_line(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "video.mp4"
    BAD_VIDEOS[kind](path)
    with pytest.raises(ContractError) as caught:
        VideoReader(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", ""), "FFmpeg adds no lines of its own"


def fail_half_way(path: Path) -> None:
    with writing_video(path, 25.0, (48, 64)) as sink:
        sink.write(numbered(0))
        raise RuntimeError("half way")


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way(tmp_path / "v.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_old_video(tmp_path: Path) -> None:
    old = make_video(tmp_path / "v.mkv", [numbered(1)]).read_bytes()
    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way(tmp_path / "v.mkv")
    assert [path.name for path in tmp_path.iterdir()] == ["v.mkv"]
    assert (tmp_path / "v.mkv").read_bytes() == old


FULL_DISK = """
import sys
from pathlib import Path
import numpy as np
from irvis_runtime.errors import ContractError
from irvis_runtime.video import writing_video
noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
try:
    with writing_video(Path(sys.argv[1]), 25.0, (48, 64)) as sink:
        for _ in range(40):
            sink.write(noise)
except ContractError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.parametrize("suffix", CODECS)
def test_a_full_disk_is_noticed(tmp_path: Path, suffix: str) -> None:
    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / f"v{suffix}")],
        preexec_fn=limit_file_size,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.startswith("refused: cannot write")
    assert "free some space" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_only_known_suffixes_are_written() -> None:
    assert checked_video_suffix(Path("a.MP4")) == ".mp4"
    with pytest.raises(ContractError, match=r"one of \.mp4, \.avi, \.mkv"):
        checked_video_suffix(Path("a.webm"))
