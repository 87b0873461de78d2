"""Pictures that are made here: what ends a feed is told as the reason of its camera."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from irvis_runtime.buffers import new_buffer
from irvis_runtime.cameras.camera import Camera
from irvis_runtime.cameras.feed import APPSRC, Feed
from irvis_runtime.cameras.source import APPSINK, Source
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import Description

pytestmark = pytest.mark.usefixtures("gstreamer")


@pytest.mark.parametrize("kind", [ContractError, BackendError, OSError, TypeError])
def test_a_picture_that_cannot_be_made_is_the_reason(kind: type[Exception]) -> None:
    """Not the silence that follows."""
    made: list[int] = []

    def make(index: int) -> Any:
        if len(made) == 3:
            raise kind("the picture is gone")
        made.append(index)
        return new_buffer([np.zeros((48, 64), np.uint8)])

    caps = "video/x-raw,format=GRAY8,width=64,height=48,framerate=50/1"
    launch = f"{APPSRC} caps={caps} ! {APPSINK} sync=false"
    lines: list[str] = []
    camera = Camera(
        "visible",
        Source("test", Description(launch), feed=Feed(make, 50)),
        lambda frame: None,
        lines.append,
        restart_s=10.0,
        start_s=10.0,
    )
    camera.start(time.monotonic_ns())
    end_s = time.monotonic() + 60
    while not any("lost" in line for line in lines):
        assert time.monotonic() < end_s, camera.state
        time.sleep(0.01)
    camera.stop()
    assert "gone" in lines[-1]
