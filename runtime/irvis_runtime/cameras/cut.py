"""Whether a scene was cut: another picture altogether, not a change within one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.kernels.library import kernels

BLOCKS, SIDE = 8, 8
"""A thumbnail as 8x8 blocks of 8x8 values."""
TEXTURE_LEVELS = 3.0
"""Standard deviation, in levels of 255, from which a block has structure that can be compared."""
LEAST_BLOCKS = 16
ALIKE = 0.5
"""Correlation below which a block shows something else."""
CHANGED_SHARE = 0.65


class CutDetector:
    """Compares each frame's context with the last one's, block by block.

    A cut is seen where in one camera's thumbnail at least 16 of the 64 blocks had structure before and have
    it now, and 65 % of them correlate below 0.5. Correlation knows no gain and offset: exposure, AGC and a
    shutter's offset are no cut. A lamp or a hot patch changes the blocks that it covers; a flash leaves no
    structure to compare.
    """

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def is_cut(self, context: NDArray[np.float32]) -> bool:
        """Takes the context (1, 2, 64, 64) of the next frame; the first one is no cut."""
        last, self._last = self._last, context
        if last is None:
            return False
        compiled = kernels()
        least = SIDE**2 * TEXTURE_LEVELS**2
        compare = _compare_blocks if compiled is None else compiled.compare_blocks
        return any(
            compared >= LEAST_BLOCKS and unalike >= CHANGED_SHARE * compared
            for compared, unalike in compare(context, last, least, ALIKE).tolist()
        )

    def reset(self) -> None:
        """Forgets the last frame."""
        self._last = None


def _compare_blocks(
    now: NDArray[np.float32], before: NDArray[np.float32], least: float, alike: float
) -> NDArray[np.int_]:
    """For each thumbnail how many blocks can be compared, and how many of those are unalike, (2, 2)."""
    one, two = (_centred_blocks(context) for context in (now, before))
    energy_one, energy_two, product = (
        np.einsum("cbi,cbi->cb", *pair) for pair in ((one, one), (two, two), (one, two))
    )
    is_comparable = (energy_one > least) & (energy_two > least)
    is_unalike = is_comparable & (product < alike * np.sqrt(energy_one * energy_two))
    return np.stack([is_comparable.sum(axis=1), is_unalike.sum(axis=1)], axis=1)


def _centred_blocks(context: NDArray[np.float32]) -> NDArray[np.float32]:
    """The blocks of both thumbnails about their means, (2, 64, 64)."""
    blocks = context.reshape(2, BLOCKS, SIDE, BLOCKS, SIDE).swapaxes(2, 3).reshape(2, BLOCKS**2, SIDE**2)
    centred: NDArray[np.float32] = blocks - blocks.mean(axis=2, keepdims=True)
    return centred
