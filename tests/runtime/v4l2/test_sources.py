"""`v4l2://` with a real driver: what arrives of each format, its time, and what is said of a wrong one."""

from __future__ import annotations

import json
import shlex
import sys
from itertools import pairwise
from typing import Any

import pytest

from .machine import GUEST, Machine

pytestmark = pytest.mark.slow

SMALL = "width=320&height=180&fps=10"


def frames(machine: Machine, role: str, query: str, count: int = 5) -> list[dict[str, Any]]:
    """The frames of a camera, or why there is none, as guest/frames.py tells them."""
    uri = f"v4l2:///dev/cameras/{role}?{query}"
    told = machine.run(shlex.join([sys.executable, str(GUEST / "frames.py"), uri, role, str(count)]))
    return [json.loads(line) for line in told.splitlines()]


@pytest.mark.parametrize(
    ("role", "sent", "format", "range_"),
    [
        # vivid's bars hold every colour; its 16-bit grey is its luma times 256.
        ("visible", "auto", "NV12", (16, 235)),
        ("visible", "yuyv", "NV12", (16, 235)),
        ("visible", "nv12", "NV12", (16, 235)),
        ("visible", "gray8", "GRAY8", (0, 255)),
        ("infrared", "auto", "I420", (16, 235)),
        ("infrared", "gray8", "GRAY8", (0, 255)),
        ("infrared", "y16", "GRAY16_LE", (0, 65535)),
    ],
)
def test_each_format_arrives(
    machine: Machine, role: str, sent: str, format: str, range_: tuple[int, int]
) -> None:
    for frame in frames(machine, role, f"{SMALL}&format={sent}", 3):
        assert frame["format"] == format
        assert frame["shape"] == [180, 320]
        assert frame["type"] == ("uint16" if sent == "y16" else "uint8")
        assert frame["has_chroma"] == (format == "NV12")
        assert frame["is_full_range"] == (format in ("GRAY8", "GRAY16_LE"))
        darkest, brightest = range_
        assert darkest <= frame["darkest"] < darkest + 0.02 * brightest
        assert 0.7 * brightest < frame["brightest"] <= brightest


def test_frames_have_the_drivers_time_on_the_monotonic_clock(machine: Machine) -> None:
    taken = frames(machine, "visible", f"{SMALL}&format=nv12", 20)
    # An emulated machine shows its frames late, but none before it is taken.
    assert all(0 <= frame["age_ms"] < 10_000 for frame in taken)
    assert all(earlier["time_ms"] < later["time_ms"] for earlier, later in pairwise(taken))
    # The first one may wait for the machine; then ten a second are ten a second, whatever is dropped between.
    rest = taken[5:]
    periods = (rest[-1]["time_ms"] - rest[0]["time_ms"]) / 100
    assert abs(periods - round(periods)) < 0.3
    assert round(periods) >= len(rest) - 1


@pytest.mark.parametrize(
    "query",
    [f"{SMALL}&format=mjpeg", "width=160&height=120&format=yuyv", "width=320&height=180&fps=7&format=yuyv"],
    ids=["format", "size", "rate"],
)
def test_what_the_camera_has_not_is_said(machine: Machine, query: str) -> None:
    (told,) = frames(machine, "visible", query, 1)
    assert "not-negotiated" in told["reason"]
    assert "v4l2-ctl --list-formats-ext" in told["reason"]


def test_the_doctor_names_what_the_cameras_send(machine: Machine) -> None:
    script = (
        "from pathlib import Path; from irvis_runtime.doctor.live import check_cameras; "
        "print(check_cameras(Path('/')).found)"
    )
    told = machine.run(shlex.join([sys.executable, "-c", script]))
    cameras = told.strip().split("; ")
    assert ["vivid-000-vid-cap" in camera for camera in cameras] == [True, False]
    for camera in cameras:
        assert {"YUYV", "NV12", "GREY", "Y16"} <= set(camera.replace(",", " ").split())
        assert "(format=y16)" in camera
