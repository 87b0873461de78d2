"""The student's ends: what works on pixel blocks above an eighth of the resolution."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .modulation import Modulations, modulated
from .student_shape import DEEP_STEP_PX, StudentShape

BLOCK_PX = 4
"""Side of the pixel block that one position of the ends holds."""
FINE_BLOCK_PX = 2
BLEND_SCALE = 64.0
"""Grey levels per unit of the last convolution: its weights train at the others' scale."""
LIFT_PADDING = (2, 0, 2, 0)
"""Left, right, top, bottom: output 2j+p of a 5x5 stride-2 transposed convolution needs inputs j-2..j."""
FINE_LIFT_PADDING = (2, 1, 2, 1)
"""One position more, DEEP_STEP_PX pixels: the teacher's 7x7 sees what is drawn beyond right and bottom."""

Fold = Callable[[Tensor, int], Tensor]


class BlockFront(nn.Module):
    """Two layers on 4x4 blocks: (N, 1, H, W) -> (N, deep_channels / 2, H/4, W/4)."""

    border_px = 0

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        self.first = nn.Conv2d(BLOCK_PX**2, shape.front_channels, 3, padding=1)
        self.second = nn.Conv2d(shape.front_channels, shape.deep_channels // 2, 3, padding=1)

    def modulated_layers(self) -> dict[str, int]:
        """Channels of the modulated layers by name, in their order."""
        return {"first": self.first.out_channels, "front": self.second.out_channels}

    def forward(self, normal_n1hw: Tensor, modulations: Modulations, fold: Fold) -> Tensor:
        """Returns the features; takes its share of the modulations."""
        features = F.relu(modulated(self.first(fold(normal_n1hw, BLOCK_PX)), modulations))
        return F.relu(modulated(self.second(features), modulations))


class FineFront(nn.Module):
    """The teacher's 7x7 and two 4x4 stride-2 layers, the first two on 2x2 blocks, where they are dense.

    Takes pictures with a border of `border_px` all around, reflected as the teacher reflects them.
    """

    border_px = 4

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        half, quarter = shape.deep_channels // 4, shape.deep_channels // 2
        self.first = nn.Conv2d(FINE_BLOCK_PX**2, shape.front_channels, 5)
        self.second = nn.Conv2d(shape.front_channels, half, 3, padding=1)
        self.third = nn.Conv2d(half, quarter, 4, 2, 1)

    def modulated_layers(self) -> dict[str, int]:
        """Channels of the modulated layers by name, in their order."""
        layers = {"first": self.first, "fine": self.second, "front": self.third}
        return {name: layer.out_channels for name, layer in layers.items()}

    def forward(self, normal_n1hw: Tensor, modulations: Modulations, fold: Fold) -> Tensor:
        """Returns the features; takes its share of the modulations."""
        features = F.relu(modulated(self.first(fold(normal_n1hw, FINE_BLOCK_PX)), modulations))
        features = F.relu(modulated(self.second(features), modulations))
        return F.relu(modulated(self.third(features), modulations))


class BlockBack(nn.Module):
    """Layers on 4x4 blocks, and per pixel a * infrared + b * visible + c."""

    padding = LIFT_PADDING

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        widths = [shape.lift_channels] + [shape.back_channels] * shape.back_layers
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )
        side = shape.blend_side
        self.blend = nn.Conv2d(shape.back_channels, 3 * BLOCK_PX**2, side, padding=side // 2)
        nn.init.normal_(self.blend.weight, std=1e-3)
        # Starts as the average of the normalised pictures: contrast 32 grey levels each around 128.
        start = torch.tensor([0.5, 0.5, 2.0]).repeat_interleave(BLOCK_PX**2)
        self.blend.bias = nn.Parameter(start)

    def modulated_layers(self) -> dict[str, int]:
        """Channels of the modulated layers by name, in their order."""
        return {"weights": 2 * BLOCK_PX**2, "constant": BLOCK_PX**2}

    def forward(
        self, features: Tensor, infrared: Tensor, visible: Tensor, modulations: Modulations, fold: Fold
    ) -> Tensor:
        """Returns the fused luma (N, 1, H, W) in grey levels from features at a quarter."""
        for layer in self.layers:
            features = F.relu(layer(features))
        (scale, _), (constant_scale, offset) = next(modulations), next(modulations)
        maps = self.blend(features) * (torch.cat([scale, constant_scale], dim=1) * BLEND_SCALE)
        weight_infrared, weight_visible, constant = torch.split(maps, BLOCK_PX**2, dim=1)
        pictures = (fold(picture, BLOCK_PX) for picture in (infrared, visible))
        blended = weight_infrared * next(pictures) + weight_visible * next(pictures)
        if offset is not None:
            constant = constant + offset * BLEND_SCALE
        return F.pixel_shuffle(blended + constant, BLOCK_PX)


class FineBack(nn.Module):
    """The teacher's last layers: two transposed convolutions and the 7x7, on blocks; no blend."""

    padding = FINE_LIFT_PADDING

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        half = shape.lift_channels // 2
        self.second = nn.Conv2d(shape.lift_channels, 4 * half, 3)
        self.third = nn.Conv2d(half, shape.back_channels, 3)
        self.last = nn.Conv2d(4 * shape.back_channels, BLOCK_PX**2, 3, padding=1)

    def modulated_layers(self) -> dict[str, int]:
        """Channels of the modulated layers by name, in their order."""
        layers = {"second": self.second.out_channels // 4, "third": self.third.out_channels}
        return {**layers, "last": BLOCK_PX**2}

    def forward(
        self, features: Tensor, infrared: Tensor, visible: Tensor, modulations: Modulations, fold: Fold
    ) -> Tensor:
        """Returns the fused luma (N, 1, H, W) in grey levels from features at a quarter."""
        features = F.pixel_shuffle(self.second(F.pad(features, LIFT_PADDING)), 2)
        features = F.relu(modulated(features, modulations))
        features = modulated(self.third(F.pad(features, LIFT_PADDING)), modulations)
        features = fold(F.relu(features), 2)
        fused = torch.sigmoid(modulated(self.last(features), modulations)) * 255.0
        return F.pixel_shuffle(fused, BLOCK_PX)[..., :-DEEP_STEP_PX, :-DEEP_STEP_PX]


def with_border(planes_nchw: Tensor, border_px: int) -> Tensor:
    """Planes with their reflection as a border."""
    return F.pad(planes_nchw, (border_px,) * 4, mode="reflect") if border_px else planes_nchw


def space_to_depth(planes_nchw: Tensor, block: int) -> Tensor:
    """(N, C, H, W) -> (N, block^2 C, H/block, W/block) as ONNX SpaceToDepth: rows, columns, then channels."""
    folded = F.pixel_unshuffle(planes_nchw, block)
    channels = planes_nchw.shape[1]
    if channels == 1:
        return folded
    size = folded.shape[-2:]
    return (
        folded.reshape(-1, channels, block**2, *size).transpose(1, 2).reshape(-1, channels * block**2, *size)
    )
