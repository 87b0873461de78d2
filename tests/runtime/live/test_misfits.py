"""Where frames, rig and disk do not fit, the picture of a live run goes on, and nothing old is shown."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from irvis_runtime.cameras.compose import Composer
from irvis_runtime.cameras.frames import Frame
from irvis_runtime.errors import ContractError
from irvis_runtime.fuser import Fuser
from irvis_runtime.live.loop import Live
from irvis_runtime.live.misfits import Misfits
from irvis_runtime.live.profile import Profile
from irvis_runtime.rig import load_rig

from .live_rigs import LiveRun, breakable_run, rig_text, until

LIMITS = "[limits]\nsettle_ms = 300\n"
RIG = rig_text("broken://visible", "broken://infrared", more=LIMITS)


@pytest.fixture(scope="module")
def fuser(gstreamer: ModuleType) -> Iterator[Fuser]:
    """The shipped model on one thread."""
    with Fuser(precision="fp32", threads=1) as fuser:
        yield fuser


@pytest.fixture
def run(fuser: Fuser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiveRun:
    """A run with breakable cameras whose pictures are noted."""
    return breakable_run(fuser, tmp_path, monkeypatch)


def refuse(composer: Composer, frame: Frame) -> None:
    raise ContractError("these frames are another sensor's")


def test_a_misfit_is_an_error_at_the_start_and_told_once_in_flight(
    capsys: pytest.CaptureFixture[str],
) -> None:
    misfits, one, two = Misfits(), ContractError("one"), ContractError("two")
    with pytest.raises(ContractError, match="one"):
        misfits.tell("visible", one, may_raise=True)
    for error in (one, one, two, one):
        misfits.tell("visible", error, may_raise=False)
    misfits.forget("visible")
    misfits.tell("visible", one, may_raise=False)
    told = [line.removeprefix("irvis live: ") for line in capsys.readouterr().err.splitlines()]
    assert told == ["one", "two", "one", "one"]


def test_a_visible_frame_that_cannot_be_fused_goes_alone(
    run: LiveRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with run.running(RIG):
        until(run.is_state("fusing"))
        with monkeypatch.context() as patch:
            patch.setattr(Composer, "from_visible", refuse)
            until(run.is_state("visible-only"))
            until(run.count(10))
        until(run.is_state("fusing"))
    assert capsys.readouterr().err.count("these frames are another sensor's") == 1


def test_infrared_frames_that_do_not_fit_leave_a_slate_and_no_old_picture(
    run: LiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run.running(RIG):
        until(run.is_state("fusing"))
        run.cameras["visible"].mode = "silent"
        until(run.is_state("infrared-only"))
        with monkeypatch.context() as patch:
            patch.setattr(Composer, "add_infrared", refuse)
            until(run.is_state("no-cameras"))
            frames, slates = run.live.statistics.frames, run.live.slates
            until(lambda: run.live.slates > slates + 3)
            assert run.live.statistics.frames == frames
        until(run.is_state("infrared-only"))


def test_a_slow_infrared_camera_alone_is_not_interrupted_by_slates(run: LiveRun) -> None:
    """A picture a second is its pace, whatever the visible camera's was."""
    slow = "test://?width=64&height=48&fps=1"
    with run.running(rig_text("broken://visible", slow, more="[limits]\nlost_ms = 100\n")):
        until(lambda: run.live.infrared.frames > 0 and run.live.statistics.frames > 0)
        run.cameras["visible"].mode = "silent"
        until(run.is_state("infrared-only"))
        slates, frames = run.live.slates, run.live.statistics.frames
        until(lambda: run.live.statistics.frames >= frames + 4)
        # Without a stop of seconds of this machine there is none; of the visible camera's pace there were 15.
        assert run.live.slates - slates < 5


def test_a_rig_without_a_common_view_is_not_taken(run: LiveRun, capsys: pytest.CaptureFixture[str]) -> None:
    def cropping(shift_px: int) -> str:
        homography = f"homography = [[1, 0, {shift_px}], [0, 1, 0], [0, 0, 1]]"
        return f'{RIG}[registration]\ncrop = "common"\n{homography}\n'

    with run.running(cropping(4)):
        until(run.is_state("fusing"))
        run.rig.write_text(cropping(60))
        run.reloader.request()
        until(lambda: not run.reloader.is_requested)
        until(run.count(10))
        assert run.live.state == "fusing"
        assert run.pictures[-1].luma_hw.shape == (48, 60)
        homography = run.live.rig.registration.homography
        assert homography is not None
        assert homography[0][2] == 4
    told = capsys.readouterr().err
    assert told.count("the rig was not reloaded: registration: the cameras have less than 16x16 pixels") == 1
    assert "the rig was reloaded" not in told


def test_a_profile_that_cannot_be_written_loses_nothing_else(
    fuser: Fuser, tmp_path: Path, encoder: str
) -> None:
    (tmp_path / "rig.toml").write_text(rig_text(outputs=(f"file://{tmp_path}/out.mkv",)))
    live = Live(load_rig(tmp_path / "rig.toml"), "generic", Profile(tmp_path / "rig.toml" / "cost.json"))
    stop, failures = threading.Event(), []

    def fly() -> None:
        try:
            live.run(fuser, stop, None, tmp_path / "status.json")
        except (ContractError, OSError) as error:
            failures.append(error)

    thread = threading.Thread(target=fly)
    thread.start()
    until(lambda: live.left > 5)
    stop.set()
    thread.join()
    assert len(failures) == 1
    assert (tmp_path / "out.mkv").exists()
    assert '"stopped"' in (tmp_path / "status.json").read_text()
