"""Whether a scene was cut: another picture altogether, not a change within one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
        blocks = (
            context.reshape(2, BLOCKS, SIDE, BLOCKS, SIDE).transpose(0, 1, 3, 2, 4).reshape(2, BLOCKS**2, -1)
        )
        centred = blocks - blocks.mean(axis=2, keepdims=True)
        last, self._last = self._last, centred
        if last is None:
            return False
        energy, energy_before = (np.einsum("cbi,cbi->cb", part, part) for part in (centred, last))
        least = SIDE**2 * TEXTURE_LEVELS**2
        is_comparable = (energy > least) & (energy_before > least)
        product = np.einsum("cbi,cbi->cb", centred, last)
        is_other = is_comparable & (product < ALIKE * np.sqrt(energy * energy_before))
        compared, other = is_comparable.sum(axis=1), is_other.sum(axis=1)
        return bool(((compared >= LEAST_BLOCKS) & (other >= CHANGED_SHARE * compared)).any())

    def reset(self) -> None:
        """Forgets the last frame."""
        self._last = None
