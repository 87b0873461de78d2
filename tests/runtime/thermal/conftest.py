"""16-bit thermal pictures: real ones where they are at hand, and a scene of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

Counts = NDArray[np.uint16]


@pytest.fixture
def raw16(shared: Path) -> Path:
    """Thermal pictures of 14 and 16 bit from several cameras; skips the test where there are none."""
    folder = shared / "data" / "fixtures" / "raw16"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder


@pytest.fixture
def filmed() -> Callable[[int, float], Counts]:
    """Frame `index` of a fixed camera: a background of 14 bit, noise, and a hot square of that area."""
    x = np.arange(256)[None, :]
    background_hw = 7600 + 150 * np.sin(x / 42) + 100 * np.linspace(-1, 1, 192)[:, None]

    def frame(index: int, hot_share: float = 0.0) -> Counts:
        counts_hw = background_hw + np.random.default_rng(index).normal(0, 2, background_hw.shape)
        side = round((hot_share * counts_hw.size) ** 0.5)
        counts_hw[20 : 20 + side, 100 : 100 + side] += 3000
        return counts_hw.astype(np.uint16)

    return frame
