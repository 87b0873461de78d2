"""Cameras that end, are lost or never come, in `irvis live` with the shipped model."""

from __future__ import annotations

import gc
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

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
    assert stop_reason(pipeline, 20 * gstreamer.SECOND) == "end of stream"
    stop_pipeline(pipeline)


@pytest.mark.parametrize(("role", "state"), [("infrared", "visible-only"), ("visible", "infrared-only")])
def test_a_camera_that_ends_leaves_the_other_ones_picture(
    here: Here, gstreamer: ModuleType, capsys: pytest.CaptureFixture[str], role: str, state: str
) -> None:
    """One camera is a film of a second without loop; the picture goes on without it."""
    make_film(gstreamer, here.folder / "film.mkv", PATTERN_FPS)
    sources = {"visible": PATTERN, "infrared": PATTERN, role: "file://film.mkv"}
    with here.running(rig_text(sources["visible"], sources["infrared"])):
        until(
            lambda: (
                here.status()["cameras"][role] == "over: end of stream" and here.status()["state"] == state
            )
        )
        frames = here.status()["frames"]
        until(lambda: here.status()["frames"] > frames + 10)
        assert here.status()["state"] == state
    told = [line.removeprefix("irvis live: ") for line in capsys.readouterr().err.splitlines()]
    assert told.index("fusing") < told.index(f"{role} camera over: end of stream")
    assert told[-2:] == [state, "stopped"]


def test_two_films_end_by_themselves(here: Here, gstreamer: ModuleType) -> None:
    make_film(gstreamer, here.folder / "film.mkv", PATTERN_FPS)
    here.run(rig_text("file://film.mkv", "file://film.mkv", ("file://out.mkv",)), None)
    status = here.status()
    assert status["frames"] > 5
    assert (here.folder / "out.mkv").stat().st_size > 1000
    assert status["skew_ms"]["p50"] < 40


def test_what_is_there_at_the_start_is_no_garbage_until_the_end(here: Here) -> None:
    before = gc.get_freeze_count()
    with here.running(rig_text()):
        until(lambda: gc.get_freeze_count() > before + 1000)
    assert gc.get_freeze_count() <= before


def test_a_camera_that_is_not_there_leaves_the_other_and_is_tried_again(here: Here) -> None:
    here.run(rig_text(infrared="v4l2:///dev/no-such-video"), 1.5)
    status = here.status()
    assert status["frames"] > 5
    assert status["skew_ms"] == {"p50": None, "p99": None}
    assert status["cameras"]["infrared"].startswith("lost: ")


@pytest.mark.parametrize(
    ("visible", "infrared", "text"),
    [
        ("file://text.mkv", PATTERN, "file://text.mkv: "),
        ("v4l2:///dev/no-such-video", "v4l2:///dev/none-either", "no camera gave a frame within 1 s"),
    ],
)
def test_a_source_that_can_never_start_is_an_error(
    here: Here, visible: str, infrared: str, text: str
) -> None:
    (here.folder / "text.mkv").write_text("not a film")
    with pytest.raises(BackendError, match=text) as caught:
        here.run(rig_text(visible, infrared), 1.0)
    assert "\n" not in str(caught.value)
    assert here.status()["state"] == "stopped"
