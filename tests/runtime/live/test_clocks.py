"""The clock of the wall may jump: what a live run decides hangs on the monotonic one alone."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import irvis_runtime

from .live_rigs import rig_text, until

ROOT = Path(irvis_runtime.__file__).parent
LIVE = (
    "live/*.py",
    "cameras/*.py",
    "sinks/*.py",
    "thermal/*.py",
    "states.py",
    "stages.py",
    "log.py",
    "buffers.py",
    "gstreamer.py",
)
# They write the time down for people: a line of the log, the status file's `time`, a recording's name.
SHOWING = {"log.py", "live/status_form.py", "sinks/files.py"}
WALL = {"time", "now", "utcnow", "today", "localtime", "gmtime", "ctime", "clock_gettime"}


def wall_calls(path: Path) -> list[str]:
    """Calls of a clock of the wall, as in time.time() and datetime.now()."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WALL:
            owner = ast.unparse(node.func.value)
            if owner in ("time", "datetime", "date", "datetime.datetime"):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.func)}")
    return found


def test_no_decision_hangs_on_the_walls_clock() -> None:
    paths = {path for pattern in LIVE for path in ROOT.glob(pattern)}
    assert len(paths) > 45
    calls = [call for path in sorted(paths) for call in wall_calls(path)]
    deciding = [call for call in calls if call.split(":")[0] not in SHOWING]
    assert deciding == []
    assert calls, "the search finds the calls that are allowed"


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

static int (*real)(clockid_t, struct timespec *);

/* Two hours forth and back, every second. */
int clock_gettime(clockid_t which, struct timespec *now) {
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(which, now);
    if (which == CLOCK_REALTIME) {
        struct timespec steady;
        real(CLOCK_MONOTONIC, &steady);
        now->tv_sec += steady.tv_sec % 2 ? 7200 : -7200;
    }
    return code;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    now->tv_sec = wall.tv_sec;
    now->tv_usec = wall.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *where) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    if (where) *where = wall.tv_sec;
    return wall.tv_sec;
}
"""


UNTIL_IT_JUMPS = """
import time
wall, steady = time.time(), time.monotonic()
while abs(time.time() - wall) < 7000:
    time.sleep(0.1)
assert time.monotonic() - steady < 1000
"""


@pytest.mark.usefixtures("gstreamer")
def test_a_wall_clock_that_jumps_by_hours_each_second_changes_nothing(tmp_path: Path) -> None:
    """The process's real clock jumps, by a library that stands before the C library's."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    (tmp_path / "shim.c").write_text(SHIM)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"], cwd=tmp_path, check=True
    )
    environment = {**os.environ, "LD_PRELOAD": str(tmp_path / "shim.so")}
    subprocess.run([sys.executable, "-c", UNTIL_IT_JUMPS], env=environment, check=True, timeout=120)
    # No limit is in reach of a busy machine, and each is in reach of a jump.
    limits = "".join(f"{name}_ms = 100000\n" for name in ("max_skew", "hold", "lost", "restart", "start"))
    pattern = "test://?width=64&height=48&fps=20&pattern=ball"
    (tmp_path / "rig.toml").write_text(rig_text(pattern, pattern, more=f"[limits]\n{limits}"))
    command = [sys.executable, "-m", "irvis_runtime", "live", "rig.toml", "--without-network"]
    command += ["--status", "status.json"]
    status = tmp_path / "status.json"

    def told() -> dict[str, Any]:
        mapping: dict[str, Any] = json.loads(status.read_text()) if status.exists() else {"frames": 0}
        return mapping

    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            until(lambda: told()["frames"] > 40 and told()["running_s"] > 4)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    states = [line for line in errors.splitlines() if "camera" not in line]
    assert states[states.index("irvis live: fusing") :] == ["irvis live: fusing", "irvis live: stopped"]
    assert "lost" not in errors
    assert 0 < told()["latency_ms"]["p99"] < 1e6
    assert told()["running_s"] < 1000
