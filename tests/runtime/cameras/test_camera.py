"""A camera's thread with real pipelines: frames, their rate and times, ends, losses and returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from irvis_runtime.buffers import new_buffer
from irvis_runtime.cameras.camera import REVIVE_AFTER, Camera
from irvis_runtime.cameras.feed import APPSRC, Feed
from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.health import HealthLimits
from irvis_runtime.cameras.sources import APPSINK, OnEnd, Source, make_source
from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import Description

pytestmark = pytest.mark.usefixtures("gstreamer")

Open = Callable[..., tuple[Camera, list[Frame], list[str]]]
PATIENT_S = 60.0
"""What a starved test machine is allowed; a camera that is lost for its load would fail other tests."""


@pytest.fixture
def open_camera(gstreamer: ModuleType) -> Iterator[Open]:
    """Starts cameras that are stopped after the test."""
    cameras = []

    def start(
        source: Source, start_s: float = PATIENT_S, health: HealthLimits | None = None
    ) -> tuple[Camera, list[Frame], list[str]]:
        frames: list[Frame] = []
        lines: list[str] = []
        camera = Camera(
            "visible",
            source,
            frames.append,
            lines.append,
            restart_s=PATIENT_S,
            start_s=start_s,
            health=health,
        )
        cameras.append(camera)
        camera.start(time.monotonic_ns())
        return camera, frames, lines

    yield start
    for camera in cameras:
        camera.stop()


def until(condition: Callable[[], bool], seconds: float = PATIENT_S) -> None:
    """Waits for the condition; the test fails where it does not come true."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.01)


def pattern(count: int, on_end: OnEnd) -> Source:
    """A pattern of so many frames, -1: for ever, of which none is dropped however late they are taken."""
    caps = "video/x-raw,format=NV12,width=64,height=48,framerate=50/1"
    keeping = APPSINK.replace("drop=true", "drop=false")
    launch = f"videotestsrc is-live=true num-buffers={count} ! {caps} ! {keeping} sync=false"
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
        Camera(
            role,
            make_source(uri, role, "generic"),
            seen[role].append,
            lambda line: None,
            restart_s=PATIENT_S,
            start_s=PATIENT_S,
        )
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
    camera, frames, lines = open_camera(Source("test", Description(launch)), start_s=1.0)
    until(lambda: camera.state == "lost")
    assert not frames
    assert lines == ["visible camera lost: no frame for 1 s; trying again in 0.5 s"]


def test_the_bus_of_a_camera_whose_frames_never_pause_is_read(
    open_camera: Open, gstreamer: ModuleType
) -> None:
    """A stream of H.264 posts its tags every second, and an error may come among its frames."""
    opened: list[Any] = []
    _, frames, lines = open_camera(replace(pattern(-1, "retry"), prepare=opened.append))
    until(lambda: len(frames) > 0)
    pipeline, bus = opened[0], opened[0].get_bus()
    bus.post(gstreamer.Message.new_application(pipeline, gstreamer.Structure.new_empty("a-tag")))
    until(lambda: not bus.have_pending())
    before = len(frames)
    until(lambda: len(frames) > before + 10)
    assert lines == ["visible camera running"]
    glib = import_module("gi.repository.GLib")
    error = glib.Error.new_literal(
        gstreamer.ResourceError.quark(), "the lens is off", gstreamer.ResourceError.READ
    )
    bus.post(gstreamer.Message.new_error(pipeline, error, ""))
    until(lambda: len(lines) > 1)
    assert lines[1] == "visible camera lost: the lens is off; trying again in 0.5 s"


class CappedCamera:
    """A camera whose exposure settles in its first pictures; with the cap on all of them are black."""

    def __init__(self) -> None:
        self.is_capped = False
        self.openings = 0
        self.revivals = 0
        self._dark = 0
        self._random = np.random.default_rng(0)
        caps = "video/x-raw,format=GRAY8,width=64,height=48,framerate=50/1"
        self.source = Source(
            "test",
            Description(f"{APPSRC} caps={caps} ! {APPSINK} sync=false"),
            feed=Feed(self._buffer, 50),
            prepare=self._open,
            revive=self._revive,
        )

    def _open(self, pipeline: object) -> None:
        self.openings, self._dark = self.openings + 1, 3

    def _revive(self, report: object) -> None:
        self.revivals += 1

    def _buffer(self, index: int) -> Any:
        is_dark, self._dark = self.is_capped or self._dark > 0, self._dark - 1
        low, high = (0, 4) if is_dark else (40, 200)
        return new_buffer([self._random.integers(low, high, (48, 64)).astype(np.uint8)])


def test_a_camera_with_its_cap_on_is_out_until_it_is_taken_off(open_camera: Open) -> None:
    """It is opened again and again, shows nothing meanwhile, and is no camera that does not open."""
    capped = CappedCamera()
    camera, frames, lines = open_camera(capped.source, health=HealthLimits(black_ms=400))
    until(lambda: len(frames) >= 10)
    capped.is_capped = True
    until(lambda: camera.state == "lost")
    delivered, openings = len(frames), capped.openings
    until(lambda: capped.openings > openings + REVIVE_AFTER)
    assert len(frames) == delivered
    assert lines == [
        "visible camera running",
        "visible camera lost: black for 0.4 s; trying again in 0.5 s",
    ]
    assert capped.revivals == 0
    capped.is_capped = False
    until(lambda: len(frames) >= delivered + 10)
    assert lines[2:] == ["visible camera running"]


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
