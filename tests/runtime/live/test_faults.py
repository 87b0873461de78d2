"""The fault table: each camera killed, frozen, black, slow, changed, flapping; the picture never stops.

Each row breaks a camera of a running rig, waits until the state says so, sees pictures go out while the
fault lasts, mends it, and sees fusion come back. LONGEST_GAP_S is what a starved test machine is allowed; the
stated time is `limits.lost_ms`, half a second, which takes a free machine.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from irvis_runtime.fuser import Fuser
from irvis_runtime.sinks.branch import Branch

from .live_rigs import LiveRun, Sender, breakable_run, until

LONGEST_GAP_S = 20.0

RIG = """
[visible]
source = "{visible}"
[infrared]
source = "{infrared}"
[limits]
hold_ms = 600
restart_ms = 700
settle_ms = 300
frozen_ms = 800
black_ms = 800
[[output]]
sink = "null://"
"""
BREAKABLE = RIG.format(visible="broken://visible", infrared="broken://infrared")


@pytest.fixture(scope="module")
def fuser(gstreamer: ModuleType) -> Iterator[Fuser]:
    """The shipped model on one thread."""
    with Fuser(precision="fp32", threads=1) as fuser:
        yield fuser


@pytest.fixture
def run(
    fuser: Fuser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> Iterator[LiveRun]:
    """A run with breakable cameras whose pictures are noted, and the longest time between two of them."""
    run = breakable_run(fuser, tmp_path, monkeypatch)
    yield run
    record_property("longest_gap_s", round(run.largest_gap_s(), 2))


def is_lost_for(told: str, reason: str) -> bool:
    return told.startswith("lost: ") and reason in told


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("silent", "the cable is out"),
        ("frozen", "frozen: one picture for 0.8 s"),
        ("black", "black for 0.8 s"),
        ("slow", "no frame for 0.7 s"),
    ],
)
@pytest.mark.parametrize(("role", "state"), [("visible", "infrared-only"), ("infrared", "visible-only")])
def test_a_camera_that_fails_leaves_the_others_picture_and_comes_back(
    run: LiveRun, role: str, state: str, mode: str, reason: str
) -> None:
    with run.running(BREAKABLE):
        until(run.is_state("fusing"))
        until(run.count(5))
        run.cameras[role].mode = mode
        until(run.is_state(state))
        until(run.count(20))
        # A slow camera runs again and is lost again.
        until(lambda: is_lost_for(run.status()["cameras"][role], reason))
        run.cameras[role].mode = "well"
        until(run.is_state("fusing"))
        until(run.count(5))
    assert run.largest_gap_s() < LONGEST_GAP_S


def test_without_any_camera_a_slate_goes_out_and_fusion_comes_back(run: LiveRun) -> None:
    with run.running(BREAKABLE):
        until(run.is_state("fusing"))
        until(run.count(5))
        for camera in run.cameras.values():
            camera.mode = "silent"
        until(run.is_state("no-cameras"))
        until(lambda: run.live.slates >= 3)
        one, two = run.pictures[-2:]
        assert one.luma_hw.shape == run.pictures[0].luma_hw.shape
        assert one.colorimetry == run.pictures[0].colorimetry
        assert one.time_ns < two.time_ns
        # The number moves, the rest stands: a viewer sees that the stream lives.
        assert not np.array_equal(one.luma_hw, two.luma_hw)
        until(lambda: run.status()["slates"] >= 3)
        for camera in run.cameras.values():
            camera.mode = "well"
        until(run.is_state("fusing"))
    assert run.largest_gap_s() < LONGEST_GAP_S


def test_a_silent_infrared_camera_is_held_first(run: LiveRun, capsys: pytest.CaptureFixture[str]) -> None:
    # The visible camera may pause for longer than usual: that is another row.
    text = BREAKABLE.replace("hold_ms = 600", "hold_ms = 4000\nlost_ms = 20000")
    with run.running(text):
        until(run.is_state("fusing"))
        run.cameras["infrared"].mode = "silent"
        until(run.is_state("holding"))
        until(run.is_state("visible-only"))
    told = capsys.readouterr().err.splitlines()
    states = [line.removeprefix("irvis live: ") for line in told if "camera" not in line]
    assert "fusing" in states[:-3]
    assert states[-3:] == ["holding", "visible-only", "stopped"]


def test_a_camera_that_comes_and_goes_does_not_make_the_picture_flicker(run: LiveRun) -> None:
    """Bursts that are shorter than settle_ms do not bring the fused picture back."""
    with run.running(BREAKABLE):
        until(run.is_state("fusing"))
        run.rig.write_text(BREAKABLE.replace("settle_ms = 300", "settle_ms = 600000"))
        run.reloader.request()
        until(lambda: run.live.rig.limits.settle_ms == 600000)
        # The visible camera may pause on a busy machine, and come back.
        run.live._presence["visible"].settle_s = 0.3
        run.cameras["infrared"].mode = "silent"
        until(run.is_state("visible-only"))
        frames = run.live.infrared.frames
        run.cameras["infrared"].mode = "well"
        until(lambda: run.live.infrared.frames > frames + 20)
        until(run.count(10))
        until(run.is_state("visible-only"))


def test_two_patient_cameras_are_fused_without_slates(run: LiveRun) -> None:
    """A picture a second is no absence, though lost_ms is half of that.

    Scenes, which run in step: of two patterns each has a clock of its own.
    """
    slow = "test://?width=64&height=48&fps=1"
    text = RIG.format(visible=slow, infrared=slow).replace("restart_ms = 700", "restart_ms = 5000")
    with run.running(text.replace("hold_ms = 600", "hold_ms = 2500\nwait_ms = 400")):
        until(run.is_state("fusing"))
        mark = [run.live.statistics.frames, run.live.slates]

        def are_four_in_a_row() -> bool:
            """A machine that pauses may cost a slate; where patience is short one comes every second."""
            frames, slates = run.live.statistics.frames, run.live.slates
            if slates != mark[1] or run.live.state not in ("fusing", "holding"):
                mark[:] = frames, slates
            return frames >= mark[0] + 4

        until(are_four_in_a_row)


@pytest.fixture
def sender(encoder: str) -> Iterator[Sender]:
    """A sender that is killed after the test."""
    sender = Sender()
    yield sender
    sender.kill()


@pytest.mark.slow
def test_a_network_camera_that_is_stopped_killed_and_replaced_by_another_size(
    run: LiveRun, sender: Sender, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGSTOP leaves the socket open; the camera that replaces it has another format."""
    with run.running(RIG.format(visible=f"udp://127.0.0.1:{sender.port}", infrared="broken://infrared")):
        sender.start(96, 64)
        until(run.is_state("fusing"))
        until(run.count(5))
        sender.send(signal.SIGSTOP)
        until(run.is_state("infrared-only"))
        until(run.count(20))
        sender.send(signal.SIGCONT)
        until(run.is_state("fusing"))
        sender.kill()
        until(run.is_state("infrared-only"))
        until(run.count(20))
        sender.start(64, 48)
        until(run.is_state("fusing"))
        until(lambda: run.pictures[-1].luma_hw.shape == (48, 64))
    assert run.largest_gap_s() < LONGEST_GAP_S
    assert "visible camera changed from 96x64 NV12 to 64x48 NV12" in capsys.readouterr().err


