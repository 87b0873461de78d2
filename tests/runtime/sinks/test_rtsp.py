"""The RTSP server with real clients: one that watches, one that is stopped, one without the password."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import weakref
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import Description, build_pipeline, gst, start_pipeline, stop_pipeline
from irvis_runtime.rig import OutputConfig
from irvis_runtime.sinks import rtsp_access
from irvis_runtime.sinks.destinations import make_sink
from irvis_runtime.sinks.picture import Picture, grey_chroma

from .waiting import received

PICTURE = Picture(np.full((120, 160), 128, np.uint8), grey_chroma((120, 160)), 0, "1:4:0:0")


@pytest.fixture(autouse=True)
def server(encoder: str) -> None:
    """Skips the test where GStreamer's RTSP server is absent."""
    try:
        rtsp_access.rtsp_server()
    except BackendError as error:
        pytest.skip(str(error))


def client(run: Any, location: str) -> Any:
    """A player over TCP that writes the decoded lumas to its standard output."""
    source = ("rtspsrc", f"location={location}", "protocols=tcp", "latency=0", "is-live=true")
    tail = "! rtph264depay ! decodebin ! videoconvert ! video/x-raw,format=GRAY8 ! fdsink fd=1 sync=false"
    return run("gst-launch-1.0", "-q", *source, *tail.split())


def has_pictures(process: Any, count: int) -> bool:
    size = 160 * 120 * count
    return len(received(process, size)) == size


