"""Labelled pairs as tensors where the training runs, and windows cut out of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .data import LabelledPair

MAX_SHARE = 0.4
"""Of a GPU's free memory: what the pairs may take there; larger sets stay in the host's memory."""
BYTES_PER_PIXEL = 4
"""One of infrared, one of visible, two of the target."""


class PairTensors:
    """All pairs' pictures as the files have them, read once; windows of them on the training's device."""

    def __init__(self, pairs: Sequence[LabelledPair], device: torch.device) -> None:
        self.device = device
        home = device if _fits(pairs, device) else torch.device("cpu")
        self._planes = [
            tuple(
                torch.from_numpy(np.ascontiguousarray(plane)).to(home)
                for plane in (pair.infrared_hw, pair.visible_hw, pair.target_hw)
            )
            for pair in pairs
        ]
        self.contexts = torch.stack([pair.context_2hw for pair in pairs]).to(device)
        """(N, 2, 64, 64), 0..255."""

    def __len__(self) -> int:
        return len(self._planes)

    def size_hw(self, index: int) -> tuple[int, int]:
        """Height and width of a pair."""
        height, width = self._planes[index][0].shape
        return int(height), int(width)

    def window(self, index: int, top: int, left: int, size_hw: tuple[int, int]) -> Tensor:
        """Infrared, visible and target (3, H, W) in [0, 1]; beyond the picture lies its reflection."""
        planes = []
        for plane, scale in zip(self._planes[index], (255.0, 255.0, 1.0), strict=True):
            part = plane[top : top + size_hw[0], left : left + size_hw[1]].to(self.device)
            if tuple(part.shape) != size_hw:
                part = _reflected(part, size_hw)
            planes.append(part.float() / scale)
        return torch.stack(planes)

    def random_window(
        self, index: int, side_px: int, random: np.random.Generator, step_px: int = 1
    ) -> Tensor:
        """A random square window (3, S, S) whose corner lies at a multiple of `step_px`."""
        places = [max(side - side_px, 0) // step_px + 1 for side in self.size_hw(index)]
        top, left = (step_px * int(random.integers(count)) for count in places)
        return self.window(index, top, left, (side_px, side_px))


def _fits(pairs: Sequence[LabelledPair], device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return BYTES_PER_PIXEL * sum(pair.visible_hw.size for pair in pairs) <= MAX_SHARE * free_bytes


def _reflected(part_hw: Tensor, size_hw: tuple[int, int]) -> Tensor:
    rows, columns = (
        torch.from_numpy(np.pad(np.arange(have), (0, want - have), mode="symmetric")).to(part_hw.device)
        for have, want in zip(part_hw.shape, size_hw, strict=True)
    )
    return part_hw[rows][:, columns]
