"""`irvis live` with real pipelines and the shipped model, on small pictures, for a few seconds each."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from irvis_runtime.gstreamer import (
    Description,
    build_pipeline,
    start_pipeline,
    stop_pipeline,
)

from .live_rigs import PATTERN_FPS, Notified, rig_text, until

FILE_LIMIT = 40_000

pytestmark = pytest.mark.usefixtures("encoder")


@dataclass
class Run:
    """One call of `irvis live` in a folder of its own."""

    process: subprocess.Popen[str]
    folder: Path

    def status(self) -> dict[str, Any]:
        """The newest status file."""
        status: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        return status

    def has_status(self) -> bool:
        """Whether a status file is there yet."""
        return (self.folder / "status.json").exists()

    def end(self, timeout_s: float = 120.0) -> tuple[int, str]:
        """Waits for the end; the exit code and stderr."""
        _, errors = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, errors


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `irvis live` on a rig's text; what still runs after the test is killed."""
    runs = []

    def begin(text: str, *arguments: str, **popen: Any) -> Run:
        (tmp_path / "rig.toml").write_text(text)
        command = [
            sys.executable,
            "-m",
            "irvis_runtime",
            "live",
            "rig.toml",
            "--status",
            "status.json",
            *arguments,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **popen.pop("env", {})}
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **popen,
        )
        runs.append(Run(process, tmp_path))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def film_size(gstreamer: ModuleType, path: Path) -> tuple[int, float]:
    """Frames of a recording that decode, and the last one's time in seconds."""
    launch = "filesrc name=in ! decodebin ! appsink name=out sync=false"
    pipeline = build_pipeline(Description(launch, {"in": {"location": str(path)}}))
    start_pipeline(pipeline, time.monotonic_ns())
    count, last_s = 0, 0.0
    while (sample := pipeline.get_by_name("out").try_pull_sample(60 * gstreamer.SECOND)) is not None:
        count, last_s = count + 1, sample.get_buffer().pts / 1e9
    stop_pipeline(pipeline)
    return count, last_s


def test_two_cameras_are_fused_recorded_and_told(start: Start, gstreamer: ModuleType, tmp_path: Path) -> None:
    """An odd size and a 16-bit infrared scene; systemd listens."""
    cameras = (
        "test://?width=161&height=121&fps=30&pattern=ball",
        "test://?width=80&height=60&fps=10&format=y16",
    )
    # The output's stall_ms, and limits that let a busy machine pause.
    patience = "stall_ms = 60000\n[limits]\nstart_ms = 60000\nlost_ms = 10000\nrestart_ms = 60000\n"
    with closing(Notified(tmp_path / "notify")) as notified:
        run = start(
            rig_text(*cameras, ("file://out.mkv",), patience), env={"NOTIFY_SOCKET": str(tmp_path / "notify")}
        )

        def is_fusing() -> bool:
            heard = notified.lines()
            if "WATCHDOG=1" not in heard or not any(line.startswith("STATUS=fusing, ") for line in heard):
                return False
            status = run.status()
            return bool(status["state"] == "fusing" and status["frames"] >= 10 and status["fps"] > 0)

        until(is_fusing)
        run.process.send_signal(signal.SIGTERM)
        code, errors = run.end()
        heard = notified.lines()
    assert code == 0, errors
    assert heard.index("READY=1") < heard.index("WATCHDOG=1") < heard.index("STOPPING=1")
    assert "irvis live: fusing\n" in errors
    status = run.status()
    assert status["state"] == "stopped"
    assert 10 <= status["frames"] <= status["running_s"] * PATTERN_FPS + 5
    assert status["fps"] <= PATTERN_FPS + 3
    assert 0 < status["latency_ms"]["p50"] <= status["latency_ms"]["p99"]
    assert 0 <= status["skew_ms"]["p50"] <= status["skew_ms"]["p99"] <= 1000
    assert set(status["dropped"]) == {"infrared", "visible", "output"}
    assert {"backend", "precision", "versions", "cameras", "outputs", "held", "time"} <= set(status)
    assert status["thermal"]["is_frozen"] is False
    assert {"irvis", "gstreamer"} <= set(status["versions"])
    count, last_s = film_size(gstreamer, run.folder / "out.mkv")
    assert count == status["frames"] + status["slates"] - status["dropped"]["output"]
    assert (count - 1) / PATTERN_FPS - 0.1 <= last_s <= status["running_s"] + 0.1
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "notify",
        "out.mkv",
        "rig.toml",
        "status.json",
    ]


