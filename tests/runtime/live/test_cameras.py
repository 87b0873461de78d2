"""Cameras that end, are lost or never come, in `irvis live` with the shipped model."""

from __future__ import annotations

import gc
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from irvis_runtime.cameras.camera import Camera
from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.inbox import Inbox
from irvis_runtime.errors import BackendError
from irvis_runtime.fuser import Fuser
from irvis_runtime.gstreamer import (
    Description,
    build_pipeline,
    start_pipeline,
    stop_pipeline,
    stop_reason,
)
from irvis_runtime.live.loop import Live
from irvis_runtime.rig import load_rig
from irvis_runtime.sinks.encoders import choose_encoder

from .live_rigs import PATTERN, PATTERN_FPS, rig_text, until

pytestmark = pytest.mark.usefixtures("encoder")

FILM_S = (1, 5, 25)
"""Lengths of a film to try, each where the shorter one was over before a busy machine had looked at it."""

PATIENCE = "[limits]\nlost_ms = 10000\nrestart_ms = 60000\n"
"""A camera that a busy machine lets pause for seconds is no absent one."""


class Here:
    """Runs rigs inside of this process, which saves the seconds that a process takes to start."""

    def __init__(self, fuser: Fuser, folder: Path) -> None:
        self.fuser, self.folder = fuser, folder

    def status(self) -> dict[str, Any]:
        """The newest status file."""
        status: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        return status

    def run(self, text: str, seconds: float | None, stop: threading.Event | None = None) -> None:
        """Runs a rig to its end."""
        (self.folder / "rig.toml").write_text(text)
        live = Live(load_rig(self.folder / "rig.toml"), "generic")
        live.run(self.fuser, stop or threading.Event(), seconds, self.folder / "status.json")

    @contextmanager
    def running(self, text: str) -> Iterator[None]:
        """Runs a rig in a thread while the block does, from its first status on."""
        stop = threading.Event()
        thread = threading.Thread(target=self.run, args=(text, None, stop))
        thread.start()
        try:
            until((self.folder / "status.json").exists)
            yield
        finally:
            stop.set()
            thread.join()


@pytest.fixture(scope="module")
def fuser() -> Iterator[Fuser]:
    """The shipped model on one thread."""
    with Fuser(precision="fp32", threads=1) as fuser:
        yield fuser


@pytest.fixture
def here(fuser: Fuser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """Runs rigs in a folder of its own, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return Here(fuser, tmp_path)


def make_film(gstreamer: ModuleType, path: Path, frames: int) -> None:
    """A short H.264 film."""
    caps = f"video/x-raw,format=NV12,width=160,height=120,framerate={PATTERN_FPS}/1"
    encoder = choose_encoder("generic", 1000, (120, 160))
    tail = f"{encoder} ! h264parse ! matroskamux ! filesink name=file"
    launch = f"videotestsrc num-buffers={frames} pattern=smpte ! {caps} ! {tail}"
    pipeline = build_pipeline(Description(launch, {"file": {"location": str(path)}}))
    start_pipeline(pipeline, time.monotonic_ns())
    assert stop_reason(pipeline, 120 * gstreamer.SECOND) == "end of stream"
    stop_pipeline(pipeline)


@pytest.mark.parametrize(("role", "state"), [("infrared", "visible-only"), ("visible", "infrared-only")])
def test_a_camera_that_ends_leaves_the_other_ones_picture(
    here: Here, gstreamer: ModuleType, capsys: pytest.CaptureFixture[str], role: str, state: str
) -> None:
    """One camera is a film without loop; the picture goes on without it."""
    sources = {"visible": PATTERN, "infrared": PATTERN, role: "file://film.mkv"}
    over = f"{role} camera over: end of stream"

    def goes_on(more: int) -> Callable[[], bool]:
        frames = here.status()["frames"]

        def does() -> bool:
            status = here.status()
            is_over = status["cameras"][role] == "over: end of stream"
            return bool(is_over and status["state"] == state and status["frames"] > frames + more)

        return does

    for film_s in FILM_S:
        make_film(gstreamer, here.folder / "film.mkv", film_s * PATTERN_FPS)
        with here.running(rig_text(sources["visible"], sources["infrared"], more=PATIENCE)):
            until(goes_on(0))
            until(goes_on(10))
        told = [line.removeprefix("irvis live: ") for line in capsys.readouterr().err.splitlines()]
        if "fusing" in told[: told.index(over)]:
            break
    assert "fusing" in told[: told.index(over)]
    assert told[-2:] == [state, "stopped"]


def test_two_films_end_by_themselves(here: Here, gstreamer: ModuleType) -> None:
    rig = rig_text("file://film.mkv", "file://film.mkv", ("file://out.mkv",), "overwrite = true\n")
    for film_s in FILM_S:
        make_film(gstreamer, here.folder / "film.mkv", film_s * PATTERN_FPS)
        here.run(rig, None)
        status = here.status()
        skew_ms = status["skew_ms"]["p50"]
        if status["frames"] > 5 and skew_ms is not None and skew_ms < 40:
            break
    assert status["state"] == "stopped"
    assert status["frames"] > 5
    assert (here.folder / "out.mkv").stat().st_size > 1000
    assert skew_ms < 40


def test_a_visible_camera_that_is_ahead_is_paired_in_step(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every infrared frame is handed over a little later than the visible one of its time."""
    put = Inbox.put_infrared

    def put_late(inbox: Inbox, frame: Frame) -> None:
        time.sleep(0.03)
        put(inbox, frame)

    monkeypatch.setattr(Inbox, "put_infrared", put_late)
    scene = "test://?width=64&height=48&fps=10"
    with here.running(rig_text(scene, scene, more="[limits]\nwait_ms = 500\n")):
        until(lambda: here.status()["frames"] >= 10 and here.status()["skew_ms"]["p50"] == 0)


def test_what_is_there_at_the_start_is_no_garbage_until_the_end(here: Here) -> None:
    before = gc.get_freeze_count()
    with here.running(rig_text()):
        until(lambda: gc.get_freeze_count() > before + 1000)
    assert gc.get_freeze_count() <= before


def test_a_camera_that_is_not_there_leaves_the_other_and_is_tried_again(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    openings: list[str] = []
    play = Camera._play

    def noted(camera: Camera) -> str:
        openings.append(camera.role)
        return play(camera)

    monkeypatch.setattr(Camera, "_play", noted)
    with here.running(rig_text(infrared="v4l2:///dev/no-such-video")):
        until(lambda: here.status()["frames"] > 5 and openings.count("infrared") > 1)
    status = here.status()
    assert status["skew_ms"] == {"p50": None, "p99": None}
    assert status["cameras"]["infrared"].startswith("lost: ")


@pytest.mark.parametrize(
    ("visible", "infrared", "seconds", "text"),
    [
        # It ends long before.
        ("file://text.mkv", PATTERN, 120.0, "file://text.mkv: "),
        ("v4l2:///dev/no-such-video", "v4l2:///dev/none-either", 1.0, r"no camera gave a frame within \d+ s"),
    ],
)
def test_a_source_that_can_never_start_is_an_error(
    here: Here, visible: str, infrared: str, seconds: float, text: str
) -> None:
    (here.folder / "text.mkv").write_text("not a film")
    with pytest.raises(BackendError, match=text) as caught:
        here.run(rig_text(visible, infrared), seconds)
    assert "\n" not in str(caught.value)
    assert here.status()["state"] == "stopped"
