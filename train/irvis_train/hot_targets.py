"""Hot targets, found in the infrared picture, and how a fused picture shows them and what lies around them.

Pictures are (N, 1, H, W) in [0, 1]; measures are in grey levels of 255.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST_EXCESS = 0.10
"""Of the infrared picture over its neighbourhood; what is less is no target."""
DEVIATIONS = 2.0
NEIGHBOURHOOD = 1 / 12
"""Half the side of the neighbourhood, as a share of the picture's shorter side."""
MARGIN_PX = 2
"""Beside a target: belongs neither to it nor to its surroundings."""
RING_PX = 12
LEAST_SHARE = 5e-4
"""Of a picture's pixels; fewer are no target to be measured by."""


def find_hot_targets(infrared_n1hw: Tensor) -> Tensor:
    """Mask (N, 1, H, W) of what is clearly warmer than its neighbourhood and than the picture as a whole.

    Clearly: by two deviations of that excess and a tenth of the range, and by one deviation of the picture.
    """
    side_px = min(infrared_n1hw.shape[-2:])
    smooth = _box_mean(infrared_n1hw, 1)
    excess = smooth - _box_mean(infrared_n1hw, max(4, round(side_px * NEIGHBOURHOOD)))
    limit = (DEVIATIONS * _deviation(excess)).clamp(min=LEAST_EXCESS)
    mean = infrared_n1hw.mean(dim=(-1, -2), keepdim=True)
    return (excess > limit) & (smooth > mean + _deviation(infrared_n1hw))


def has_targets(mask_n1hw: Tensor) -> Tensor:
    """(N,) booleans: whether there is enough of a target to measure."""
    return mask_n1hw.float().mean(dim=(1, 2, 3)) >= LEAST_SHARE


def target_contrast(fused_n1hw: Tensor, mask_n1hw: Tensor) -> Tensor:
    """(N,) mean of the fused picture in its targets less that of a ring around them, in grey levels.

    NaN for a picture without targets.
    """
    ring = _dilated(mask_n1hw, MARGIN_PX + RING_PX) & ~_dilated(mask_n1hw, MARGIN_PX)
    contrast = 255.0 * (_mean_in(fused_n1hw, mask_n1hw) - _mean_in(fused_n1hw, ring))
    return torch.where(has_targets(mask_n1hw), contrast, torch.full_like(contrast, float("nan")))


def background_gradient(fused_n1hw: Tensor, mask_n1hw: Tensor) -> Tensor:
    """(N,) mean magnitude of the gradient outside targets and their margin, in grey levels a pixel.

    Differences to the next row and the next column, without division, as in the definition of AG.
    """
    inner = fused_n1hw[..., :-1, :-1]
    down = fused_n1hw[..., 1:, :-1] - inner
    right = fused_n1hw[..., :-1, 1:] - inner
    background = ~_dilated(mask_n1hw, MARGIN_PX)[..., :-1, :-1]
    return 255.0 * _mean_in((down.square() + right.square()).sqrt(), background)


def _box_mean(picture_n1hw: Tensor, radius_px: int) -> Tensor:
    # One axis after the other: a square window of 130 px took seconds a picture.
    size = 2 * radius_px + 1
    across = F.avg_pool2d(picture_n1hw, (1, size), 1, (0, radius_px), count_include_pad=False)
    return F.avg_pool2d(across, (size, 1), 1, (radius_px, 0), count_include_pad=False)


def _deviation(picture_n1hw: Tensor) -> Tensor:
    return picture_n1hw.std(dim=(-1, -2), keepdim=True)


def _dilated(mask_n1hw: Tensor, radius_px: int) -> Tensor:
    rows = F.max_pool2d(mask_n1hw.float(), (2 * radius_px + 1, 1), 1, (radius_px, 0))
    return F.max_pool2d(rows, (1, 2 * radius_px + 1), 1, (0, radius_px)) > 0.5


def _mean_in(picture_n1hw: Tensor, mask_n1hw: Tensor) -> Tensor:
    """NaN where the mask is empty."""
    return (picture_n1hw * mask_n1hw).sum(dim=(1, 2, 3)) / mask_n1hw.sum(dim=(1, 2, 3))
