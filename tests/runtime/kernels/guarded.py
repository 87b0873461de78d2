"""Runs every kernel with each buffer between two pages that nobody may touch; a fault ends the process.

`python guarded.py all LIBRARY` ends with 0; `python guarded.py before` and `after` touch one byte too many,
and must not.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.kernels.library import LEVELS, Kernels
from irvis_runtime.kernels.warp import plan_warp

PROT_NONE = 0
SIZES_HW = ((1, 1), (3, 16), (3, 17), (5, 31), (64, 64), (65, 97), (200, 161))
KEPT: list[mmap.mmap] = []
Picture = NDArray[np.uint8]


class Guarded:
    """Gives out arrays that begin behind or end before a page without any rights."""

    def __init__(self, is_at_end: bool) -> None:
        self.is_at_end = is_at_end

    def empty(self, shape: tuple[int, ...], dtype: Any = np.uint8, spare: int = 0) -> NDArray[Any]:
        """An array of that shape at the edge, or some bytes away from it."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        inside = -(-(size + spare) // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(-1, inside + 2 * mmap.PAGESIZE)
        KEPT.append(memory)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for page in (start, start + mmap.PAGESIZE + inside):
            if protect(page, mmap.PAGESIZE, PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")
        first = mmap.PAGESIZE + (inside - size - spare if self.is_at_end else spare)
        return np.frombuffer(memory, dtype, int(np.prod(shape)), first).reshape(shape)

    def copy(self, values: NDArray[Any], spare: int = 0) -> NDArray[Any]:
        """The same values there."""
        made = self.empty(values.shape, values.dtype, spare)
        made[...] = values
        return made


def check_pictures(compiled: Kernels, guarded: Guarded, size_hw: tuple[int, int]) -> None:
    """What takes a picture, upright and with a negative stride; each result beside that of plain arrays."""
    rng = np.random.default_rng(0)
    picture_hw = rng.integers(0, 256, size_hw, np.uint8)
    edge_hw = guarded.copy(picture_hw)
    for there_hw, plain_hw in ((edge_hw, picture_hw), (edge_hw[::-1], picture_hw[::-1].copy())):
        means, expected = guarded.empty((64, 64), np.float32), np.empty((64, 64), np.float32)
        compiled.area_means(there_hw, means)
        compiled.area_means(plain_hw, expected)
        assert np.array_equal(means, expected)
        assert np.array_equal(compiled.to_full_range(there_hw), compiled.to_full_range(plain_hw))
        assert np.array_equal(compiled.to_limited_range(there_hw), compiled.to_limited_range(plain_hw))
        if size_hw >= (3, 16):
            for width in (8, 13, 24):
                check_warp(compiled, guarded, there_hw, plain_hw, width)
    counts_hw, table = rng.integers(0, LEVELS, size_hw, np.uint16), rng.integers(0, 256, LEVELS, np.uint8)
    for spare in (0, 1):
        looked_up_hw = compiled.look_up(guarded.copy(table), guarded.copy(counts_hw, spare))
        assert np.array_equal(looked_up_hw, table[counts_hw])


def check_warp(
    compiled: Kernels, guarded: Guarded, edge_hw: Picture, picture_hw: Picture, width: int
) -> None:
    """All of the source's corners are taken; map, starts and target lie at an edge, too."""
    rng, (rows, columns) = np.random.default_rng(width), picture_hw.shape
    y_hw = np.repeat(np.linspace(0, rows - 1, 9)[:, None], width, axis=1).astype(np.float32)
    x_hw = np.clip(rng.uniform(-9, columns + 8, (9, 1)) + 1.5 * np.arange(width), 0, columns - 1)
    x_hw[0], x_hw[-1] = 0, columns - 1
    warp = plan_warp(compiled, x_hw.astype(np.float32), y_hw, (rows, columns))
    assert warp is not None
    target_hw = guarded.empty((9, width))
    compiled.warp(edge_hw, guarded.copy(warp.starts), guarded.copy(warp.maps), target_hw)
    assert np.array_equal(target_hw, warp(picture_hw))


def check_contexts(compiled: Kernels, guarded: Guarded) -> None:
    """What takes contexts."""
    plain = np.random.default_rng(0).uniform(0, 255, (3, 1, 2, 64, 64)).astype(np.float32)
    edge = [guarded.copy(context) for context in plain]
    after = compiled.follow(edge[0], edge[1], edge[2], 0.1, 0.9)
    assert np.array_equal(after, compiled.follow(plain[0], plain[1], plain[2], 0.1, 0.9))
    counts = compiled.compare_blocks(edge[0], edge[1], 576, 0.5)
    assert np.array_equal(counts, compiled.compare_blocks(plain[0], plain[1], 576, 0.5))


def touch(guarded: Guarded, offset: int) -> None:
    """Reads a byte that is not of the array."""
    values = guarded.empty((100,))
    ctypes.string_at(values.ctypes.data + offset, 1)


def main(what: str, *library: str) -> None:
    """Everything, or one byte too many."""
    if what == "before":
        touch(Guarded(is_at_end=False), -1)
    elif what == "after":
        touch(Guarded(is_at_end=True), 100)
    else:
        compiled = Kernels(Path(*library))
        for is_at_end in (False, True):
            check_contexts(compiled, Guarded(is_at_end))
            for size_hw in SIZES_HW:
                check_pictures(compiled, Guarded(is_at_end), size_hw)


if __name__ == "__main__":
    main(*sys.argv[1:])
