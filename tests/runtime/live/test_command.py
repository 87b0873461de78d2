"""`irvis live` as a process: signals, logs, profiles, the pipelines' texts, and no listening port."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from irvis_runtime.gstreamer import Description, build_pipeline, launch_text
from irvis_runtime.live.command import main

from .live_rigs import Notified, play, until, write_raw_cameras

WIDTH, HEIGHT = 64, 48

RIG = """
[visible]
source = "raw://visible.raw?width=64&height=48&format=nv12&fps=30"
[infrared]
source = "raw://infrared.raw?width=64&height=48&format=gray16&fps=10"
[[output]]
sink = "null://"
"""


@pytest.fixture(autouse=True)
def folder(gstreamer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with raw cameras and a rig, the working directory."""
    write_raw_cameras(tmp_path, (HEIGHT, WIDTH), 10)
    (tmp_path / "rig.toml").write_text(RIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts `irvis live rig.toml ...`, its stderr in the file `log`; killed after the test."""
    runs = []

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "irvis_runtime", "live", "rig.toml", *arguments]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=log, text=True)
        runs.append(process)
        return process

    yield begin
    for process in runs:
        process.kill()
        process.wait()


def status(folder: Path) -> dict[str, Any]:
    path = folder / "status.json"
    return json.loads(path.read_text()) if path.exists() else {"state": None, "frames": 0}


def test_sighup_reads_the_rig_again_and_systemd_is_told(folder: Path, start: Start) -> None:
    with closing(Notified(folder / "notify")) as notified:
        process = start("--status", "status.json", "--log", "json", NOTIFY_SOCKET=str(folder / "notify"))
        until(lambda: "READY=1" in notified.lines() and status(folder)["state"] == "fusing")
        (folder / "rig.toml").write_text(RIG + "[limits]\nhold_ms = 77\n")
        process.send_signal(signal.SIGHUP)
        until(lambda: notified.lines().count("READY=1") == 2)
        heard = notified.lines()
        assert heard.index("READY=1") < heard.index("RELOADING=1") < len(heard) - heard[::-1].index("READY=1")
        assert any(line.startswith("MONOTONIC_USEC=") for line in heard)
        frames = status(folder)["frames"]
        until(lambda: bool(notified.lines()) and status(folder)["frames"] > frames)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    assert all({"time", "message"} <= set(line) for line in lines)
    assert lines[0]["message"].startswith("onnxruntime ")
    assert {line["camera"] for line in lines if line["message"].endswith("camera running")} == {
        "visible",
        "infrared",
    }
    assert any(line.get("state") == "fusing" for line in lines)
    assert any(line.get("event") == "reload" and line["is_done"] for line in lines)
    assert lines[-1]["state"] == "stopped"


def test_nothing_listens_and_the_status_has_the_public_keys(folder: Path, start: Start) -> None:
    process = start("--status", "status.json")
    until(lambda: status(folder)["state"] == "fusing")
    sockets = [
        os.readlink(f"/proc/{process.pid}/fd/{name}") for name in os.listdir(f"/proc/{process.pid}/fd")
    ]
    inodes = {link[8:-1] for link in sockets if link.startswith("socket:[")}
    listening = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]:
            listening.add(line.split()[9])
    assert inodes & listening == set()
    told = status(folder)
    assert {
        "state", "frames", "fps", "latency_ms", "skew_ms", "dropped", "backend", "precision", "versions",
        "temperature_c", "slates", "cuts", "forms", "cameras", "outputs", "running_s",
    } <= set(told)  # fmt: skip
    assert told["forms"] == {"visible": "64x48 NV12", "infrared": "64x48 GRAY16_LE"}


@pytest.mark.parametrize("arguments", [["--without-network"], []])
def test_a_profile_names_every_stage(folder: Path, arguments: list[str]) -> None:
    stages = {
        "pull visible", "pull infrared", "infrared to 8 bit", "pair", "register", "luma range", "fill",
        "context", "fuse", "push", "send null://",
    }  # fmt: skip

    def profile() -> dict[str, Any]:
        table: dict[str, Any] = json.loads((folder / "profile.json").read_text())
        return table

    def is_past_the_warm_up() -> bool:
        return profile()["frames"] > 0 and stages <= set(profile()["stages"])

    play(main, ["rig.toml", "--profile", "profile.json", *arguments], is_past_the_warm_up)
    table = profile()
    assert table["frames"] > 0
    assert table["process_cpu_ms_per_frame"] > 0
    assert (table["backend"] == "none") == bool(arguments)


def test_a_profile_of_a_run_that_was_too_short_has_no_numbers(folder: Path) -> None:
    # 8 pictures in the longest of these runs, 30 are the warm-up.
    (folder / "rig.toml").write_text(RIG.replace("fps=30", "fps=0.5"))
    play(main, ["rig.toml", "--profile", "profile.json", "--without-network"], seconds=(0.4, 4.0, 16.0))
    table = json.loads((folder / "profile.json").read_text())
    assert (table["frames"], table["process_cpu_ms_per_frame"]) == (0, None)


def test_the_pipelines_are_shown_and_none_is_opened(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "rig.toml").write_text(
        '[visible]\nsource = "v4l2:///dev/v4l/by-id/usb-a%20b?format=mjpeg"\n'
        '[infrared]\nsource = "rtsp://admin:secret@10.0.0.2/live"\n[[output]]\nsink = "null://"\n'
    )
    assert main(["rig.toml", "--print-pipeline", "--platform", "generic"]) == 0
    visible, infrared = capsys.readouterr().out.splitlines()
    assert visible.startswith('visible: v4l2src name=source device="/dev/v4l/by-id/usb-a b" ')
    assert " ! image/jpeg ! " in visible
    assert "secret" not in infrared
    assert 'location="rtsp://admin:***@10.0.0.2/live"' in infrared
    assert main(["rig.toml", "--print-pipeline", "--platform", "jetson"]) == 0
    assert capsys.readouterr().out.count("nvvidconv") == 2


def test_a_shown_pipeline_is_one_that_gst_launch_takes(tmp_path: Path) -> None:
    awkward = tmp_path / 'a "b" ! \\c.raw'
    awkward.write_bytes(bytes(100))
    description = Description(
        "filesrc name=source ! fakesink name=out",
        {"source": {"location": str(awkward)}, "out": {"sync": False}},
    )
    text = launch_text(description)
    pipeline = build_pipeline(Description(text))
    assert pipeline.get_by_name("source").get_property("location") == str(awkward)
    if shutil.which("gst-launch-1.0"):
        done = subprocess.run(
            f"gst-launch-1.0 -q {text}" if "\\" not in text else "true", shell=True, check=False
        )
        assert done.returncode == 0


def test_fields_may_follow_options(folder: Path) -> None:
    play(
        main, ["rig.toml", "--without-network", "limits.hold_ms=5", "--log", "text"], seconds=(0.4, 4.0, 16.0)
    )
