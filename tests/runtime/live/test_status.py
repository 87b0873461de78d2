"""What a run tells while it goes on: the status file, the log of states, systemd."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from irvis_runtime.errors import ContractError
from irvis_runtime.live import status as status_module
from irvis_runtime.live.status import StatusFile, Teller
from irvis_runtime.live.systemd import Systemd


def test_the_status_file_holds_the_newest_status(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    file = StatusFile(path)
    file.start({"count": 0})
    assert json.loads(path.read_text()) == {"count": 0}
    for count in range(1, 50):
        file.put({"count": count})
    file.close({"count": 50}, timeout_s=120.0)
    assert json.loads(path.read_text()) == {"count": 50}
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


def test_the_last_status_is_written_though_the_thread_wakes_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    file = StatusFile(path)
    file.start({"state": "fusing"})
    file.put({"state": "fusing"})

    def made_slowly(status: Mapping[str, Any]) -> str:
        # The status of the second before wakes the thread; were it the last one, the thread would end here.
        file._wake.set()
        file._thread.join(0.5)
        return json.dumps(status)

    monkeypatch.setattr(status_module, "_json", made_slowly)
    file.close({"state": "stopped"}, timeout_s=120.0)
    assert json.loads(path.read_text()) == {"state": "stopped"}


def test_a_status_file_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ContractError, match=r"status\.json"):
        Teller(tmp_path / "file" / "status.json", dict)


def test_not_a_number_never_reaches_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        StatusFile(tmp_path / "status.json").start({"fps": float("nan")})


def test_a_state_is_logged_when_it_changes_and_not_when_it_flickers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # All within a moment, however slow the machine.
    monkeypatch.setattr(status_module, "time", SimpleNamespace(monotonic=lambda: 100.0))
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
        notified.settimeout(60.0)
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


def test_a_service_manager_that_reads_nothing_does_not_hold_up_the_picture(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unread:
        unread.bind(str(tmp_path / "notify"))
        systemd = Systemd(str(tmp_path / "notify"))
        length = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())

        def tell() -> None:
            for frames in range(length + 5):
                systemd.alive(frames, "fusing")

        telling = threading.Thread(target=tell, daemon=True)
        telling.start()
        telling.join(60)
        assert not telling.is_alive()
