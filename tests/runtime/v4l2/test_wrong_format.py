"""A rig that asks a real camera for what it has not."""

from __future__ import annotations

import pytest

from .live_run import RIG, LiveRun
from .machine import Machine

pytestmark = pytest.mark.slow


def test_the_other_camera_is_the_picture_and_the_status_says_why(machine: Machine) -> None:
    with LiveRun(machine, "wrong-format", RIG.replace("VISIBLE", "mjpeg")) as run:
        status = run.goes_on("infrared-only", frames=3)
        assert "not-negotiated" in status["cameras"]["visible"]
        assert "v4l2-ctl --list-formats-ext" in status["cameras"]["visible"]
