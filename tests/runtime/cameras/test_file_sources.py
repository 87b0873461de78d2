"""Folders of pictures and raw frames as cameras: what comes out, when, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.cameras.camera import Camera
from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.sources import Role, make_source
from irvis_runtime.errors import ContractError
from irvis_runtime.gstreamer import packed

pytestmark = pytest.mark.usefixtures("gstreamer")

Watch = Callable[..., list[Frame]]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Takes some frames of a source, or all up to its end."""
    cameras = []

    def take(uri: str, role: Role, count: int | None = None) -> list[Frame]:
        frames: list[Frame] = []
        camera = Camera(role, make_source(uri, role, "generic"), frames.append, lambda line: None)
        cameras.append(camera)
        camera.start(time.monotonic_ns())
        end_s = time.monotonic() + 20
        while camera.state != "over" and (count is None or len(frames) < count):
            assert time.monotonic() < end_s, camera.reason
            time.sleep(0.01)
        camera.stop()
        return frames

    yield take
    for camera in cameras:
        camera.stop()


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
    frames = watch(f"images://{tmp_path}?fps=10&loop=0", "infrared")
    assert [int(frame.luma_hw[3, 3]) for frame in frames] == [2300, 9300, 10300]
    assert all(frame.luma_hw.dtype == np.uint16 and frame.luma_hw.shape == (24, 33) for frame in frames)
    assert np.diff([frame.time_ns for frame in frames]) == pytest.approx(1e8, abs=2)


def test_colour_pictures_repeat_as_a_visible_camera(tmp_path: Path, watch: Watch) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"frame_{index:04}.png"), picture(index, "bgr"))
    frames = watch(f"images://{tmp_path}?fps=20", "visible", 7)
    assert all(frame.chroma is not None and not frame.is_full_range for frame in frames)
    levels = [int(frame.luma_hw[3, 3]) for frame in frames]
    assert len(set(levels)) == 3
    assert levels[:4] == levels[3:7]


def test_a_picture_of_another_size_ends_it_with_its_name(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture(1, "grey"))
    cv2.imwrite(str(tmp_path / "2.png"), np.zeros((8, 8), np.uint8))
    lines: list[str] = []
    source = make_source(f"images://{tmp_path}?fps=20", "infrared", "generic")
    camera = Camera("infrared", source, lambda frame: None, lines.append)
    camera.start(time.monotonic_ns())
    end_s = time.monotonic() + 20
    while camera.state != "lost" and time.monotonic() < end_s:
        time.sleep(0.01)
    camera.stop()
    assert "2.png: expected uint8 (24, 33) as the first picture, got uint8 (8, 8)" in lines[-1]


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
    query = f"width={width}&height={height}&format={kind}&fps=10&loop=0"
    frames = watch(f"raw://{tmp_path}/frames?{query}", role)
    assert len(frames) == 3
    for frame, planes in zip(frames, written, strict=True):
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
    with pytest.raises(ContractError) as caught:
        make_source(uri.format(tmp_path), role, "generic")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_raw_file_that_is_cut_while_it_plays_loses_the_camera(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    path.write_bytes(bytes(64 * 50))
    lines: list[str] = []
    source = make_source(f"raw://{path}?width=8&height=8&format=gray8&fps=50", "infrared", "generic")
    camera = Camera("infrared", source, lambda frame: None, lines.append)
    camera.start(time.monotonic_ns())
    end_s = time.monotonic() + 20
    while camera.frames < 3 and time.monotonic() < end_s:
        time.sleep(0.01)
    path.write_bytes(bytes(64))
    while camera.state != "lost" and time.monotonic() < end_s:
        time.sleep(0.01)
    camera.stop()
    assert "it has been cut" in lines[-1]
