"""What the thumbnails decide: a scale, and maybe an offset, for each channel of the student's layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DEVIATION_FLOOR = 8.0
"""Grey levels; keeps a flat thumbnail from blowing up noise, and bounds every later range (INT8)."""
INPUT_CLIP = 5.0
"""Normalised inputs are clipped to +-5 deviations before the first layer; the blend takes them unclipped."""

Modulations = Iterator[tuple[Tensor, Tensor | None]]


class Modulation(nn.Module):
    """What the thumbnails tell: a scale near 1 and maybe an offset near 0 (N, C, 1, 1) for modulated layers.

    Feature-wise linear modulation, Perez et al. 2018, arXiv 1709.07871.
    """

    def __init__(self, width: int, channels: list[int], has_offset: list[bool]) -> None:
        super().__init__()
        self.channels = channels
        self.offset_channels = [count if has else 0 for count, has in zip(channels, has_offset, strict=True)]
        widths = (4, 32, 48, 64)
        self.down = nn.ModuleList(nn.Conv2d(before, after, 3, 2, 1) for before, after in pairwise(widths))
        self.mix = nn.Conv2d(2 * sum(widths[1:]) + 4, width, 1)
        sizes = (sum(channels), sum(self.offset_channels))
        self.leave = nn.Conv2d(width, sum(sizes), 1)
        nn.init.zeros_(self.leave.weight)
        with torch.no_grad():
            self.leave.bias = nn.Parameter(torch.tensor([1.0, 0.0]).repeat_interleave(torch.tensor(sizes)))

    def forward(
        self, context_n2hw: Tensor, mean: Tensor, deviation: Tensor
    ) -> list[tuple[Tensor, Tensor | None]]:
        """`mean` and `deviation` are those of the thumbnails, (N, 2, 1, 1) in grey levels."""
        normal = ((context_n2hw - mean) / deviation).clamp(-INPUT_CLIP, INPUT_CLIP)
        features = torch.cat([normal, context_n2hw / 128.0 - 1.0], dim=1)
        pooled = [mean / 128.0 - 1.0, deviation / 64.0 - 1.0]
        for layer in self.down:
            features = F.relu(layer(features))
            average = features.mean(dim=(2, 3), keepdim=True)
            spread = (features - average).square().mean(dim=(2, 3), keepdim=True)
            pooled += [average, (spread + 1e-2).sqrt()]
        modulation = self.leave(F.relu(self.mix(torch.cat(pooled, dim=1))))
        counts = [count for count in self.offset_channels if count]
        parts = torch.split(modulation, [*self.channels, *counts], dim=1)
        offsets = iter(parts[len(self.channels) :])
        return [
            (scale, next(offsets) if count else None)
            for scale, count in zip(parts, self.offset_channels, strict=False)
        ]


def modulated(features: Tensor, modulations: Modulations) -> Tensor:
    """Features (N, C, H, W) times the next scale plus the next offset, if there is one."""
    scale, offset = next(modulations)
    return features * scale if offset is None else features * scale + offset


def context_statistics(context_n2hw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and floored deviation (N, 2, 1, 1) of the thumbnails, in grey levels."""
    mean = context_n2hw.mean(dim=(2, 3), keepdim=True)
    variance = (context_n2hw - mean).square().mean(dim=(2, 3), keepdim=True)
    return mean, (variance + DEVIATION_FLOOR**2).sqrt()
