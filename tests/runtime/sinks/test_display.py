"""A display: X in memory, looked at from outside; and none."""

from __future__ import annotations

import os
import shutil
from typing import Any

import numpy as np
import pytest

from irvis_runtime.errors import BackendError
from irvis_runtime.rig import OutputConfig
from irvis_runtime.sinks.branch import Branch
from irvis_runtime.sinks.destinations import make_sink
from irvis_runtime.sinks.display import display_launches


@pytest.fixture
def screen(run: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """An X server that draws into memory."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    reading, writing = os.pipe()
    run(
        "Xvfb",
        "-displayfd",
        str(writing),
        "-screen",
        "0",
        "160x120x24",
        "-nolisten",
        "tcp",
        # Else it starts anew when its last client goes, and refuses the next one for a moment.
        "-noreset",
        pass_fds=(writing,),
    )
    os.close(writing)
    with os.fdopen(reading) as told:
        name = f":{told.readline().strip()}"
    monkeypatch.setenv("DISPLAY", name)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return name


def test_the_picture_is_on_the_screen(
    screen: str, gstreamer: Any, outputs: Any, reader: Any, until: Any
) -> None:
    if gstreamer.ElementFactory.find("ximagesrc") is None:
        pytest.skip("ximagesrc is not installed")
    branch = outputs.open("display://")
    outputs.feed()
    until(lambda: branch.sent > 10)

    def is_shown() -> bool:
        luma_hw = reader.lumas(f"ximagesrc display-name={screen} num-buffers=1", 1)[0]
        return bool(np.abs(luma_hw[70:110].astype(int) - 130).max() < 8 and luma_hw[10:50].std() > 40)

    until(is_shown)
    assert outputs.lines == []


def test_without_a_display_the_error_says_so_at_the_start(
    gstreamer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(BackendError, match=r"no display opens here .*ximagesink: .*set DISPLAY") as caught:
        Branch(make_sink(OutputConfig("display://"), print), "generic", print)
    assert "\n" not in str(caught.value)


def test_which_elements_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert list(display_launches("generic")) == ["kmssink"]
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert list(display_launches("generic")) == ["waylandsink", "xvimagesink", "ximagesink"]
    assert next(iter(display_launches("jetson"))) == "nv3dsink"
