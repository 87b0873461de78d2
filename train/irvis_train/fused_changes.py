"""Changes of fused pictures that captions name: its background, its targets, and what networks do wrong.

Pictures are (N, 1, H, W) in [0, 1], masks too. A flaw grows with its severity in [0, 1] and is nothing at 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .degrade import Degradation, gaussian
from .hot_targets import find_hot_targets

PERIODS_PX = (2, 4, 8, 16)
"""What strided and transposed convolutions leave behind: the factors by which networks change resolution."""
PATTERN_AMPLITUDE = 0.14
TARGET_SEARCH_PX = 200
TARGET_EDGE_PX = 1.5
SMOOTH_RADIUS_PX = 3
SMOOTH_EPSILON = 0.02
"""Variance below which the guided filter takes texture for noise: a deviation of 0.14."""
DETAIL_GAIN = 1.6
GHOST_PX = (4.0, 9.0)
HALO_SIGMA_PX = 4.0
HALO_CONTRAST = 0.05
HALO_GAIN = 2.5


def soft_targets(infrared_n1hw: Tensor) -> Tensor:
    """The mask of hot targets with a soft edge, so that a change of targets leaves no outline.

    Found in a reduced picture, 30 times as fast: what counts as warm is relative to the picture's size.
    """
    height, width = infrared_n1hw.shape[-2:]
    share = min(1.0, TARGET_SEARCH_PX / min(height, width))
    small = F.interpolate(infrared_n1hw, (round(height * share), round(width * share)), mode="area")
    found = find_hot_targets(small).float()
    return gaussian(
        F.interpolate(found, (height, width), mode="bilinear", align_corners=False), TARGET_EDGE_PX
    )


def change_background(fused_n1hw: Tensor, mask_n1hw: Tensor, amount: float) -> Tensor:
    """Smooths the background (`amount` down to -1) or brings out its detail (up to 1).

    Edges and targets are kept. The base is a guided filter's, the picture its own guide (He et al.,
    doi:10.1109/TPAMI.2012.213).
    """
    detail = (fused_n1hw - _guided_base(fused_n1hw)) * (1.0 - mask_n1hw)
    return (fused_n1hw + (amount if amount < 0.0 else DETAIL_GAIN * amount) * detail).clamp(0.0, 1.0)


def change_targets(fused_n1hw: Tensor, mask_n1hw: Tensor, amount: float) -> Tensor:
    """Draws targets to their surroundings (`amount` down to -1) or to white (up to 1)."""
    if amount >= 0.0:
        return fused_n1hw + 0.8 * amount * mask_n1hw * (0.97 - fused_n1hw).clamp_min(0.0)
    rest = 1.0 - mask_n1hw
    around = gaussian(fused_n1hw * rest, 8.0) / gaussian(rest, 8.0).clamp_min(1e-3)
    return fused_n1hw - 0.9 * amount * mask_n1hw * (around.clamp(0.0, 1.0) - fused_n1hw)


def ghosting(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes with a second, shifted picture that shines through."""
    distance, direction = random.uniform(*GHOST_PX), random.uniform(0.0, 2.0 * math.pi)
    down, right = round(distance * math.sin(direction)), round(distance * math.cos(direction))
    share = 0.5 * severity
    padding = (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0))
    height, width = planes_n1hw.shape[-2:]
    top, left = max(-down, 0), max(-right, 0)
    shifted = F.pad(planes_n1hw, padding, mode="reflect")[..., top : top + height, left : left + width]
    return (1.0 - share) * planes_n1hw + share * shifted


