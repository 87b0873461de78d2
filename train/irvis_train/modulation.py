"""What the thumbnails decide: a scale, and maybe an offset, for each channel of the student's layers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DEVIATION_FLOOR = 8.0
"""Grey levels; keeps a flat thumbnail from blowing up noise, and bounds every later range (INT8)."""
INPUT_CLIP = 5.0
"""Normalised inputs are clipped to +-5 deviations before the first layer; the blend takes them unclipped."""

DETAIL_STEPS = (1, 2, 4, 8)
"""Thumbnail pixels over which is averaged before differences are taken."""
TAILS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.5)
"""In deviations: how much of a thumbnail lies how far above each tells its histogram."""
SQUARE_FLOOR, SIZE_FLOOR = 1e-4, 1e-2
"""Of a flat thumbnail's details, whose logarithm must stay finite, in FP16 too."""
FEATURE_CLIP = 4.0
"""Deviations: a scene unlike all others is treated as the most unlike one known."""
LOG_SCALE_CLIP = 3.0
"""A scale is between a twentieth and twenty, whatever the scene."""
LEAVE_STEP = 1.0 / 64.0
"""Of what the last layer takes. All its weights that lead to one scale move alike: with larger inputs Adam's
first steps change a scale by tenths and undo the fit."""

Modulations = Iterator[tuple[Tensor, Tensor | None]]


class SceneFeatures(nn.Module):
    """What thumbnails tell of a scene: level, contrast, and how strong details of four sizes are.

    A teacher's norms divide by the deviations of filtered pictures; these grow with such energies, so that
    their logarithms are nearly linear in those here. 68 features in all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.details = nn.ModuleList()
        for step in DETAIL_STEPS:
            filters = nn.Conv2d(2, 6, 3 * step, step, groups=2, bias=False)
            filters.weight = nn.Parameter(_differences(step).repeat(2, 1, 1, 1))
            self.details.append(filters)
        self.tails = nn.Conv2d(2, 2 * len(TAILS), 1, groups=2)
        nn.init.ones_(self.tails.weight)
        self.tails.bias = nn.Parameter(-torch.tensor(TAILS).repeat(2))
        self.count = 4 + 12 * len(DETAIL_STEPS) + 2 * len(TAILS)

    def forward(self, context_n2hw: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """Returns (N, count, 1, 1) from thumbnails and their mean and deviation, (N, 2, 1, 1) in levels."""
        normal = ((context_n2hw - mean) / deviation).clamp(-INPUT_CLIP, INPUT_CLIP)
        details = [filters(normal) for filters in self.details]
        squares = torch.cat([(part * part).mean(dim=(2, 3), keepdim=True) for part in details], dim=1)
        sizes = torch.cat([part.abs().mean(dim=(2, 3), keepdim=True) for part in details], dim=1)
        tails = F.relu(self.tails(normal)).mean(dim=(2, 3), keepdim=True)
        energies = torch.cat([squares + SQUARE_FLOOR, sizes + SIZE_FLOOR, deviation], dim=1).log()
        return torch.cat([energies, mean / 128.0 - 1.0, tails], dim=1)


def _differences(step: int) -> Tensor:
    """Filters (3, 1, 3 step, 3 step) on means over step x step: to the right, downwards, from all around."""
    cells = torch.zeros(3, 1, 3, 3)
    cells[0, 0, 1, 1:] = torch.tensor([-1.0, 1.0])
    cells[1, 0, 1:, 1] = torch.tensor([-1.0, 1.0])
    cells[2] = -1.0 / 9.0
    cells[2, 0, 1, 1] += 1.0
    return cells.repeat_interleave(step, dim=2).repeat_interleave(step, dim=3) / step**2


class Modulation(nn.Module):
    """What the thumbnails tell: a scale near 1 and maybe an offset near 0 (N, C, 1, 1) for modulated layers.

    Feature-wise linear modulation, Perez et al. 2018, arXiv 1709.07871; scales are exponentials.
    """

    def __init__(self, width: int, layers: Mapping[str, int], with_offset: Collection[str]) -> None:
        """`layers`: channels by name, in the order in which they are taken; `with_offset`: some of them."""
        super().__init__()
        self.layers = dict(layers)
        self.offsets = {name: channels for name, channels in layers.items() if name in with_offset}
        self.features = SceneFeatures()
        count = self.features.count
        self.centre = nn.Parameter(torch.zeros(1, count, 1, 1), requires_grad=False)
        self.inverse = nn.Parameter(torch.ones(1, count, 1, 1), requires_grad=False)
        self.mix = nn.Conv2d(count, width, 1)
        rows = sum(self.layers.values()) + sum(self.offsets.values())
        self.leave = nn.Conv2d(count + width, rows, 1)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def standardised(self, context_n2hw: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """The scene's features in deviations from what is usual, (N, count, 1, 1)."""
        features: Tensor = self.features(context_n2hw, mean, deviation)
        return ((features - self.centre) * self.inverse).clamp(-FEATURE_CLIP, FEATURE_CLIP)

    def forward(
        self, context_n2hw: Tensor, mean: Tensor, deviation: Tensor
    ) -> list[tuple[Tensor, Tensor | None]]:
        """`mean` and `deviation` are those of the thumbnails, (N, 2, 1, 1) in grey levels."""
        features = self.standardised(context_n2hw, mean, deviation)
        rows = self.leave(torch.cat([features, F.relu(self.mix(features))], dim=1) * LEAVE_STEP)
        sizes = [sum(self.layers.values()), sum(self.offsets.values())]
        logarithms, offsets = torch.split(rows, sizes, dim=1)
        scales = torch.split(
            logarithms.clamp(-LOG_SCALE_CLIP, LOG_SCALE_CLIP).exp(), list(self.layers.values()), dim=1
        )
        parts = iter(torch.split(offsets, list(self.offsets.values()), dim=1) if self.offsets else ())
        return [
            (scale, next(parts) if name in self.offsets else None)
            for name, scale in zip(self.layers, scales, strict=True)
        ]

    def scale_rows(self, name: str) -> slice:
        """The rows of the last layer that give a layer's scales, as logarithms."""
        return _place(self.layers, name, 0)

    def offset_rows(self, name: str) -> slice:
        """Those that give its offsets; none where it has none."""
        first = sum(self.layers.values())
        return _place(self.offsets, name, first) if name in self.offsets else slice(first, first)


def _place(layers: Mapping[str, int], name: str, first: int) -> slice:
    ends = dict(zip(layers, accumulate(layers.values(), initial=first), strict=False))
    return slice(ends[name], ends[name] + layers[name])


def modulated(features: Tensor, modulations: Modulations) -> Tensor:
    """Features (N, C, H, W) times the next scale plus the next offset, if there is one."""
    scale, offset = next(modulations)
    return features * scale if offset is None else features * scale + offset


def context_statistics(context_n2hw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and floored deviation (N, 2, 1, 1) of the thumbnails, in grey levels."""
    mean = context_n2hw.mean(dim=(2, 3), keepdim=True)
    variance = (context_n2hw - mean).square().mean(dim=(2, 3), keepdim=True)
    return mean, (variance + DEVIATION_FLOOR**2).sqrt()
