"""A camera's thread with real pipelines: frames, their rate and times, ends, losses and returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest

from irvis_runtime.cameras.camera import Camera
from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.sources import APPSINK, OnEnd, Source, make_source
from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import Description

pytestmark = pytest.mark.usefixtures("gstreamer")

Open = Callable[[Source], tuple[Camera, list[Frame], list[str]]]


@pytest.fixture
def open_camera(gstreamer: ModuleType) -> Iterator[Open]:
    """Starts cameras that are stopped after the test."""
    cameras = []

    def start(source: Source) -> tuple[Camera, list[Frame], list[str]]:
        frames: list[Frame] = []
        lines: list[str] = []
        camera = Camera("visible", source, frames.append, lines.append, restart_s=0.5, start_s=1.0)
        cameras.append(camera)
        camera.start(time.monotonic_ns())
        return camera, frames, lines

    yield start
    for camera in cameras:
        camera.stop()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits for the condition; the test fails where it does not come true."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.01)


def pattern(count: int, on_end: OnEnd) -> Source:
    caps = "video/x-raw,format=NV12,width=64,height=48,framerate=50/1"
    launch = f"videotestsrc is-live=true num-buffers={count} ! {caps} ! {APPSINK} sync=false"
    return Source("test", Description(launch), on_end=on_end)


def test_frames_come_with_the_clocks_times(open_camera: Open) -> None:
    started_ns = time.monotonic_ns()
    camera, frames, lines = open_camera(
        make_source("test://?pattern=ball&width=64&height=48", "visible", "generic")
    )
    until(lambda: len(frames) >= 10)
    camera.stop()
    times_ns = np.array([frame.time_ns for frame in frames])
    assert started_ns < times_ns[0]
    assert times_ns[-1] <= time.monotonic_ns()
    steps_ms = np.diff(times_ns) / 1e6
    assert np.round(steps_ms / (1000 / 30)) * (1000 / 30) == pytest.approx(steps_ms, abs=1.0)
    assert lines[0] == "visible camera running"


@pytest.mark.parametrize("query", ["", "&format=y16"])
def test_a_scene_is_delivered_as_its_camera_would(open_camera: Open, query: str) -> None:
    source = make_source(f"test://?width=65&height=48&fps=10{query}", "infrared", "generic")
    _, frames, _ = open_camera(source)
    until(lambda: len(frames) >= 2)
    assert frames[0].luma_hw.shape == (48, 65)
    assert frames[0].luma_hw.dtype == (np.uint16 if query else np.uint8)
    assert frames[0].luma_hw.std() > 0


def test_two_cameras_of_one_scene_see_it_at_the_same_times(open_camera: Open) -> None:
    uri = "test://?width=64&height=48&fps=10&seed=3"
    epoch_ns = time.monotonic_ns()
    seen: dict[str, list[Frame]] = {"visible": [], "infrared": []}
    cameras = [
        Camera(role, make_source(uri, role, "generic"), seen[role].append, lambda line: None)
        for role in ("visible", "infrared")
    ]
    for camera in cameras:
        camera.start(epoch_ns)
    until(lambda: all(len(frames) >= 3 for frames in seen.values()))
    for camera in cameras:
        camera.stop()
    offsets_ms = [(frame.time_ns - epoch_ns) / 1e6 % 100 for frames in seen.values() for frame in frames]
    assert max(min(offset, 100 - offset) for offset in offsets_ms) < 0.01
    assert seen["visible"][0].chroma is not None


def test_an_end_that_finishes_is_over(open_camera: Open) -> None:
    camera, frames, lines = open_camera(pattern(5, "finish"))
    until(lambda: camera.state == "over")
    assert len(frames) == 5
    assert lines == ["visible camera running", "visible camera over: end of stream"]
    assert not camera.is_hopeless


def test_a_lost_camera_comes_back(open_camera: Open) -> None:
    camera, frames, lines = open_camera(pattern(5, "retry"))
    until(lambda: camera.frames >= 12)
    assert lines[:3] == [
        "visible camera running",
        "visible camera lost: end of stream; trying again in 0.5 s",
        "visible camera running",
    ]
    gaps_s = np.diff([frame.time_ns for frame in frames]) / 1e9
    assert gaps_s.max() >= 0.5


def test_a_repeated_end_goes_on_without_being_lost(open_camera: Open) -> None:
    camera, _, lines = open_camera(pattern(5, "repeat"))
    until(lambda: camera.frames >= 14)
    assert lines == ["visible camera running"]


def test_a_silent_camera_is_lost(open_camera: Open) -> None:
    caps = "video/x-raw,format=NV12,width=64,height=48,framerate=50/1"
    launch = f"videotestsrc is-live=true ! {caps} ! identity drop-probability=1.0 ! {APPSINK} sync=false"
    camera, frames, lines = open_camera(Source("test", Description(launch)))
    until(lambda: camera.state == "lost")
    assert not frames
    assert lines == ["visible camera lost: no frame for 1 s; trying again in 0.5 s"]


def test_a_device_that_is_not_there_is_tried_again(open_camera: Open) -> None:
    camera, _, lines = open_camera(make_source("v4l2:///dev/no-such-video", "visible", "generic"))
    until(lambda: camera.state == "lost")
    assert "no-such-video" in lines[0]
    assert lines[0].endswith("trying again in 0.5 s")
    assert not camera.is_hopeless


def test_a_file_that_is_no_film_is_hopeless(
    open_camera: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    film = tmp_path_factory.mktemp("film") / "film.mkv"
    film.write_text("not a film")
    camera, _, _ = open_camera(make_source(f"file://{film}", "visible", "generic"))
    until(lambda: camera.is_hopeless)
    assert camera.reason


def test_a_missing_element_is_found_before_the_start() -> None:
    with pytest.raises(BackendError, match="nosuchelement"):
        Camera("visible", Source("test", Description("nosuchelement ! appsink name=frames")), print, print)