def test_the_corner_shows_the_state_and_counts_pictures(run: LiveRun) -> None:
    with run.running(f"{BREAKABLE}\n[picture]\ncorner = true\n"):
        until(run.is_state("fusing"))
        until(run.count(5))
        run.cameras["infrared"].mode = "silent"
        until(run.is_state("visible-only"))
        until(run.count(5))
    corners = [picture.luma_hw[:10, :40] for picture in run.pictures[-2:]]
    assert corners[0].min() == 16
    assert corners[0].max() > 150


def test_a_rig_is_read_again_while_the_picture_goes_on(
    run: LiveRun, capsys: pytest.CaptureFixture[str]
) -> None:
    homography = "[registration]\nhomography = [[1, 0, 3], [0, 1, 2], [0, 0, 1]]\n"
    with run.running(BREAKABLE):
        until(run.is_state("fusing"))
        run.rig.write_text(BREAKABLE.replace("hold_ms = 600", "hold_ms = 700") + homography)
        run.reloader.request()
        until(lambda: run.live.rig.limits.hold_ms == 700)
        assert run.live.rig.registration.homography is not None
        until(run.count(5))
        shown = BREAKABLE.replace('sink = "null://"', 'sink = "null://"\nview = "visible"')
        run.rig.write_text(shown)
        run.reloader.request()
        until(lambda: run.live.branches[0].view == "visible")
        run.rig.write_text("[visible\n")
        run.reloader.request()
        until(lambda: not run.reloader.is_requested)
        until(run.count(5))
        run.rig.write_text(BREAKABLE.replace("null://", "rtp://127.0.0.1:5999").replace("600", "800"))
        run.reloader.request()
        until(lambda: run.live.rig.limits.hold_ms == 800)
        assert run.live.rig.output[0].sink == "null://"
        until(run.count(5))
        until(run.is_state("fusing"))
    told = capsys.readouterr().err
    assert told.count("the rig was reloaded\n") == 3
    assert told.count("the rig was not reloaded: ") == 1
    assert "not changed while running: output; restart to use them" in told
    assert run.largest_gap_s() < LONGEST_GAP_S


def test_nothing_is_left_running_after_a_run(run: LiveRun) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with run.running(BREAKABLE):
        until(run.is_state("fusing"))
    # An outlet may be closed for longer than its output waits for that.
    until(lambda: {thread.name for thread in threading.enumerate()} <= before)


def test_what_has_left_is_what_the_outputs_sent(run: LiveRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog's count stands still where pictures are made and an open output sends none."""
    with run.running(BREAKABLE):
        until(run.is_state("fusing"))
        until(lambda: run.live.left > 3)
        monkeypatch.setattr(Branch, "push", lambda branch, picture: run.push(branch, picture))

        def stands_still() -> bool:
            """From when the pictures that waited have left."""
            left = run.live.left
            until(run.count(10))
            return run.live.left == left

        until(stands_still)
        branch = run.live.branches[0]

        def made() -> int:
            return run.live.statistics.frames + run.live.slates

        def is_what_was_made() -> bool:
            """The output's own thread takes a reason back at its next look."""
            branch.reason = "no room on the disk"
            least = made()
            return least <= run.live.left <= made()

        until(is_what_was_made)
        branch.reason = ""
