"""`irvis live` and its outputs: a view for each, a fault in one, and no port to connect to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irvis_runtime.errors import ContractError
from irvis_runtime.image import read_picture

from .live_rigs import until

CAMERAS = """
[visible]
source = "test://?width=160&height=120&fps=30&pattern=white"
[infrared]
source = "test://?width=160&height=120&fps=30&pattern=black"
"""

pytestmark = pytest.mark.usefixtures("encoder")


Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `irvis live` with these outputs in the test's folder, its stderr in `log`; killed at the end."""
    processes: list[subprocess.Popen[str]] = []

    def begin(outputs: str) -> subprocess.Popen[str]:
        (tmp_path / "rig.toml").write_text(CAMERAS + outputs)
        command = [sys.executable, "-m", "irvis_runtime", "live", "rig.toml", "--status", "status.json"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (tmp_path / "log").open("w") as log:
            processes.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=log, text=True))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def status(folder: Path) -> dict[str, Any]:
    """The newest status; empty before the first."""
    path = folder / "status.json"
    told: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return told


def listening(process: int) -> list[str]:
    """The TCP ports at which a process listens."""
    inodes = set()
    for entry in Path(f"/proc/{process}/fd").iterdir():
        try:
            inodes.add(os.readlink(entry))
        except FileNotFoundError:
            continue
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            # State 0A is LISTEN.
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.append(fields[1])
    return found


def snapshot(path: Path) -> np.ndarray[Any, Any] | None:
    try:
        return read_picture(path)
    except ContractError:
        return None


def test_every_output_shows_its_view_and_nothing_listens(start: Start, tmp_path: Path) -> None:
    views = ("fused", "visible", "thermal", "side-by-side", "picture-in-picture", "blend")
    shots = "".join(f'sink = "file://{view}.png"\nview = "{view}"\nevery_s = 0.1\n' for view in views)
    others = 'sink = "file://film.mp4"\nsink = "udp://127.0.0.1:9"\n'
    # A busy machine may keep eight outputs waiting for longer than is usual: no fault of theirs.
    run = start((shots + others).replace("sink", "[[output]]\nstall_ms = 60000\nsink"))
    # The first pictures may be the visible camera's alone.
    until(lambda: status(tmp_path).get("state") == "fusing")

    def level(view: str, rows: slice, columns: slice) -> float:
        picture = snapshot(tmp_path / f"{view}.png")
        return -1.0 if picture is None else float(picture[rows, columns].mean())

    everything, left, right = slice(None), slice(0, 78), slice(82, 160)
    middle = slice(32, 88)
    # The infrared test pattern's black is 16 of 255.
    until(lambda: level("visible", everything, everything) > 250)
    until(lambda: 0 <= level("thermal", everything, everything) < 30)
    until(lambda: abs(level("blend", everything, everything) - 130) < 15)
    until(lambda: level("side-by-side", middle, left) > 250)
    until(lambda: 0 <= level("side-by-side", middle, right) < 30)
    until(lambda: level("picture-in-picture", slice(0, 60), everything) > 250)
    until(lambda: 0 <= level("picture-in-picture", slice(82, 112), slice(108, 150)) < 30)
    assert snapshot(tmp_path / "fused.png") is not None
    assert listening(run.pid) == []
    run.send_signal(signal.SIGTERM)
    code, errors = run.wait(120), (tmp_path / "log").read_text()
    assert code == 0, errors
    assert "output" not in errors
    assert (tmp_path / "film.mp4").stat().st_size > 0


def test_a_stopped_client_costs_its_output_alone(start: Start, tmp_path: Path) -> None:
    """The fault table's row, with the whole program: SIGSTOP for a reader of shared memory."""
    socket = tmp_path / "fused"
    start(
        f'[[output]]\nsink = "shm://{socket}"\nstall_ms = 1000\n'
        '[[output]]\nsink = "file://film.mkv"\nstall_ms = 60000\n'
    )
    until(socket.exists)
    caps = "video/x-raw,format=NV12,width=160,height=120,framerate=30/1"
    client = subprocess.Popen(
        [
            "gst-launch-1.0",
            "-q",
            "shmsrc",
            f"socket-path={socket}",
            "!",
            caps,
            "!",
            "filesink",
            "location=read",
        ],
        cwd=tmp_path,
    )
    shm, film = f"shm://{socket}", "file://film.mkv"

    def goes_on(more: int) -> Callable[[], bool]:
        """A condition: everything works, and so many further pictures were made."""
        frames = status(tmp_path).get("frames", 0)

        def does() -> bool:
            told = status(tmp_path)
            is_open = told.get("outputs") == {shm: "open", film: "open"}
            return is_open and told["state"] == "fusing" and told["frames"] > frames + more

        return does

    try:
        until(lambda: (tmp_path / "read").exists() and (tmp_path / "read").stat().st_size > 0)
        until(goes_on(30))
        client.send_signal(signal.SIGSTOP)
        until(lambda: f"output {shm}: took no picture for 1 s" in (tmp_path / "log").read_text())
        until(goes_on(30))
        until(lambda: f"output {shm}: works again" in (tmp_path / "log").read_text())
        assert f"output {film}" not in (tmp_path / "log").read_text()
    finally:
        client.kill()
        client.wait()
