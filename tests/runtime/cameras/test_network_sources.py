"""Streams over the network, from real senders: received, and timed by this machine's clock."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from irvis_runtime.cameras.camera import Camera
from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.network_sources import RTP_H264, RTP_VIDEO
from irvis_runtime.cameras.sources import FORMATS, make_source
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import Description, build_pipeline, launch_text, start_pipeline, stop_pipeline
from irvis_runtime.sinks.encoders import choose_encoder
from irvis_runtime.sinks.rtsp_access import rtsp_server

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


def until(camera: Camera, condition: Callable[[], bool]) -> None:
    """Waits for the condition; on a starved machine a stream's next key frame takes its time."""
    end_s = time.monotonic() + 120
    while not condition():
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
    camera = Camera("visible", source, deliver, lines.append, restart_s=2.0, start_s=60.0)
    camera.start(time.monotonic_ns())
    try:
        with sending(port, kind):
            until(camera, lambda: len(frames) >= 30)
        until(camera, lambda: camera.state == "lost")
        assert "visible camera lost: no frame for 2 s; trying again in 0.5 s" in lines
        before = len(frames)
        with sending(port, kind):
            until(camera, lambda: len(frames) >= before + 10)
    finally:
        camera.stop()
    assert frames[0].luma_hw.shape == (120, 160)
    assert frames[0].chroma is not None
    ages_ms = (np.array(arrived_ns) - np.array([frame.time_ns for frame in frames])) / 1e6
    # Neither from the future nor seconds old: such frames would find no partner. The youngest of each stream
    # tells the camera's delay from the machine's load.
    assert ages_ms.min() >= 0
    assert max(ages_ms[:before].min(), ages_ms[before:].min()) < 1000


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


RTSPSRC = "rtspsrc name=source location={} latency=0 protocols=tcp drop-on-latency=true"
JITTER = "rtpjitterbuffer latency=0 drop-on-latency=true ! rtph264depay ! h264parse"
DECODE = 'decodebin expose-all-streams=false caps="video/x-raw(ANY)"'
APPSINK = "appsink name=frames max-buffers=3 drop=true enable-last-sample=false sync=false"
UDPSRC = "udpsrc name=source address={} port=5600 buffer-size=2000000"


@pytest.mark.parametrize(
    ("uri", "start"),
    [
        (
            "rtsp://10.0.0.2/stream?profile=1",
            RTSPSRC.format('"rtsp://10.0.0.2/stream?profile=1"') + f" ! {RTP_VIDEO} !",
        ),
        ("rtsps://10.0.0.2/stream", RTSPSRC.format('"rtsps://10.0.0.2/stream"') + f" ! {RTP_VIDEO} !"),
        ("udp://0.0.0.0:5600", UDPSRC.format('"0.0.0.0"') + f' caps="{RTP_H264}" ! {JITTER} !'),
        (
            "udp://239.1.1.1:5600?format=mpegts",
            UDPSRC.format('"239.1.1.1"') + " ! tsparse set-timestamps=true ! tsdemux latency=0 !",
        ),
    ],
)
def test_every_network_source_has_the_text_that_was_measured(uri: str, start: str) -> None:
    """A Jetson's decoder holds about four pictures back unless it is told not to."""
    generic, jetson = (
        launch_text(make_source(uri, "visible", platform).description) for platform in ("generic", "jetson")
    )
    assert generic == f"{start} {DECODE} ! videoconvert ! {FORMATS['visible']} ! {APPSINK}"
    assert jetson == (
        f"{start} {DECODE} ! nvvidconv ! video/x-raw,format=NV12 ! {APPSINK}"
        " # nvv4l2decoder disable-dpb=true enable-max-performance=true"
    )


