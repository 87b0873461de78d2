"""The compiled kernels of this machine, where there are some; else NumPy and OpenCV do the same, slower."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.errors import ContractError

INTERFACE = 2
"""Of kernels.c's functions, as this file calls them."""
SWITCH = "IRVIS_KERNELS"
"""Environment variable: `off` leaves the kernels out, for comparisons and to find a fault."""
Floats = NDArray[np.float32]
MAX_PIXELS, MAX_ROWS = 2**24, 2**14
"""Of irvis_area_means: of more its sums would overflow."""
LEVELS = 65536


class Kernels:
    """kernels.c's functions on arrays. Sizes are the caller's business where a docstring says so.

    OSError or AttributeError where the file is no such library.
    """

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        pointer, size, integer = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int
        self.interface = int(library.irvis_kernels_interface())
        self.runs_here = bool(library.irvis_kernels_run_here())
        self._warp = library.irvis_warp
        self._warp.argtypes = (pointer, size, pointer, pointer, integer, integer, pointer)
        self._area_means = library.irvis_area_means
        self._area_means.argtypes = (pointer, size, integer, integer, pointer, pointer)
        self._look_up = library.irvis_look_up
        self._look_up.argtypes = (pointer, size, integer, integer, pointer, pointer)
        self._ranges = (library.irvis_to_full_range, library.irvis_to_limited_range)
        for function in self._ranges:
            function.argtypes = (pointer, size, integer, integer, pointer)
        self._follow = library.irvis_follow
        self._follow.argtypes = (*3 * (pointer,), *2 * (ctypes.c_float,), integer, *2 * (pointer,))
        self._compare_blocks = library.irvis_compare_blocks
        self._compare_blocks.argtypes = (*2 * (pointer,), *2 * (ctypes.c_float,), pointer)
        per_picture = (self._warp, self._area_means, self._look_up, *self._ranges)
        for function in (*per_picture, self._follow, self._compare_blocks):
            function.restype = None

    def warp(
        self,
        picture_hw: NDArray[np.uint8],
        starts: NDArray[np.uint16],
        maps: NDArray[np.uint8],
        warped_hw: NDArray[np.uint8],
    ) -> None:
        """Fills `warped_hw`, contiguous; `warp.plan_warp` makes `starts` and `maps` for these sizes."""
        picture_hw = _rows_of_bytes(picture_hw)
        height, width = warped_hw.shape
        start, stride = picture_hw.ctypes.data, picture_hw.strides[0]
        self._warp(start, stride, starts.ctypes.data, maps.ctypes.data, height, width, warped_hw.ctypes.data)

    def area_means(self, picture_hw: NDArray[np.uint8], means: NDArray[np.float32]) -> None:
        """Fills `means`, contiguous (64, 64), from a picture of at most `MAX_PIXELS` and `MAX_ROWS`."""
        picture_hw = _rows_of_bytes(picture_hw)
        height, width = picture_hw.shape
        sums = np.empty(width + 1, np.uint32)
        start, stride = picture_hw.ctypes.data, picture_hw.strides[0]
        self._area_means(start, stride, height, width, sums.ctypes.data, means.ctypes.data)

    def look_up(self, table: NDArray[np.uint8], counts_hw: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """Returns each count's entry of the table, contiguous; ContractError for a table not of `LEVELS`."""
        if table.shape != (LEVELS,) or table.dtype != np.uint8 or not table.flags.c_contiguous:
            raise ContractError(
                f"table: expected a contiguous uint8 ({LEVELS},), got {table.dtype} {table.shape}"
            )
        if counts_hw.strides[1] != 2:
            counts_hw = np.ascontiguousarray(counts_hw)
        height, width = counts_hw.shape
        greys_hw = np.empty((height, width), np.uint8)
        start, stride = counts_hw.ctypes.data, counts_hw.strides[0]
        self._look_up(start, stride, height, width, table.ctypes.data, greys_hw.ctypes.data)
        return greys_hw

    def to_full_range(self, limited_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns luma with black 16 at 0 and white 235 at 255, contiguous."""
        return self._to_range(0, limited_hw)

    def to_limited_range(self, full_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns luma with 0 at 16 and 255 at 235, contiguous."""
        return self._to_range(1, full_hw)

    def _to_range(self, which: int, luma_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
        luma_hw = _rows_of_bytes(luma_hw)
        height, width = luma_hw.shape
        other_hw = np.empty((height, width), np.uint8)
        self._ranges[which](luma_hw.ctypes.data, luma_hw.strides[0], height, width, other_hw.ctypes.data)
        return other_hw

    def follow(
        self, goal: Floats, first: Floats, second: Floats, elapsed: float, left: float
    ) -> tuple[Floats, Floats]:
        """Returns both stages of `ContextSmoother` after a step; ContractError where sizes differ."""
        goal, first, second = _contiguous(goal.size, goal, first, second)
        next_first, next_second = np.empty_like(goal), np.empty_like(goal)
        before = (goal.ctypes.data, first.ctypes.data, second.ctypes.data)
        self._follow(*before, elapsed, left, goal.size, next_first.ctypes.data, next_second.ctypes.data)
        return next_first, next_second

    def compare_blocks(self, now: Floats, before: Floats, least: float, alike: float) -> NDArray[np.intc]:
        """Returns for each thumbnail how many blocks can be compared, and of those are unalike, (2, 2).

        ContractError where the contexts are not of two thumbnails of 64 x 64.
        """
        now, before = _contiguous(2 * 64 * 64, now, before)
        counts = np.empty((2, 2), np.intc)
        self._compare_blocks(now.ctypes.data, before.ctypes.data, least, alike, counts.ctypes.data)
        return counts


def kernels() -> Kernels | None:
    """Returns this machine's kernels, or None; `describe_kernels` says why."""
    return _found()[0]


def kind_of_kernels() -> Literal["compiled", "none"]:
    """Returns the word by which files of measurements say what served."""
    return "none" if kernels() is None else "compiled"


def describe_kernels() -> str:
    """Returns a line for the log: compiled and for which machine, or none and why."""
    found, reason = _found()
    if found is None:
        return f"kernels: none ({reason}); NumPy and OpenCV do their work, at several times the CPU's"
    return f"kernels: compiled, {platform.machine()}"


@lru_cache(maxsize=1)
def _found() -> tuple[Kernels | None, str]:
    if os.environ.get(SWITCH, "") == "off":
        return None, f"{SWITCH}=off"
    path = Path(__file__).with_name(f"kernels-{platform.machine()}.so")
    if not path.is_file():
        return None, f"{path.name} is not there: another machine than they are built for, or an unbuilt clone"
    try:
        found = Kernels(path)
    except (OSError, AttributeError) as error:
        return None, str(error)
    if found.interface != INTERFACE:
        return None, f"{path.name} is of another version of irvis, run `make install` in the clone"
    if not found.runs_here:
        return None, "this CPU lacks SSSE3"
    return found, ""


def _rows_of_bytes(picture_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture, or a copy where its pixels do not lie side by side."""
    return picture_hw if picture_hw.strides[1] == 1 else np.ascontiguousarray(picture_hw)


def _contiguous(size: int, *values: Floats) -> list[Floats]:
    """The values as the kernels read them, copied where they lie or are otherwise."""
    if any(one.size != size for one in values):
        raise ContractError(
            f"kernels: expected {size} values, got {', '.join(str(one.shape) for one in values)}"
        )
    return [np.ascontiguousarray(one, np.float32) for one in values]
