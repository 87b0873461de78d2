"""Pictures and a fusion whose figures are known, for `irvis judge`."""

from __future__ import annotations

import cv2
import numpy as np

from irvis_train.data import LabelledPair
from irvis_train.judge.contenders import Context, Picture

from .labelled_pairs import labelled


def texture(size_hw: tuple[int, int], seed: int, fine_px: float = 1.5) -> Picture:
    """Blurred noise around the middle grey."""
    noise = np.random.default_rng(seed).normal(0, 1, size_hw)
    smooth = cv2.GaussianBlur(noise, (0, 0), fine_px)
    picture: Picture = np.clip(128 + 35 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    return picture


def average(infrared_hw: Picture, visible_hw: Picture, context: Context | None) -> Picture:
    """The plainest fusion."""
    mean: Picture = ((infrared_hw.astype(np.uint16) + visible_hw) // 2).astype(np.uint8)
    return mean


def a_pair(size_hw: tuple[int, int] = (96, 128)) -> LabelledPair:
    """Two textures, their target their average."""
    infrared, visible = texture(size_hw, 1), texture(size_hw, 2)
    return labelled(infrared, visible, "a/1", average(infrared, visible, None))