def test_cameras_in_step_are_paired_in_step(start: Start) -> None:
    """Whichever hands its frame over first: a picture of the visible one waits for its partner."""
    scene = "test://?width=64&height=48&fps=10"
    run = start(rig_text(scene, scene, more="[limits]\nwait_ms = 500\n"))

    def are_in_step() -> bool:
        """A pause of the machine costs single pairs; those of cameras out of step are the most for ever."""
        if not run.has_status():
            return False
        status = run.status()
        return bool(status["frames"] >= 15 and status["skew_ms"]["p50"] == 0)

    until(are_in_step)
    run.process.send_signal(signal.SIGTERM)
    code, errors = run.end()
    assert code == 0, errors


def test_a_signal_ends_it_cleanly_and_a_kill_leaves_what_was_recorded(
    start: Start, gstreamer: ModuleType
) -> None:
    run = start(rig_text(outputs=("file://out.mkv",)))
    part = run.folder / "out.mkv.part"
    until(lambda: part.exists() and part.stat().st_size > 40_000)
    run.process.send_signal(signal.SIGTERM)
    code, errors = run.end()
    assert (code, errors.splitlines()[-1]) == (0, "irvis live: stopped")
    assert film_size(gstreamer, run.folder / "out.mkv")[0] > 2
    (run.folder / "out.mkv").unlink()
    run = start(rig_text(outputs=("file://out.mkv",)))
    until(lambda: part.exists() and part.stat().st_size > 40_000)
    run.process.kill()
    run.end()
    assert not (run.folder / "out.mkv").exists()
    assert film_size(gstreamer, part)[0] > 2


def test_rtp_is_received_while_a_recording_fails(start: Start, gstreamer: ModuleType, tmp_path: Path) -> None:
    """The recording hits the limit for file sizes of its process; the stream goes on."""
    receiver = build_pipeline(
        Description(
            'udpsrc name=udp address=127.0.0.1 caps="application/x-rtp,media=(string)video,'
            'clock-rate=(int)90000,encoding-name=(string)H264,payload=(int)96" ! '
            "rtph264depay ! h264parse ! decodebin ! appsink name=out sync=false max-buffers=500",
            {"udp": {"port": 0}},
        )
    )
    start_pipeline(receiver, time.monotonic_ns())
    port = receiver.get_by_name("udp").get_property("port")
    try:
        run = start(
            rig_text(outputs=("file://out.mkv", f"rtp://127.0.0.1:{port}"), more="stall_ms = 60000\n"),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT)),
        )
        until(lambda: run.has_status() and "closed" in run.status()["outputs"]["file://out.mkv"])
        assert not (tmp_path / "out.mkv").exists()
        appsink = receiver.get_by_name("out")
        while appsink.try_pull_sample(0) is not None:
            pass
        received = sum(appsink.try_pull_sample(60 * gstreamer.SECOND) is not None for _ in range(20))
        assert received == 20
        until(lambda: run.status()["state"] == "fusing")
        run.process.send_signal(signal.SIGINT)
        code, errors = run.end()
    finally:
        stop_pipeline(receiver)
    assert code == 0
    # A failure is told once, however often opening is tried; if 40 kB last a second, it works between.
    told = [line for line in errors.splitlines() if "output file://out.mkv:" in line]
    assert told
    assert [line.endswith(": works again") for line in told] == [
        bool(index % 2) for index in range(len(told))
    ]
    assert "output rtp" not in errors
    # The end may have found it open and whole.
    if (tmp_path / "out.mkv").exists():
        assert film_size(gstreamer, tmp_path / "out.mkv")[0] > 0
