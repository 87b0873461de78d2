"""Requests for a restart of Argus: made when two openings failed, answered by another, never in a row.

The unit that answers runs under a real systemd in tests/jetson/test_real_system.py. Argus has never run.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from irvis_runtime.cameras import argus
from irvis_runtime.cameras.argus import Argus
from irvis_runtime.cameras.camera import Camera
from irvis_runtime.cameras.source import APPSINK, Source
from irvis_runtime.cameras.sources import ARGUS, make_source
from irvis_runtime.gstreamer import Description


@pytest.fixture
def request_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the service leaves its request."""
    path = tmp_path / "restart-argus"
    monkeypatch.setenv(argus.REQUEST, str(path))
    return path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic time, which the test sets."""
    now = [1000.0]
    monkeypatch.setattr("irvis_runtime.cameras.argus.time.monotonic", lambda: now[0])
    return now


def test_a_csi_camera_asks_after_two_openings_without_a_frame(gstreamer: object, request_file: Path) -> None:
    lines: list[str] = []
    launch = f"v4l2src device=/dev/no-such-camera ! {APPSINK}"
    source = Source("csi://0", Description(launch), revive=Argus().ask_for_restart)
    camera = Camera("visible", source, lambda frame: None, lines.append)
    camera.start(time.monotonic_ns())
    end_s = time.monotonic() + 30
    while not request_file.exists():
        assert time.monotonic() < end_s, lines
        time.sleep(0.01)
    camera.stop()
    asked = [line for line in lines if "nvargus-daemon" in line]
    assert asked == [f"visible camera: asked for a restart of nvargus-daemon ({request_file})"]
    # The pause after the first opening had passed.
    assert sum("trying again" in line for line in lines[: lines.index(asked[0])]) >= 1


def test_both_csi_cameras_share_one_limit_and_others_never_ask() -> None:
    revive = [make_source(f"csi://{sensor}", "visible", "jetson").revive for sensor in (0, 1)]
    assert revive == [ARGUS.ask_for_restart] * 2
    assert make_source("v4l2:///dev/video0", "visible", "jetson").revive is None
    assert make_source("rtsp://camera/1", "visible", "jetson").revive is None


def test_requests_are_two_minutes_apart(request_file: Path, clock: list[float]) -> None:
    lines: list[str] = []
    asker = Argus()
    asker.ask_for_restart(lines.append)
    request_file.unlink()
    for _ in range(3):
        clock[0] += argus.LEAST_PAUSE_S / 4
        asker.ask_for_restart(lines.append)
    assert not request_file.exists()
    clock[0] += argus.LEAST_PAUSE_S / 4
    asker.ask_for_restart(lines.append)
    assert request_file.exists()
    assert lines == [f"asked for a restart of nvargus-daemon ({request_file})"] * 2


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("unanswered", "nobody answers the request for a restart of nvargus-daemon"),
        ("unwritable", "cannot ask for a restart of nvargus-daemon"),
        ("not allowed", "this run may not ask for a restart of nvargus-daemon"),
    ],
)
def test_what_keeps_it_from_being_restarted_is_told_once(
    request_file: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch, fault: str, text: str
) -> None:
    if fault == "unwritable":
        monkeypatch.setenv(argus.REQUEST, str(request_file / "no such folder/restart-argus"))
    elif fault == "not allowed":
        monkeypatch.delenv(argus.REQUEST)
    lines: list[str] = []
    asker = Argus()
    for _ in range(6):
        asker.ask_for_restart(lines.append)
        clock[0] += argus.LEAST_PAUSE_S
    told = [line for line in lines if not line.startswith("asked for")]
    assert len(told) == 1
    assert told[0].startswith(text)
    assert told[0].endswith("`sudo systemctl restart nvargus-daemon` often brings a CSI camera back")
