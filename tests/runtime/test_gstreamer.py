"""What cameras and sinks share of GStreamer."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import (
    MAX_REASON,
    Description,
    build_pipeline,
    gst,
    launch_text,
    packed,
    start_pipeline,
    stop_pipeline,
    stop_reason,
)


def test_a_missing_binding_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(BackendError, match="apt-get install python3-gi") as caught:
        gst.__wrapped__()
    assert "\n" not in str(caught.value)


def test_rows_are_padded_to_four_bytes_and_luma_to_even_rows() -> None:
    luma_hw, chroma = np.full((3, 5), 1, np.uint8), np.full((2, 6), 2, np.uint8)
    expected = bytes([1, 1, 1, 1, 1, 0, 0, 0] * 3 + [0] * 8 + [2, 2, 2, 2, 2, 2, 0, 0] * 2)
    assert packed([luma_hw, chroma]) == expected
    assert packed([luma_hw]) == expected[:24]
    assert packed([np.full((1, 3), 0x0201, "<u2")]) == bytes([1, 2, 1, 2, 1, 2, 0, 0])


@pytest.mark.usefixtures("gstreamer")
def test_a_missing_element_names_itself_and_the_packages() -> None:
    with pytest.raises(BackendError, match=r'no element "nosuch".*apt-get'):
        build_pipeline(Description("nosuch ! fakesink"))


@pytest.mark.usefixtures("gstreamer")
def test_elements_that_do_not_fit_are_one_line() -> None:
    with pytest.raises(BackendError, match="could not link") as caught:
        build_pipeline(Description("audiotestsrc ! videoconvert ! fakesink"))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("gstreamer")
def test_a_single_element_is_a_pipeline_too() -> None:
    pipeline = build_pipeline(Description("fakesrc name=only num-buffers=1"))
    assert pipeline.get_by_name("only") is not None


@pytest.mark.usefixtures("gstreamer")
def test_why_a_pipeline_stopped_is_one_short_line() -> None:
    pipeline = build_pipeline(Description("videotestsrc ! identity error-after=2 ! fakesink"))
    start_pipeline(pipeline, time.monotonic_ns())
    reason = stop_reason(pipeline, 5 * gst().SECOND)
    stop_pipeline(pipeline)
    assert reason is not None
    assert "\n" not in reason
    assert 0 < len(reason) <= MAX_REASON + 3
    assert reason != "end of stream"


@pytest.mark.usefixtures("gstreamer")
def test_what_does_not_fit_names_what_to_look_at() -> None:
    launch = "videotestsrc ! identity ! capsfilter name=wanted ! fakesink"
    pipeline = build_pipeline(Description(launch, {"wanted": {"caps": gst().Caps.from_string("image/jpeg")}}))
    start_pipeline(pipeline, time.monotonic_ns())
    reason = stop_reason(pipeline, 5 * gst().SECOND)
    stop_pipeline(pipeline)
    assert reason is not None
    assert "not-negotiated" in reason
    assert reason.endswith("`v4l2-ctl --list-formats-ext` shows what a camera has")


A_FRAME_WITHOUT_NEW_WRAPPERS = """
import time
from gi.module import IntrospectionModule
from irvis_runtime.cameras.frames import FrameReader
from irvis_runtime.gstreamer import *

gst()

def refuse(module, name):
    raise SystemExit(f"{module} makes {name} only now")

IntrospectionModule.__getattr__ = refuse
launch = "videotestsrc num-buffers=3 ! video/x-raw,format=NV12,width=64,height=48 ! appsink name=frames"
pipeline = build_pipeline(Description(launch))
start_pipeline(pipeline, time.monotonic_ns())
frames = pipeline.get_by_name("frames")
assert FrameReader(0).read(frames.try_pull_sample(5 * gst().SECOND)).luma_hw.shape == (48, 64)
while stop_reason(pipeline, gst().SECOND) is None:
    frames.try_pull_sample(0)
stop_pipeline(pipeline)
"""


@pytest.mark.usefixtures("gstreamer")
def test_no_wrapper_is_left_for_two_threads_to_make_at_once() -> None:
    """PyGObject makes them without a lock, and a slow virtual machine showed what two cameras then do."""
    done = subprocess.run(
        [sys.executable, "-c", A_FRAME_WITHOUT_NEW_WRAPPERS], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("gstreamer")
def test_elements_that_a_decodebin_makes_get_their_properties() -> None:
    plugged: dict[str, dict[str, Any]] = {
        "jpegdec": {"max-errors": 7, "of-another-release": 1},
        "nvv4l2decoder": {"disable-dpb": True},
    }
    launch = "videotestsrc num-buffers=2 ! jpegenc ! decodebin ! fakesink"
    pipeline = build_pipeline(Description(launch, plugged=plugged))
    start_pipeline(pipeline, time.monotonic_ns())
    assert stop_reason(pipeline, 20 * gst().SECOND) == "end of stream"
    made = {}
    found = pipeline.iterate_recurse()
    while (step := found.next())[0] == gst().IteratorResult.OK:
        made[step[1].get_factory().get_name()] = step[1]
    assert made["jpegdec"].get_property("max-errors") == 7
    stop_pipeline(pipeline)
    assert launch_text(Description("fakesrc ! fakesink", plugged=plugged)) == (
        "fakesrc ! fakesink # jpegdec max-errors=7 of-another-release=1, nvv4l2decoder disable-dpb=true"
    )
