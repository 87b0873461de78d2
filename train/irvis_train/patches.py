"""Random patches for the language-driven loss: the same affine crop of all pictures, in one sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

SALIENCE_CELLS = 16
"""A map of salience is a grid of as many cells a side; a patch is centred somewhere in a cell."""
SURROUNDINGS = 4
"""What a target stands out of: a window of the picture's shorter side divided by this."""
LARGEST_REDUCTION = 2.0
"""Beyond which bilinear sampling would skip pixels; larger pictures are reduced before."""


@dataclass(frozen=True)
class PatchRanges:
    """What patches are drawn from, uniformly; the defaults are the published ones."""

    min_share: float = 0.5
    max_share: float = 0.8
    """Side of the crop, as shares of the picture's shorter side."""
    angle_deg: float = 5.0
    shear_deg: float = 5.0
    max_scale: float = 1.5
    """The crop is magnified about its centre, from 1 to this."""
    shift: float = 0.1
    """Vertical shift of the crop, as a share of its side."""


def random_patches(
    pictures: Sequence[Tensor],
    count: int,
    size_px: int,
    generator: torch.Generator,
    ranges: PatchRanges | None = None,
    salience: Tensor | None = None,
    salient_share: float = 0.0,
) -> tuple[Tensor, ...]:
    """Returns `count` random affine crops of every picture, (count * N, 1, size_px, size_px), crop-major.

    `pictures` are aligned, each (N, 1, H, W): one draw serves all of them, and each of the N has draws of its
    own. Row k belongs to picture k % N. Differentiable; equal generators give equal patches. Crop, rotation,
    scale, shear and resize of arXiv:2402.16267's trainer are one bilinear sampling here, so that what lies
    beside the crop fills its corners (in the trainer: black), and beyond the picture its mirror image does.

    `salience`: (N, h, w), not negative, from `target_salience`; the first `salient_share` of the crops are
    centred on places drawn by it. ContractError for pictures of different size.
    """
    shapes = {tuple(picture.shape) for picture in pictures}
    if len(shapes) != 1 or len(pictures[0].shape) != 4 or pictures[0].shape[1] != 1:
        raise ContractError(f"pictures: expected (N, 1, H, W), all of one size, got {sorted(shapes)}")
    stacked = torch.cat(list(pictures), dim=1)
    ranges = ranges or PatchRanges()
    batch, _, height, width = stacked.shape
    centres, extents = _draw(batch, count, (height, width), ranges, generator, salience, salient_share)
    stacked = _reduced(stacked, ranges.max_share, size_px)
    grid = _grid(centres, extents, size_px).to(stacked)
    # The crops of a picture lie below each other in one grid: no copy of the picture for each.
    sampled = F.grid_sample(
        stacked, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    ).view(batch, len(pictures), count, size_px, size_px)
    crops = sampled.permute(1, 2, 0, 3, 4).reshape(len(pictures), count * batch, 1, size_px, size_px)
    return tuple(crops)


@torch.no_grad()
def target_salience(infrared_n1hw: Tensor) -> Tensor:
    """Returns how far each place stands out as hot, (N, 16, 16): the largest excess over its surroundings.

    In the picture's units, 0 or more; small targets then draw patches that are centred on them.
    """
    window = max(3, min(infrared_n1hw.shape[-2:]) // SURROUNDINGS) | 1
    surroundings = F.avg_pool2d(infrared_n1hw, window, stride=1, padding=window // 2, count_include_pad=False)
    excess = (infrared_n1hw - surroundings).clamp(min=0.0)
    return F.adaptive_max_pool2d(excess, SALIENCE_CELLS)[:, 0]


def _draw(
    batch: int,
    count: int,
    size_hw: tuple[int, int],
    ranges: PatchRanges,
    generator: torch.Generator,
    salience: Tensor | None,
    salient_share: float,
) -> tuple[Tensor, Tensor]:
    """Centres (N, count, 2) and matrices (N, count, 2, 2) that lead from a patch's square to the picture's.

    Both squares are x, y in [-1, 1].
    """
    device = generator.device
    size_xy = torch.tensor(size_hw[::-1], dtype=torch.float32, device=device)
    numbers = torch.rand(batch, count, 7, generator=generator, device=device)
    share = ranges.min_share + (ranges.max_share - ranges.min_share) * numbers[..., 0]
    angle, shear = (
        math.radians(limit) * (2.0 * numbers[..., index] - 1.0)
        for index, limit in ((1, ranges.angle_deg), (2, ranges.shear_deg))
    )
    scale = 1.0 + (ranges.max_scale - 1.0) * numbers[..., 3]
    half_side = 0.5 * share * min(size_hw)
    room_xy = size_xy - 2.0 * half_side[..., None]
    centres_px = half_side[..., None] + room_xy * numbers[..., 4:6]
    centres_px[..., 1] += (2.0 * numbers[..., 6] - 1.0) * ranges.shift * 2.0 * half_side
    salient = round(salient_share * count)
    if salience is not None and salient:
        aimed = _aimed(salience.to(device), salient, size_xy, generator)
        inside = torch.maximum(aimed, half_side[:, :salient, None])
        centres_px[:, :salient] = torch.minimum(inside, size_xy - half_side[:, :salient, None])
    cosine, sine, skew = angle.cos(), angle.sin(), shear.tan()
    matrices = torch.stack([cosine, cosine * skew - sine, sine, sine * skew + cosine], dim=-1)
    matrices_px = matrices.view(batch, count, 2, 2) * (half_side / scale)[..., None, None]
    return 2.0 * centres_px / size_xy - 1.0, 2.0 * matrices_px / size_xy[:, None]


def _aimed(salience_nhw: Tensor, count: int, size_xy: Tensor, generator: torch.Generator) -> Tensor:
    """Places (N, count, 2) in pixels, drawn by the square of salience, uniform within a cell."""
    batch, rows, columns = salience_nhw.shape
    weights = salience_nhw.float().square().flatten(1) + 1e-12
    cells = torch.multinomial(weights, count, replacement=True, generator=generator)
    corners = torch.stack([cells % columns, cells // columns], dim=-1)
    within = torch.rand(batch, count, 2, generator=generator, device=generator.device)
    return (corners + within) * size_xy / torch.tensor([columns, rows], device=generator.device)


def _grid(centres: Tensor, matrices: Tensor, size_px: int) -> Tensor:
    """Sampling places (N, count * size, size, 2) in [-1, 1], for align_corners=False."""
    steps = (2.0 * torch.arange(size_px, device=centres.device) + 1.0) / size_px - 1.0
    square = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    places = torch.einsum("ncij,yxj->ncyxi", matrices, square) + centres[:, :, None, None, :]
    return places.flatten(1, 2)


def _reduced(pictures: Tensor, max_share: float, size_px: int) -> Tensor:
    """Pictures so small that the largest patch is reduced by no more than bilinear sampling bears."""
    height, width = pictures.shape[-2:]
    reduction = max_share * min(height, width) / (LARGEST_REDUCTION * size_px)
    if reduction <= 1.0:
        return pictures
    size = (max(1, round(height / reduction)), max(1, round(width / reduction)))
    return F.interpolate(pictures, size, mode="bilinear", antialias=True)
