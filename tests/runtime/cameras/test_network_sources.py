"""Streams that are sent here over UDP, from real senders: received, and timed by this machine's clock."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from irvis_runtime.cameras.camera import Camera
from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.sources import make_source
from irvis_runtime.errors import ContractError
from irvis_runtime.gstreamer import Description, build_pipeline, start_pipeline, stop_pipeline
from irvis_runtime.sinks.encoders import choose_encoder

pytestmark = pytest.mark.usefixtures("gstreamer")

PACKERS = {
    "rtp-h264": "rtph264pay config-interval=1",
    "mpegts": "mpegtsmux alignment=7",
}


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def sending(port: int, kind: str) -> Iterator[None]:
    """Sends a moving ball to this port."""
    caps = "video/x-raw,format=NV12,width=160,height=120,framerate=30/1"
    launch = (
        f"videotestsrc is-live=true pattern=ball ! {caps} ! {choose_encoder('generic', 1000, (120, 160))} ! "
        f"h264parse config-interval=1 ! {PACKERS[kind]} ! udpsink name=out host=127.0.0.1 sync=false"
    )
    pipeline = build_pipeline(Description(launch, {"out": {"port": port}}))
    start_pipeline(pipeline, time.monotonic_ns())
    try:
        yield
    finally:
        stop_pipeline(pipeline)


def until(camera: Camera, count: int) -> None:
    end_s = time.monotonic() + 30
    while camera.frames < count:
        assert time.monotonic() < end_s, camera.reason or camera.state
        time.sleep(0.01)


@pytest.mark.parametrize("kind", list(PACKERS))
def test_a_sent_stream_is_received_lost_and_received_again(kind: str) -> None:
    port = free_port()
    frames: list[Frame] = []
    arrived_ns: list[int] = []
    lines: list[str] = []

    def deliver(frame: Frame) -> None:
        frames.append(frame)
        arrived_ns.append(time.monotonic_ns())

    source = make_source(f"udp://127.0.0.1:{port}?format={kind}", "visible", "generic")
    camera = Camera("visible", source, deliver, lines.append, restart_s=1.0, start_s=20.0)
    camera.start(time.monotonic_ns())
    try:
        with sending(port, kind):
            until(camera, 30)
        end_s = time.monotonic() + 20
        while camera.state != "lost":
            assert time.monotonic() < end_s
            time.sleep(0.01)
        assert "visible camera lost: no frame for 1 s; trying again in 0.5 s" in lines
        before = camera.frames
        with sending(port, kind):
            until(camera, before + 10)
    finally:
        camera.stop()
    assert frames[0].luma_hw.shape == (120, 160)
    assert frames[0].chroma is not None
    ages_ms = (np.array(arrived_ns) - np.array([frame.time_ns for frame in frames])) / 1e6
    # Neither from the future nor seconds old: such frames would find no partner.
    assert ages_ms.min() >= 0
    assert np.median(ages_ms) < 1000


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("udp://", "expected an address and a port"),
        ("udp://5600", "expected an address and a port"),
        ("udp://127.0.0.1", "expected an address and a port"),
        ("udp://127.0.0.1:0", "expected an address and a port"),
        ("udp://127.0.0.1:99999", "expected an address and a port"),
        ("udp://127.0.0.1:5600/x", "expected an address and a port"),
        ("udp://127.0.0.1:5600?format=h265", "format: expected one of 'rtp-h264', 'mpegts'"),
        ("udp://127.0.0.1:5600?latency_ms=-1", "latency_ms: expected 0 to 10000"),
    ],
)
def test_a_wrong_address_is_one_line(uri: str, text: str) -> None:
    with pytest.raises(ContractError) as caught:
        make_source(uri, "visible", "generic")
    assert text in str(caught.value)


def test_a_jetson_decodes_what_is_sent_in_hardware() -> None:
    launch = make_source("udp://0.0.0.0:5600", "visible", "jetson").description.launch
    assert "nvvidconv" in launch
    assert "videoconvert" not in launch
