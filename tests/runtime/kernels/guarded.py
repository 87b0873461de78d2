"""Runs every kernel with each buffer between two pages that nobody may touch; a fault ends the process.

`python guarded.py` ends with 0; `python guarded.py before` and `after` touch one byte too many, and must not.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.kernels.library import LEVELS, Kernels, kernels
from irvis_runtime.kernels.warp import plan_warp

PROT_NONE = 0
SIZES_HW = ((3, 16), (3, 17), (5, 31), (64, 64), (65, 97), (200, 161))
KEPT: list[mmap.mmap] = []


class Guarded:
    """Gives out arrays that begin behind or end before a page without any rights."""

    def __init__(self, is_at_end: bool) -> None:
        self.is_at_end = is_at_end

    def empty(self, shape: tuple[int, ...], dtype: Any = np.uint8) -> NDArray[Any]:
        """An array of that shape at the edge."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        inside = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(-1, inside + 2 * mmap.PAGESIZE)
        KEPT.append(memory)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for page in (start, start + mmap.PAGESIZE + inside):
            if protect(page, mmap.PAGESIZE, PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")
        first = mmap.PAGESIZE + (inside - size if self.is_at_end else 0)
        return np.frombuffer(memory, dtype, int(np.prod(shape)), first).reshape(shape)

    def copy(self, values: NDArray[Any]) -> NDArray[Any]:
        """The same values at the edge."""
        made = self.empty(values.shape, values.dtype)
        made[...] = values
        return made


def run_all(compiled: Kernels, guarded: Guarded, size_hw: tuple[int, int], rng: np.random.Generator) -> None:
    """Each kernel once, its result compared with that of plain arrays."""
    picture_hw = rng.integers(0, 256, size_hw, np.uint8)
    edge_hw = guarded.copy(picture_hw)
    for upright_hw, plain_hw in ((edge_hw, picture_hw), (edge_hw[::-1], picture_hw[::-1])):
        means = guarded.empty((64, 64), np.float32)
        compiled.area_means(upright_hw, means)
        expected = np.empty((64, 64), np.float32)
        compiled.area_means(plain_hw.copy(), expected)
        assert np.array_equal(means, expected)
        for width in (8, 13, 24):
            warp_once(compiled, guarded, upright_hw, plain_hw.copy(), width, rng)
    counts_hw = rng.integers(0, LEVELS, size_hw, np.uint16)
    table = rng.integers(0, 256, LEVELS, np.uint8)
    looked_up_hw = compiled.look_up(guarded.copy(table), guarded.copy(counts_hw))
    assert np.array_equal(looked_up_hw, table[counts_hw])


def warp_once(
    compiled: Kernels,
    guarded: Guarded,
    edge_hw: NDArray[np.uint8],
    picture_hw: NDArray[np.uint8],
    width: int,
    rng: np.random.Generator,
) -> None:
    """All of the source's corners are taken; map, starts and target lie at an edge, too."""
    rows, columns = picture_hw.shape
    y_hw = np.repeat(np.linspace(0, rows - 1, 9)[:, None], width, axis=1).astype(np.float32)
    x_hw = np.clip(rng.uniform(-9, columns + 8, (9, 1)) + 1.5 * np.arange(width), 0, columns - 1)
    x_hw[0], x_hw[-1] = 0, columns - 1
    warp = plan_warp(compiled, x_hw.astype(np.float32), y_hw, (rows, columns))
    assert warp is not None
    target_hw = guarded.empty((9, width))
    compiled.warp(edge_hw, guarded.copy(warp.starts), guarded.copy(warp.maps), target_hw)
    assert np.array_equal(target_hw, warp(picture_hw))


def touch(guarded: Guarded, offset: int) -> None:
    """Reads a byte that is not of the array."""
    values = guarded.empty((100,))
    ctypes.string_at(values.ctypes.data + offset, 1)


def main(what: str) -> None:
    """Everything, or one byte too many."""
    if what == "before":
        touch(Guarded(is_at_end=False), -1)
    elif what == "after":
        touch(Guarded(is_at_end=True), 100)
    else:
        compiled = kernels()
        assert compiled is not None
        for is_at_end in (False, True):
            for size_hw in SIZES_HW:
                run_all(compiled, Guarded(is_at_end), size_hw, np.random.default_rng(0))


if __name__ == "__main__":
    main(sys.argv[1])
