"""Pairs for the tests of `irvis bench`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from irvis_runtime.image import write_picture

SIZE_HW = (48, 64)


def write_pairs(folder: Path, count: int) -> Path:
    """Pairs of a gradient with a warm disc that moves from pair to pair."""
    rows, columns = np.mgrid[0 : SIZE_HW[0], 0 : SIZE_HW[1]]
    for number in range(count):
        disc = np.hypot(rows - 24, columns - 12 - 5 * number) < 8
        write_picture(folder / "ir" / f"{number}.png", np.where(disc, 230, 40 + rows).astype(np.uint8))
        colour = np.dstack([columns * 3, 255 - columns * 2, rows * 4]).astype(np.uint8)
        write_picture(folder / "vis" / f"{number}.png", colour)
    return folder
