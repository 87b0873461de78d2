"""Folders of pictures and raw frames as cameras: what comes out, when, and what is refused."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.buffers import new_buffer
from irvis_runtime.cameras import file_sources
from irvis_runtime.cameras.camera import Camera
from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.sources import Role, Source, make_source
from irvis_runtime.errors import ContractError
from irvis_runtime.gstreamer import packed

pytestmark = pytest.mark.usefixtures("gstreamer")

PATIENT_S = 60.0
"""What a starved test machine is allowed."""


@dataclass(frozen=True)
class Watched:
    """A source's frames by the number of the period in which they were taken, which pictures are given by."""

    frames: dict[int, Frame]
    is_over: bool


Watch = Callable[..., Watched]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Takes frames up to the end, or until every picture of `count` was there; late ones may be left out."""
    cameras = []

    def take(uri: str, role: Role, fps: float, count: int | None = None) -> Watched:
        frames: list[Frame] = []
        camera = open_camera(role, make_source(f"{uri}fps={fps:g}", role, "generic"), frames.append)
        cameras.append(camera)
        epoch_ns = time.monotonic_ns()
        camera.start(epoch_ns)
        by_number: dict[int, Frame] = {}

        def is_enough() -> bool:
            by_number.update({round((frame.time_ns - epoch_ns) * fps / 1e9): frame for frame in frames[:]})
            return count is not None and len({number % count for number in by_number}) == count

        until(lambda: is_enough() or camera.state == "over", camera)
        camera.stop()
        is_enough()
        offsets = [frame.time_ns - epoch_ns - number * 1e9 / fps for number, frame in by_number.items()]
        assert offsets == pytest.approx([0] * len(offsets), abs=1000)
        return Watched(by_number, camera.state == "over")

    yield take
    for camera in cameras:
        camera.stop()


def open_camera(
    role: Role,
    source: Source,
    deliver: Callable[[Frame], None] = lambda frame: None,
    report: Callable[[str], None] = lambda line: None,
) -> Camera:
    return Camera(role, source, deliver, report, restart_s=PATIENT_S, start_s=PATIENT_S)


def until(condition: Callable[[], bool], camera: Camera) -> None:
    """Waits for the condition; the test fails where it does not come true."""
    end_s = time.monotonic() + PATIENT_S
    while not condition():
        assert time.monotonic() < end_s, camera.reason or camera.state
        time.sleep(0.01)


def picture(index: int, kind: str) -> NDArray[Any]:
    """A picture that tells its number, of odd width."""
    shape = (24, 33, 3) if kind == "bgr" else (24, 33)
    return np.full(
        shape,
        1000 * index + 300 if kind == "y16" else 20 * index + 40,
        np.uint16 if kind == "y16" else np.uint8,
    )


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_pictures_are_an_infrared_cameras_counts(
    tmp_path: Path, watch: Watch, suffix: str
) -> None:
    for index in (10, 9, 2):
        cv2.imwrite(str(tmp_path / f"{index}.{suffix}"), picture(index, "y16"))
    frames = watch(f"images://{tmp_path}?", "infrared", 20, 3).frames
    levels = {number % 3: int(frame.luma_hw[3, 3]) for number, frame in frames.items()}
    assert levels == {0: 2300, 1: 9300, 2: 10300}
    assert all(frame.luma_hw.dtype == np.uint16 for frame in frames.values())
    assert all(frame.luma_hw.shape == (24, 33) for frame in frames.values())


def test_colour_pictures_repeat_as_a_visible_camera(tmp_path: Path, watch: Watch) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"frame_{index:04}.png"), picture(index, "bgr"))
    # Twelve periods: every picture comes more than once.
    frames = watch(f"images://{tmp_path}?", "visible", 20, 12).frames
    assert all(frame.chroma is not None and not frame.is_full_range for frame in frames.values())
    levels = {(number % 3, int(frame.luma_hw[3, 3])) for number, frame in frames.items()}
    assert len(levels) == len({level for _, level in levels}) == 3


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_a_still_of_sixteen_bits_is_counts_for_ever(tmp_path: Path, watch: Watch, suffix: str) -> None:
    counts_hw = np.random.default_rng(1).integers(0, 65536, (25, 33)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"still.{suffix}"), counts_hw)
    watched = watch(f"file://{tmp_path}/still.{suffix}?", "infrared", 20, 3)
    assert not watched.is_over
    assert all(np.array_equal(frame.luma_hw, counts_hw) for frame in watched.frames.values())
    assert all(frame.luma_hw.dtype == np.uint16 for frame in watched.frames.values())


def test_a_still_of_eight_bits_keeps_its_levels(tmp_path: Path, watch: Watch) -> None:
    grey_hw = np.random.default_rng(1).integers(0, 256, (25, 33)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "still.png"), grey_hw)
    for frame in watch(f"file://{tmp_path}/still.png?loop=1&", "infrared", 20, 3).frames.values():
        assert np.array_equal(frame.luma_hw, grey_hw)
        assert frame.is_full_range


def test_a_coloured_still_is_a_visible_camera(tmp_path: Path, watch: Watch) -> None:
    cv2.imwrite(str(tmp_path / "still.jpg"), picture(3, "bgr"))
    frames = watch(f"file://{tmp_path}/still.jpg?", "visible", 20, 3).frames
    assert all(frame.chroma is not None and frame.luma_hw.shape == (24, 33) for frame in frames.values())


def test_a_still_that_is_too_large_to_be_kept_is_read_once(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_sources, "CACHE_BYTES", 10)
    cv2.imwrite(str(tmp_path / "still.png"), picture(1, "grey"))
    make = Mock(wraps=new_buffer)
    monkeypatch.setattr(file_sources, "new_buffer", make)
    watch(f"file://{tmp_path}/still.png?", "infrared", 20, 3)
    make.assert_called_once()


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_hidden_files_are_no_pictures(tmp_path: Path, watch: Watch, suffix: str) -> None:
    cv2.imwrite(str(tmp_path / f"1.{suffix}"), picture(1, "grey"))
    # macOS's notes beside every file on a stick, and a picture that is being written.
    (tmp_path / f"._1.{suffix}").write_bytes(b"\0\5\x16\7 not a picture")
    (tmp_path / f".2.x7.{suffix}").touch()
    (tmp_path / f"0.{suffix}").mkdir()
    watched = watch(f"images://{tmp_path}?loop=0&", "infrared", 4)
    assert watched.is_over
    assert set(watched.frames) <= {0}


@pytest.mark.parametrize("uri", ["images://{}?", "raw://{}/frames?width=33&height=24&format=gray8&"])
@pytest.mark.parametrize("count", [1, 3])
def test_pictures_that_are_not_repeated_are_over_after_the_last(
    tmp_path: Path, watch: Watch, uri: str, count: int
) -> None:
    pictures = [picture(index, "grey") for index in range(count)]
    (tmp_path / "frames").write_bytes(b"".join(packed([picture_hw]) for picture_hw in pictures))
    for index, picture_hw in enumerate(pictures):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture_hw)
    watched = watch(f"{uri.format(tmp_path)}loop=0&", "infrared", 4)
    assert watched.is_over
    levels = {number: int(frame.luma_hw[3, 3]) for number, frame in watched.frames.items()}
    assert levels.items() <= {index: 20 * index + 40 for index in range(count)}.items()


def test_a_picture_of_another_size_ends_it_with_its_name(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture(1, "grey"))
    cv2.imwrite(str(tmp_path / "2.png"), np.zeros((8, 8), np.uint8))
    lines: list[str] = []
    source = make_source(f"images://{tmp_path}?fps=20", "infrared", "generic")
    camera = open_camera("infrared", source, report=lines.append)
    camera.start(time.monotonic_ns())
    # Over where a late start began with the second picture.
    until(lambda: camera.state == "over" or any("lost" in line for line in lines), camera)
    camera.stop()
    text = "2.png: expected uint8 (24, 33) as the first picture, got uint8 (8, 8)"
    assert text in f"{lines} {camera.reason}"


@pytest.mark.parametrize(
    ("kind", "role"),
    [("nv12", "visible"), ("gray8", "visible"), ("gray8", "infrared"), ("gray16", "infrared")],
)
@pytest.mark.parametrize("size_hw", [(24, 32), (25, 33)])
def test_raw_frames_come_out_as_they_lie_in_the_file(
    tmp_path: Path, watch: Watch, kind: str, role: Role, size_hw: tuple[int, int]
) -> None:
    height, width = size_hw
    rng = np.random.default_rng(1)
    written: list[list[NDArray[Any]]] = []
    for _ in range(3):
        dtype, top = (np.uint16, 65536) if kind == "gray16" else (np.uint8, 256)
        planes: list[NDArray[Any]] = [rng.integers(0, top, size_hw).astype(dtype)]
        if kind == "nv12":
            planes.append(rng.integers(0, 256, (-(-height // 2), 2 * (-(-width // 2)))).astype(np.uint8))
        written.append(planes)
    (tmp_path / "frames").write_bytes(b"".join(packed(planes) for planes in written))
    query = f"width={width}&height={height}&format={kind}&"
    for number, frame in watch(f"raw://{tmp_path}/frames?{query}", role, 20, 3).frames.items():
        planes = written[number % 3]
        assert np.array_equal(frame.luma_hw, planes[0])
        if kind == "nv12":
            assert frame.chroma is not None
            assert np.array_equal(frame.chroma, planes[1])


@pytest.mark.parametrize(
    ("uri", "role", "text"),
    [
        ("images:///no/such/folder", "visible", "expected a folder of pictures"),
        ("images://{0}/empty", "visible", "found none"),
        ("images://{0}/counts", "visible", "expected 8 bits of a visible camera"),
        ("images://{0}/empty?fps=0", "visible", "fps: expected 0.1 to 240"),
        ("file://{0}/counts/1.png", "visible", "expected 8 bits of a visible camera"),
        ("file://{0}/empty.png", "infrared", "got an empty file"),
        ("raw:///no/such/file?width=8&height=8&format=nv12", "visible", "expected a file"),
        ("raw://{0}/file", "visible", "missing key 'width'"),
        ("raw://{0}/file?width=8&height=8&format=rgb", "visible", "format: expected one of 'nv12'"),
        ("raw://{0}/file?width=8&height=8&format=nv12", "visible", "expected whole frames of 96 bytes"),
        ("raw://{0}/file?width=8&height=8&format=gray16", "visible", "gray16 is for an infrared camera"),
        ("raw://{0}/file?width=0&height=8&format=gray8", "visible", "width: expected 1 to 8192"),
    ],
)
def test_what_cannot_be_a_camera_is_one_line(tmp_path: Path, uri: str, role: Role, text: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "counts").mkdir()
    cv2.imwrite(str(tmp_path / "counts/1.png"), picture(1, "y16"))
    (tmp_path / "file").write_bytes(bytes(100))
    (tmp_path / "empty.png").touch()
    with pytest.raises(ContractError) as caught:
        make_source(uri.format(tmp_path), role, "generic")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def cut(path: Path) -> None:
    path.write_bytes(bytes(64))


def fail(path: Path) -> None:
    """Puts unmapped memory in the place of the open file: reading gives EIO, as of a disk that fails."""
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        for link in Path("/proc/self/fd").iterdir():
            if link.is_symlink() and link.resolve() == path.resolve():
                os.dup2(memory.fileno(), int(link.name))


@pytest.mark.parametrize(("spoil", "text"), [(cut, "it has been cut"), (fail, "Input/output error")])
def test_a_raw_file_that_is_spoiled_while_it_plays_loses_the_camera(
    tmp_path: Path, spoil: Callable[[Path], None], text: str
) -> None:
    path = tmp_path / "frames"
    # What has been played is kept in memory: of minutes, most is yet to be read.
    path.write_bytes(bytes(64 * 10_000))
    lines: list[str] = []
    source = make_source(f"raw://{path}?width=8&height=8&format=gray8&fps=50", "infrared", "generic")
    camera = open_camera("infrared", source, report=lines.append)
    camera.start(time.monotonic_ns())
    until(lambda: camera.frames >= 3, camera)
    spoil(path)
    until(lambda: camera.state == "lost", camera)
    camera.stop()
    assert text in lines[1]
    assert f"{path}: frame " in lines[1]
