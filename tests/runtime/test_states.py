"""What a run tells: counts and percentiles in a bounded window, the status file, systemd."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.errors import ContractError
from irvis_runtime.states import WINDOW_FRAMES, Statistics
from irvis_runtime.status import StatusFile, Teller
from irvis_runtime.systemd import Systemd


def test_nothing_measured_is_null_not_zero() -> None:
    told = Statistics().to_mapping()
    assert told["latency_ms"] == {"p50": None, "p99": None}
    assert told["skew_ms"] == {"p50": None, "p99": None}
    assert told["frames"] == 0


def test_latency_is_from_capture_to_now_and_skew_has_no_sign() -> None:
    statistics = Statistics()
    for skew_ms in (-30.0, 10.0, -20.0):
        statistics.add(time.monotonic_ns() - 50_000_000, skew_ms, is_held=skew_ms < -25)
    told = statistics.to_mapping()
    assert told["latency_ms"]["p50"] == pytest.approx(50, abs=40)
    assert told["latency_ms"]["p50"] >= 50
    assert told["skew_ms"] == {"p50": 20.0, "p99": 30.0}
    assert (told["frames"], told["held"]) == (3, 1)


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=300))
def test_percentiles_are_values_that_occurred(skews_ms: list[float]) -> None:
    statistics = Statistics()
    for skew_ms in skews_ms:
        statistics.add(0, skew_ms)
    told = statistics.to_mapping()["skew_ms"]
    sizes = sorted(round(abs(skew_ms), 3) for skew_ms in skews_ms)
    assert told["p50"] in sizes
    assert sum(size <= told["p50"] for size in sizes) >= len(sizes) / 2
    assert sum(size <= told["p99"] for size in sizes) >= 0.99 * len(sizes)


def test_the_window_forgets_what_is_old() -> None:
    statistics = Statistics()
    statistics.add(0, 999.0)
    for _ in range(WINDOW_FRAMES):
        statistics.add(time.monotonic_ns(), 1.0)
    assert statistics.to_mapping()["skew_ms"]["p99"] == 1.0
    assert statistics.frames == WINDOW_FRAMES + 1


def test_frames_a_second_are_those_of_the_elapsed_time() -> None:
    statistics = Statistics()
    for _ in range(20):
        statistics.add(0, None)
    time.sleep(0.2)
    assert 20 / 1.5 < statistics.fps() <= 20 / 0.2


def test_the_status_file_holds_the_newest_status(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    file = StatusFile(path)
    file.start({"count": 0})
    assert json.loads(path.read_text()) == {"count": 0}
    for count in range(1, 50):
        file.put({"count": count})
    file.close({"count": 50})
    assert json.loads(path.read_text()) == {"count": 50}
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


def test_a_status_file_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ContractError, match=r"status\.json"):
        Teller(tmp_path / "file" / "status.json", dict)


def test_not_a_number_never_reaches_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        StatusFile(tmp_path / "status.json").start({"fps": float("nan")})


def test_a_state_is_logged_when_it_changes_and_not_when_it_flickers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    teller = Teller(None, dict)
    teller.follow("starting")
    for _ in range(50):
        teller.follow("fusing")
        teller.follow("visible-only")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["irvis live: fusing", "irvis live: visible-only"]
    assert len(lines) == 5


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_watchdog_is_fed_only_while_pictures_come(tmp_path: Path, is_abstract: bool) -> None:
    address = f"@irvis-{tmp_path.name}-{time.monotonic_ns()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(f"\0{address[1:]}" if is_abstract else address)
        notified.settimeout(2.0)
        systemd = Systemd(address)
        systemd.ready()
        systemd.alive(10, "fusing")
        systemd.alive(10, "no-cameras")
        systemd.stopping()
        heard = [notified.recv(1000).decode() for _ in range(4)]
    assert heard == [
        "READY=1",
        "STATUS=fusing, 10 frames\nWATCHDOG=1",
        "STATUS=no-cameras, 10 frames",
        "STOPPING=1",
    ]


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    Systemd("").ready()
    Systemd(str(tmp_path / "gone")).ready()
