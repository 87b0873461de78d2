"""What a live run costs, stage by stage: `irvis live --profile`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.atomic import write_text
from irvis_runtime.board import load_average
from irvis_runtime.stages import StageTimes

WARM_UP_FRAMES = 30


class NoNetwork:
    """Stands where the Fuser does and costs nothing: what is left is the cost of everything else."""

    backend, precision = "none", "none"
    description = "nothing fuses: the visible picture goes out"
    is_passing_through = False
    """Its pictures count as fused ones, so that the pairs are counted as such."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}

    def fuse(
        self,
        infrared_hw: NDArray[np.uint8],
        visible_hw: NDArray[np.uint8],
        context: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Returns the visible picture."""
        return visible_hw


class Profile:
    """CPU time of a run after its first 30 pictures: per stage, and of the whole process per picture."""

    def __init__(self, path: Path) -> None:
        self.path, self.times = path, StageTimes()
        self._first: int | None = None
        self._frames = 0
        self._cpu_s = self._wall_s = 0.0

    def follow(self, frames: int) -> None:
        """Begins where `frames` pictures, the warm-up, are out."""
        if self._first is None and frames >= WARM_UP_FRAMES:
            self.times.clear()
            self._first, self._cpu_s, self._wall_s = frames, time.process_time(), time.monotonic()

    def end(self, frames: int) -> None:
        """Ends after `frames` pictures: what stopping costs does not count."""
        self._frames = 0 if self._first is None else frames - self._first
        self._cpu_s, self._wall_s = time.process_time() - self._cpu_s, time.monotonic() - self._wall_s

    def write(self, facts: dict[str, Any]) -> None:
        """Writes the table; null where no picture followed the warm-up."""
        count = self._frames
        table = {
            **facts,
            "frames": count,
            "fps": round(count / self._wall_s, 2) if count else None,
            "process_cpu_ms_per_frame": round(1e3 * self._cpu_s / count, 4) if count else None,
            "stages": self.times.to_mapping(),
            "cpus": len(os.sched_getaffinity(0)),
            "load_average": load_average(),
        }
        write_text(self.path, json.dumps(table, indent=1) + "\n")