def is_open(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((host, port)) == 0


def test_players_see_the_picture_and_the_port_closes_with_the_output(
    outputs: Any, run: Any, until: Any, port: int
) -> None:
    assert not is_open("127.0.0.1", port)
    branch = outputs.open(f"rtsp://:{port}/fused")
    outputs.feed()
    until(lambda: branch.sent > 0)
    first, second = (client(run, f"rtsp://127.0.0.1:{port}/fused") for _ in range(2))
    assert has_pictures(first, 20)
    assert has_pictures(second, 20)
    # Without a host only this machine reaches it.
    assert not is_open("127.0.0.2", port)
    outlet = weakref.ref(branch._outlet)
    outputs.close()
    until(lambda: not is_open("127.0.0.1", port))
    until(lambda: outlet() is None)
    assert outputs.lines == []


def test_a_stopped_player_holds_up_neither_another_nor_the_picture(
    outputs: Any, run: Any, until: Any, port: int
) -> None:
    branch = outputs.open(f"rtsp://127.0.0.1:{port}/fused", bitrate_kbps=20_000)
    feed = outputs.feed(noise=100)
    until(lambda: branch.sent > 0)
    stopped = client(run, f"rtsp://127.0.0.1:{port}/fused")
    watching = client(run, f"rtsp://127.0.0.1:{port}/fused")
    assert has_pictures(stopped, 5)
    assert has_pictures(watching, 5)
    stopped.send_signal(signal.SIGSTOP)
    assert has_pictures(watching, 200)
    assert has_pictures(client(run, f"rtsp://127.0.0.1:{port}/fused"), 20)
    assert branch.stalls == 0
    assert feed.longest_push_s < 5
    assert outputs.lines == []


def test_it_encodes_while_somebody_watches(outputs: Any, run: Any, until: Any, port: int) -> None:
    branch = outputs.open(f"rtsp://127.0.0.1:{port}/fused")
    outputs.feed()
    until(lambda: branch.sent > 0)
    assert branch._outlet._appsrc is None
    player = client(run, f"rtsp://127.0.0.1:{port}/fused")
    assert has_pictures(player, 3)
    assert branch._outlet._appsrc is not None
    player.terminate()
    until(lambda: branch._outlet._appsrc is None)


def test_without_the_password_there_is_no_picture(
    outputs: Any, run: Any, until: Any, port: int, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("pilot:let:me in\n")
    secret.chmod(0o600)
    branch = outputs.open(f"rtsp://127.0.0.1:{port}/fused", credentials=secret)
    outputs.feed()
    until(lambda: branch.sent > 0)
    for wrong in ("", "pilot:wrong@"):
        assert not has_pictures(client(run, f"rtsp://{wrong}127.0.0.1:{port}/fused"), 1)
    assert has_pictures(client(run, f"rtsp://pilot:let%3Ame%20in@127.0.0.1:{port}/fused"), 5)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        plain.sendall(f"DESCRIBE rtsp://127.0.0.1:{port}/fused RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
        answer = plain.recv(4096).decode()
    assert answer.startswith("RTSP/1.0 401")
    # Basic would send the password as it is.
    assert "Digest" in answer
    assert "Basic" not in answer


def test_ffprobe_reads_a_profile_that_hardware_decoders_have(outputs: Any, until: Any, port: int) -> None:
    ffprobe = shutil.which("ffprobe")
    if ffprobe is None:
        pytest.skip("ffprobe is not installed")
    branch = outputs.open(f"rtsp://127.0.0.1:{port}/fused")
    outputs.feed()
    until(lambda: branch.sent > 0)
    command = [ffprobe, "-v", "error", "-rtsp_transport", "tcp", "-show_entries", "stream=profile,pix_fmt"]
    command += ["-of", "csv=p=0", f"rtsp://127.0.0.1:{port}/fused"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "Constrained Baseline,yuv420p"


def test_a_port_that_is_taken_is_told_and_the_output_works_once_it_is_free(
    outputs: Any, until: Any, port: int
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        outputs.open(f"rtsp://127.0.0.1:{port}/fused")
        outputs.feed()
        until(lambda: bool(outputs.lines))
        assert f"cannot listen at 127.0.0.1:{port}" in outputs.lines[0]
    until(lambda: any("works again" in line for line in outputs.lines))


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("pilot:secret", 0o644, "everybody may read"),
        ("pilot", 0o600, "expected one line user:password"),
        ("pilot:", 0o600, "expected one line user:password"),
        ("a:b\nc:d", 0o600, "expected one line user:password"),
        (None, 0o600, "cannot be read"),
    ],
)
def test_credentials_that_are_none_are_refused(
    text: str | None, mode: int, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(ContractError, match=message) as caught:
        make_sink(OutputConfig("rtsp://127.0.0.1:8554/fused", credentials=path), print)
    assert "secret" not in str(caught.value).replace(str(path), "")


def test_an_open_address_without_a_password_is_told() -> None:
    lines: list[str] = []
    make_sink(OutputConfig("rtsp://0.0.0.0:8554/fused"), lines.append)
    assert "whoever reaches this address sees the picture" in lines[0]
    make_sink(OutputConfig("rtsp://[::1]:8554/fused"), lines.append)
    assert len(lines) == 1


def test_without_the_package_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"Namespace {name} not available")

    monkeypatch.setattr(rtsp_access, "import_module", missing)
    with pytest.raises(BackendError, match=r"apt-get install gir1\.2-gst-rtsp-server-1\.0"):
        rtsp_access.rtsp_server()


def test_an_output_that_is_closed_at_once_ends(gstreamer: ModuleType, port: int) -> None:
    sink: Any = make_sink(OutputConfig(f"rtsp://127.0.0.1:{port}/fused"), print)
    for _ in range(20):
        closing = threading.Thread(target=sink.open("generic", PICTURE).close, daemon=True)
        closing.start()
        closing.join(60)
        assert not closing.is_alive()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps"])
def test_an_output_that_is_opened_again_and_again_leaves_nothing_behind(
    scheme: str, port: int, request: pytest.FixtureRequest
) -> None:
    """Nor does one whose port another program has, which is tried every 8 s as long as the flight lasts."""
    keys = {"certificate": request.getfixturevalue("certificate")("server")} if scheme == "rtsps" else {}
    sink: Any = make_sink(OutputConfig(f"{scheme}://127.0.0.1:{port}/fused", **keys), print)
    outlets: list[weakref.ref[Any]] = []

    def open_and_close() -> None:
        outlet = sink.open("generic", PICTURE)
        outlets.append(weakref.ref(outlet))
        outlet.close()

    def fail_to_open() -> None:
        with pytest.raises(BackendError, match="cannot listen"):
            sink.open("generic", PICTURE)

    open_and_close()
    before = descriptors()
    for _ in range(60):
        open_and_close()
    gc.collect()
    assert [outlet() for outlet in outlets] == [None] * 61
    # Of sixty; what an earlier test has left may come and go.
    assert descriptors() < before + 6
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        for _ in range(60):
            fail_to_open()
        gc.collect()
        assert descriptors() < before + 6


def test_the_end_of_an_old_stream_says_nothing_of_the_new_one(port: int) -> None:
    """The watchdog looks at a stream that plays: it would be off for the new one."""
    sink: Any = make_sink(OutputConfig(f"rtsp://127.0.0.1:{port}/fused"), print)
    outlet = sink.open("generic", PICTURE)
    rtsp, lib = rtsp_access.rtsp_server(), import_module("gi.repository.GstRtsp")
    playing, ended = int(gst().State.PLAYING), int(gst().State.NULL)
    try:
        factory, _ = outlet._server.get_mount_points().match("/fused")
        # As of two clients of which the second comes while the first one's stream is taken down.
        factory.set_shared(False)
        _, url = lib.RTSPUrl.parse(f"rtsp://127.0.0.1:{port}/fused")
        old, new = factory.construct(url), factory.construct(url)
        old.emit("new-state", playing)
        assert not outlet._is_playing
        new.emit("new-state", playing)
        old.emit("new-state", ended)
        assert outlet._is_playing
        assert isinstance(new, rtsp.RTSPMedia)
        new.emit("new-state", ended)
        assert not outlet._is_playing
    finally:
        outlet.close()


def test_a_picture_waits_until_the_streams_time_has_begun(
    gstreamer: ModuleType, until: Any, port: int
) -> None:
    """One that comes while the pipeline starts would be dated by the clock: hours ahead."""
    sink: Any = make_sink(OutputConfig(f"rtsp://127.0.0.1:{port}/fused"), print)
    outlet = sink.open("generic", PICTURE)
    pipeline = build_pipeline(
        Description(
            "appsrc name=pictures is-live=true format=time do-timestamp=true ! appsink name=out sync=false"
        )
    )
    outlet._appsrc = appsrc = pipeline.get_by_name("pictures")
    try:
        pipeline.set_state(gstreamer.State.PAUSED)
        outlet.push(PICTURE)
        assert appsrc.get_property("current-level-buffers") == 0
        start_pipeline(pipeline, time.monotonic_ns())
        until(lambda: appsrc.get_state(0).state == gstreamer.State.PLAYING)
        outlet.push(PICTURE)
        sample = pipeline.get_by_name("out").try_pull_sample(60 * gstreamer.SECOND)
        assert sample.get_buffer().pts < 60 * gstreamer.SECOND
    finally:
        stop_pipeline(pipeline)
        outlet._appsrc = None
        outlet.close()