def halo(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes with an overshoot beside strong edges: dark rims around bright things."""
    sigma_px = HALO_SIGMA_PX * float(random.uniform(0.8, 1.5))
    excess = planes_n1hw - gaussian(planes_n1hw, sigma_px)
    strong = excess.sign() * (excess.abs() - HALO_CONTRAST).clamp_min(0.0)
    return (planes_n1hw + HALO_GAIN * severity * strong).clamp(0.0, 1.0)


def checkerboard(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes with a checkerboard, or with the grid that transposed convolutions leave."""
    rows, columns, period = _places(planes_n1hw, random)
    if random.random() < 0.6:
        pattern = torch.sin(rows * 2.0 * math.pi / period) * torch.sin(columns * 2.0 * math.pi / period)
        pattern = pattern.sign() if random.random() < 0.5 else pattern
    else:
        tile = torch.from_numpy(random.standard_normal((period, period)).astype(np.float32))
        tile = (tile - tile.mean()) / tile.std()
        pattern = tile.to(planes_n1hw.device)[rows.long() % period, columns.long() % period]
    return _with_pattern(planes_n1hw, pattern, severity, random)


def stripes(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes with rows, columns or diagonals of a fixed period."""
    rows, columns, period = _places(planes_n1hw, random)
    along = (rows, columns, rows + columns + 0.5, rows - columns + 0.5)[int(random.integers(4))]
    pattern = torch.sin(along * 2.0 * math.pi / period)
    pattern = pattern.sign() if random.random() < 0.5 else pattern
    return _with_pattern(planes_n1hw, pattern, severity, random)


def artefacts(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes with a texture of one scale, as comes of following a network's gradient."""
    noise = torch.from_numpy(random.standard_normal(planes_n1hw.shape).astype(np.float32))
    sigma_px = float(random.choice((0.4, 0.7, 1.2, 2.0)))
    band = gaussian(noise, sigma_px) - gaussian(noise, 1.6 * sigma_px)
    band = band / band.std()
    pattern = torch.tanh(2.0 * band) if random.random() < 0.5 else band
    return _with_pattern(planes_n1hw, pattern.to(planes_n1hw.device), severity, random)


FLAWS: Mapping[str, Degradation] = {
    "ghosting": ghosting,
    "halo": halo,
    "checkerboard": checkerboard,
    "stripes": stripes,
    "artefacts": artefacts,
}
PATTERNS = ("checkerboard", "stripes", "artefacts")


def _places(planes_n1hw: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor, int]:
    """Row and column numbers with a random phase, half a pixel off the zeros of a sine; and a period."""
    height, width = planes_n1hw.shape[-2:]
    top, left = random.integers(16, size=2)
    rows = torch.arange(height, device=planes_n1hw.device)[:, None] + int(top) + 0.5
    columns = torch.arange(width, device=planes_n1hw.device)[None, :] + int(left) + 0.5
    return rows.expand(height, width), columns.expand(height, width), int(random.choice(PERIODS_PX))


def _with_pattern(
    planes_n1hw: Tensor, pattern: Tensor, severity: float, random: np.random.Generator
) -> Tensor:
    """Everywhere, in even areas only (where networks put it), or in random places."""
    where = int(random.integers(3))
    envelope = torch.ones_like(planes_n1hw)
    if where == 1:
        texture = _box_mean((planes_n1hw - _box_mean(planes_n1hw, 3)).abs(), 3)
        envelope = torch.exp(-texture / texture.mean().clamp_min(1e-3))
    elif where == 2:
        coarse = torch.from_numpy(random.random((1, 1, 4, 4), dtype=np.float32)).to(planes_n1hw.device)
        envelope = 1.6 * F.interpolate(coarse, planes_n1hw.shape[-2:], mode="bilinear", align_corners=True)
    return (planes_n1hw + PATTERN_AMPLITUDE * severity * envelope * pattern).clamp(0.0, 1.0)


def _guided_base(planes_n1hw: Tensor) -> Tensor:
    mean = _box_mean(planes_n1hw, SMOOTH_RADIUS_PX)
    variance = (_box_mean(planes_n1hw.square(), SMOOTH_RADIUS_PX) - mean.square()).clamp_min(0.0)
    slope = variance / (variance + SMOOTH_EPSILON)
    offset = mean * (1.0 - slope)
    return _box_mean(slope, SMOOTH_RADIUS_PX) * planes_n1hw + _box_mean(offset, SMOOTH_RADIUS_PX)


def _box_mean(planes_n1hw: Tensor, radius: int) -> Tensor:
    return F.avg_pool2d(planes_n1hw, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)
