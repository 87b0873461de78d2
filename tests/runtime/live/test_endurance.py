"""A long run at 30 frames a second: memory, threads and files stay flat, also while a camera is tried again.

IRVIS_ENDURANCE_S says for how long, 600 if it is unset; IRVIS_ENDURANCE_FPS how many frames a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .live_rigs import write_raw_cameras

SECONDS = float(os.environ.get("IRVIS_ENDURANCE_S", "600"))
FPS = float(os.environ.get("IRVIS_ENDURANCE_FPS", "30"))
SAMPLE_S = max(SECONDS / 120, 0.5)
WIDTH, HEIGHT = 320, 240

RIG = f"""
[visible]
source = "raw://visible.raw?width={WIDTH}&height={HEIGHT}&format=nv12&fps={FPS:g}"
[infrared]
source = "v4l2:///dev/no-such-camera"
[limits]
frozen_ms = 0
[picture]
corner = true
[[output]]
sink = "null://"
"""


def sample(pid: int) -> tuple[float, int, int]:
    """Resident MB, threads, and open files of a process."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    files = len(os.listdir(f"/proc/{pid}/fd"))
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["Threads"]), files


@pytest.mark.slow
@pytest.mark.usefixtures("gstreamer")
@pytest.mark.parametrize("infrared", ["raw", "absent"])
def test_a_long_run_does_not_grow(tmp_path: Path, infrared: str) -> None:
    """Once with both cameras, fused; once with one that is tried again for ever."""
    write_raw_cameras(tmp_path, (HEIGHT, WIDTH), 60)
    text = RIG
    if infrared == "raw":
        source = f"raw://infrared.raw?width={WIDTH}&height={HEIGHT}&format=gray16&fps={0.3 * FPS:g}"
        text = RIG.replace("v4l2:///dev/no-such-camera", source)
    (tmp_path / "rig.toml").write_text(text)
    seconds = SECONDS / 2
    command = [sys.executable, "-m", "irvis_runtime", "live", "rig.toml", "fusion.threads=1"]
    command += ["--model", str(shipped_model()), "--status", "status.json", "--seconds", str(seconds + 20)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=log)
    try:
        samples = watch(process, tmp_path / "status.json", seconds)
    finally:
        process.terminate()
        process.wait(60)
    assert process.returncode == 0
    memory_mb, threads, files = (np.array(values) for values in zip(*samples, strict=True))
    # The first third warms up: allocators, the decoders' pools, the percentiles' windows.
    steady = slice(len(samples) // 3, None)
    hours = np.arange(len(samples))[steady] * SAMPLE_S / 3600
    slope_mb_h = float(np.polyfit(hours, memory_mb[steady], 1)[0])
    pictures = json.loads((tmp_path / "status.json").read_text())["frames"]
    memory = f"{memory_mb[steady].mean():.1f} MB, {slope_mb_h:+.2f} MB/h"
    print(f"{infrared}: {pictures} pictures in {seconds:g} s, {memory}")
    assert memory_mb[steady].max() - memory_mb[steady].min() < 6
    # Medians: the status file is open for a moment once a second, a camera's pipeline while it is tried.
    first = slice(0, len(samples) // 3)
    assert np.median(threads[steady]) <= np.median(threads[first])
    assert np.median(files[steady]) <= np.median(files[first])


def shipped_model() -> Path:
    from irvis_runtime.shipped_models import default_model_dir

    return default_model_dir().parent / "irvis-n"


def watch(process: subprocess.Popen[bytes], status: Path, seconds: float) -> list[tuple[float, int, int]]:
    """Samples from the tenth picture on; the pictures must go on."""
    told: dict[str, Any] = {"frames": 0}
    end_s = time.monotonic() + 60
    while told["frames"] < 10:
        assert process.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.2)
        told = json.loads(status.read_text()) if status.exists() else told
    samples, frames = [], 0
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        time.sleep(SAMPLE_S)
        assert process.poll() is None
        samples.append(sample(process.pid))
    frames = json.loads(status.read_text())["frames"]
    # A starved machine makes fewer pictures than it is sent, and leaks no less.
    assert frames > told["frames"] + FPS * seconds / 15
    return samples