@pytest.mark.parametrize(
    "credentials",
    [
        "admin:s3/cr3t",
        "admin:s3?cr3t",
        "admin:s3@cr3t",
        "admin:s3@/cr3t",
        "admin:/cr3t",
        "a@b.c:cr3t",
        "admin:s3@cr:x/cr3t",
    ],
)
@pytest.mark.parametrize("scheme", ["rtsp", "rtsps"])
def test_a_password_that_gstreamer_takes_for_a_host_is_refused_and_not_repeated(
    scheme: str, credentials: str
) -> None:
    with pytest.raises(ContractError, match="write %40, %2F, %3F in user and password") as caught:
        make_source(f"{scheme}://{credentials}@camera/live", "visible", "generic")
    assert str(caught.value).startswith(f"{scheme}://camera/live: ")
    assert "cr3t" not in str(caught.value)


@pytest.mark.parametrize("credentials", ["admin:s3%40cr3t", "admin:2024/cr3t", "admin:s3@cr3/cr3t"])
def test_what_may_be_a_password_is_shown_nowhere(credentials: str) -> None:
    uri = f"rtsp://{credentials}@camera/live#transport=udp"
    source = make_source(uri, "visible", "generic")
    assert source.uri == "rtsp://camera/live#transport=udp"
    assert 'location="rtsp://admin:***@camera/live" ' in launch_text(source.description)
    assert source.description.properties["source"]["location"] == f"rtsp://{credentials}@camera/live"
    with pytest.raises(ContractError) as caught:
        make_source(f"{uri}&lost=1", "visible", "generic")
    assert str(caught.value).startswith("rtsp://camera/live#transport=udp&lost=1: unknown key 'lost'")


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://10.0.0.2:554/live@1",
        "rtsp://10.0.0.2/live?mail=a@b",
        "rtsp://[fe80::1%25eth0]:554/live@1",
        "rtsp://camera.local/live@1",
    ],
)
def test_a_path_or_query_may_hold_an_at_sign(uri: str) -> None:
    source = make_source(uri, "visible", "generic")
    assert source.uri == uri
    assert f'location="{uri}" ' in launch_text(source.description)


def test_a_file_of_authorities_may_hold_an_at_sign(tmp_path: Path) -> None:
    (tmp_path / "a@b.pem").touch()
    uri = f"rtsps://camera/live#ca={tmp_path}/a@b.pem"
    assert make_source(uri, "visible", "generic").uri == uri


@pytest.mark.parametrize("order", ["video first", "sound first"])
def test_a_camera_that_sends_sound_is_seen(order: str) -> None:
    """By GStreamer's RTSP server, with the streams either way round."""
    try:
        rtsp = rtsp_server()
    except BackendError as error:
        pytest.skip(str(error))
    caps = "video/x-raw,format=NV12,width=160,height=120,framerate=30/1"
    encoder = choose_encoder("generic", 1000, (120, 160))
    parts = [
        f"videotestsrc is-live=true ! {caps} ! {encoder} ! rtph264pay name=",
        "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=",
    ]
    if order == "sound first":
        parts.reverse()
    factory, server = rtsp.RTSPMediaFactory(), rtsp.RTSPServer()
    factory.set_launch("( " + " ".join(f"{part}pay{index}" for index, part in enumerate(parts)) + " )")
    server.set_address("127.0.0.1")
    server.set_service("0")
    server.get_mount_points().add_factory("/live", factory)
    glib = import_module("gi.repository.GLib")
    context = glib.MainContext()
    loop = glib.MainLoop.new(context, False)
    server.attach(context)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    uri = f"rtsp://127.0.0.1:{server.get_bound_port()}/live"
    camera = Camera(
        "visible",
        make_source(uri, "visible", "generic"),
        lambda frame: None,
        lambda line: None,
        restart_s=60.0,
        start_s=60.0,
    )
    camera.start(time.monotonic_ns())
    try:
        until(camera, lambda: camera.frames >= 5)
    finally:
        camera.stop()
        loop.quit()
        thread.join()
    assert camera.form is not None
    assert camera.form.text == "160x120 NV12"
