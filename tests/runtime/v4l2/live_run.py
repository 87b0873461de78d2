"""`irvis live` in the virtual machine, watched through its status file and its log."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from irvis_runtime import default_model_dir

from .machine import GUEST, Machine

LIMIT_S = 300.0
"""For every wait: the machine is emulated, and its host may be busy."""
LONGEST_GAP_S = 30.0
"""What may pass between two pictures here: `lost_ms` of the rig below, and that the machine is slow."""
POLL_S = 0.25
# An emulated processor takes 0.3 s for a picture, and the machine below it may be busy: the limits are wide.
RIG = f"""
[visible]
source = "v4l2:///dev/cameras/visible?width=320&height=180&fps=10&format=VISIBLE"
[infrared]
source = "v4l2:///dev/cameras/infrared?width=320&height=180&fps=10&format=y16"
[fusion]
model = "{default_model_dir().parent / "irvis-n"}"
precision = "int8"
[limits]
max_skew_ms = 1000
hold_ms = 4000
lost_ms = 8000
restart_ms = 12000
start_ms = 60000
[[output]]
sink = "null://"
"""


class LiveRun:
    """A run of one rig; a context that stops it."""

    def __init__(self, machine: Machine, name: str, rig: str) -> None:
        self._machine, self._folder = machine, machine.folder / name
        self._folder.mkdir()
        (self._folder / "rig.toml").write_text(rig)
        arguments = ["pushed", "live", "rig.toml", "--status", "status.json"]
        command = shlex.join([sys.executable, str(GUEST / "noted_live.py"), *arguments])
        machine.run(f"cd {shlex.quote(str(self._folder))}; {command} >log 2>&1 </dev/null & echo $! >pid")

    def __enter__(self) -> LiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        pid = shlex.quote(str(self._folder / "pid"))
        self._machine.run(f"pid=$(cat {pid}); kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.2; done")

    def status(self) -> dict[str, Any]:
        """The newest status; of state "starting" where there is none yet."""
        path = self._folder / "status.json"
        if not path.exists():
            return {"state": "starting", "frames": 0, "cameras": {}}
        status: dict[str, Any] = json.loads(path.read_text())
        return status

    def log(self) -> list[str]:
        """What the run has said."""
        return Path(self._folder / "log").read_text(errors="replace").splitlines()

    def pushed_s(self) -> list[float]:
        """When each picture went to the output, on the guest's monotonic clock."""
        return [float(line) for line in (self._folder / "pushed").read_text().splitlines()]

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Waits for a status of which `wanted` is true and returns it; fails with the log where none is."""
        end_s = time.monotonic() + LIMIT_S
        while time.monotonic() < end_s:
            status = self.status()
            if wanted(status):
                return status
            time.sleep(POLL_S)
        log = "\n".join(self.log())
        raise AssertionError(f"not within {LIMIT_S:g} s; the status is {self.status()}, the log\n{log}")

    def until_state(self, state: str) -> dict[str, Any]:
        """Waits for a state."""
        return self.until(lambda status: status["state"] == state)

    def goes_on(self, state: str, frames: int = 5) -> dict[str, Any]:
        """Waits for so many more pictures, the last of them in `state`."""
        before = self.status()["frames"]
        return self.until(lambda status: status["state"] == state and status["frames"] >= before + frames)
