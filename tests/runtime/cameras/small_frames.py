"""Rigs and frames of 51x41 for the tests of what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.cameras.frames import Frame
from irvis_runtime.config import from_mapping
from irvis_runtime.rig import Rig

MS = 1_000_000
HEIGHT, WIDTH = 41, 51


def rig(**tables: Any) -> Rig:
    mapping = {
        "visible": {"source": "test://"},
        "infrared": {"source": "test://"},
        "output": [{"sink": "null://"}],
    }
    return from_mapping(Rig, {**mapping, **tables}, "test")


def visible(time_ms: int, *, is_full: bool = True, seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    luma_hw = rng.integers(16, 236, (HEIGHT, WIDTH)).astype(np.uint8)
    chroma = rng.integers(0, 256, (-(-HEIGHT // 2), 2 * (-(-WIDTH // 2)))).astype(np.uint8)
    return Frame(luma_hw, chroma, time_ms * MS, "1:4:0:0" if is_full else "bt709", is_full)


def infrared(time_ms: int, luma_hw: NDArray[Any] | None = None) -> Frame:
    if luma_hw is None:
        luma_hw = np.tile(np.arange(WIDTH, dtype=np.uint8) * 5, (HEIGHT, 1))
    return Frame(luma_hw, None, time_ms * MS, "1:4:0:0", True)
