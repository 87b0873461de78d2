"""Pictures for a StandInFuser, and how long they are given to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.live.stand_in import StandInFuser

from .live_rigs import until

SIZE_HW = (24, 32)
PATIENT_MS = 1e9
"""No stand-in is too slow for it, whatever else this machine does."""

Open = Callable[..., StandInFuser]
Child = Callable[..., Path]


def pictures(
    seed: int = 0, size_hw: tuple[int, int] = SIZE_HW
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    both = np.random.default_rng(seed).integers(0, 256, (2, *size_hw), np.uint8)
    return both[0], both[1]


def fuse_until(fuser: StandInFuser, is_so: Callable[[], bool], size_hw: tuple[int, int] = SIZE_HW) -> None:
    """Fuses pictures until something is so; the test fails where it does not come."""

    def is_so_after_a_picture() -> bool:
        if is_so():
            return True
        fuser.fuse(*pictures(size_hw=size_hw))
        return False

    until(is_so_after_a_picture)


def is_engine(fuser: StandInFuser) -> Callable[[], bool]:
    return lambda: fuser.backend == "tensorrt" and fuser._is_engine_serving
