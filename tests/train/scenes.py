"""Thumbnails of scenes that differ in level, contrast, and the size of their details."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 64


def scenes(count: int, seed: int = 2) -> Tensor:
    """Contexts (N, 2, 64, 64) in 0..255, no two planes alike; no level is cut off."""
    torch.manual_seed(seed)
    planes = torch.zeros(count, 2, SIDE, SIDE)
    for side in (4, 8, 16, 32, SIDE):
        layer = torch.randn(count, 2, side, side)
        # How strong the details of each size are is drawn by itself for each plane.
        strength = torch.randn(count, 2, 1, 1).exp()
        planes += strength * F.interpolate(layer, size=(SIDE, SIDE), mode="bilinear")
    planes = planes / planes.abs().amax(dim=(2, 3), keepdim=True)
    level = 100.0 + 55.0 * torch.rand(count, 2, 1, 1)
    # Linear in the logarithm: from 20 to 100 levels above and below.
    contrast = 20.0 * 5.0 ** torch.rand(count, 2, 1, 1)
    return level + contrast * planes
