"""RTP and MPEG-TS over UDP, received and decoded."""

from __future__ import annotations

import time
from typing import Any

import pytest

from irvis_runtime.gstreamer import Description, build_pipeline, start_pipeline, stop_pipeline

RTP = "application/x-rtp,media=(string)video,clock-rate=(int)90000,encoding-name=(string)H264,payload=(int)96"
RECEIVERS = {
    "rtp": f'udpsrc name=udp address=127.0.0.1 caps="{RTP}" ! rtph264depay ! h264parse ! decodebin',
    "udp": "udpsrc name=udp address=127.0.0.1 ! tsparse ! tsdemux ! h264parse ! decodebin",
}


@pytest.mark.usefixtures("encoder")
@pytest.mark.parametrize("scheme", list(RECEIVERS))
def test_a_receiver_that_comes_late_sees_the_picture(
    scheme: str, gstreamer: Any, outputs: Any, until: Any
) -> None:
    """And one that is not there, or goes, stops nothing: UDP asks nobody."""
    receiver = build_pipeline(
        Description(f"{RECEIVERS[scheme]} ! appsink name=out sync=false", {"udp": {"port": 0}})
    )
    start_pipeline(receiver, time.monotonic_ns())
    try:
        port = receiver.get_by_name("udp").get_property("port")
        nobody = outputs.open(f"{scheme}://127.0.0.1:9")
        branch = outputs.open(f"{scheme}://127.0.0.1:{port}")
        outputs.feed(nobody)
        until(lambda: nobody.sent > 40)
        outputs.feed(branch)
        appsink = receiver.get_by_name("out")
        for _ in range(30):
            sample = appsink.try_pull_sample(30 * gstreamer.SECOND)
            assert sample is not None
        structure = sample.get_caps().get_structure(0)
        assert (structure.get_value("width"), structure.get_value("height")) == (160, 120)
    finally:
        stop_pipeline(receiver)
    sent = branch.sent
    until(lambda: branch.sent > sent + 30)
    assert outputs.lines == []
