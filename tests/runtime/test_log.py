"""The live run's log where it cannot be written: the line is lost, and nothing else is."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest

from irvis_runtime.log import choose_log, log

PATTERN = "test://?width=64&height=48&fps=15&pattern=ball"
RIG = f"""
[visible]
source = "{PATTERN}"
[infrared]
source = "{PATTERN}"
[[output]]
sink = "null://"
[limits]
start_ms = 60000.0
"""


def fill(pipe: int) -> None:
    """Leaves no room in a pipe that nobody reads."""
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x")
    os.set_blocking(pipe, True)


@pytest.mark.parametrize("kind", ["full", "gone", "stuck", "closed"])
def test_a_flight_goes_on_without_its_log(kind: str, gstreamer: ModuleType, tmp_path: Path) -> None:
    """A full disk (`2>/dev/full`), a reader that is gone or stopped (`| tee`, ssh), no stderr (`2>&-`)."""
    (tmp_path / "rig.toml").write_text(RIG)
    status = tmp_path / "status.json"
    if kind == "full":
        stderr = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, stderr = os.pipe()
        if kind == "stuck":
            fill(stderr)
        else:
            os.close(reading)
    redirection = "2>&-" if kind == "closed" else ""
    live = [sys.executable, "-m", "irvis_runtime", "live", "rig.toml", "--without-network"]
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *live, "--status", str(status)],
        cwd=tmp_path,
        stderr=stderr,
    )
    os.close(stderr)
    try:
        end_s = time.monotonic() + 180
        while not (status.exists() and json.loads(status.read_text())["frames"] > 5):
            assert process.poll() is None, "it ended"
            assert time.monotonic() < end_s, "no picture came"
            time.sleep(0.05)
        process.terminate()
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
    assert json.loads(status.read_text())["state"] == "stopped"


def test_a_stream_that_is_closed_takes_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    log("fusing")


def test_the_forms_of_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        log("fusing", state="fusing")
        choose_log("json")
        log("camera lost", camera="visible", file=Path("x"))
    finally:
        choose_log("text")
    text, line = capsys.readouterr().err.splitlines()
    assert text == "irvis live: fusing"
    told = json.loads(line)
    assert told.pop("time").endswith("+00:00")
    assert told == {"message": "camera lost", "camera": "visible", "file": "x"}
