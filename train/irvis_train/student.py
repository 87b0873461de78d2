"""The student: a local network at a quarter of the resolution, steered by two 64x64 thumbnails.

No norm layer sees the whole picture. What the network knows of the whole picture (exposure, contrast, kind of
scene) comes from the `context` thumbnails alone, so that the runtime can smooth it over time; DESIGN 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

BLOCK_PX = 4
"""Side of the pixel block that one position of the trunk holds."""
MULTIPLE_PX = 16
"""Height and width are padded to this: the wide branch works at a sixteenth."""
DEVIATION_FLOOR = 8.0
"""Grey levels; keeps a flat thumbnail from blowing up noise, and bounds every later range (INT8)."""
TRUNK_CLIP = 5.0
"""Normalised inputs are clipped to +-5 deviations before the trunk; the blend takes them unclipped."""
BLEND_SCALE = 64.0
"""Grey levels per unit of the last convolution: its weights train at the others' scale. Folded at export."""


@dataclass(frozen=True)
class StudentShape:
    """The size of a student."""

    channels: int = 48
    """Channels of the trunk at a quarter of the resolution; a multiple of 16."""
    trunk_layers: int = 3
    """3x3 convolutions of the trunk between the head and the output."""
    wide_channels: int = 64
    """Channels of the branch at a sixteenth of the resolution."""
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2)
    """Dilation of each 3x3 convolution of that branch."""

    def __post_init__(self) -> None:
        """ContractError for sizes that the kernels of the backends would run slowly or not at all."""
        for name in ("channels", "wide_channels"):
            if getattr(self, name) < 16 or getattr(self, name) % 16:
                raise ContractError(f"{name}: expected a multiple of 16, got {getattr(self, name)}")
        if self.trunk_layers < 1:
            raise ContractError(f"trunk_layers: expected 1 or more, got {self.trunk_layers}")
        if any(dilation < 1 for dilation in self.dilations):
            raise ContractError(f"dilations: expected 1 or more each, got {list(self.dilations)}")


class Student(nn.Module):
    """Fuses luma: infrared, visible (N, 1, H, W), context (N, 2, 64, 64) -> fused (N, 1, H, W), all 0..255.

    H and W are multiples of 16; the output is neither rounded nor clipped.
    """

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        self.shape = shape
        channels = shape.channels
        self.scene = SceneEncoder(shape.wide_channels, 1 + len(shape.dilations))
        self.head = nn.Conv2d(2 * BLOCK_PX**2, channels, 3, padding=1)
        self.trunk = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(shape.trunk_layers)
        )
        self.wide = WideBranch(channels, shape.wide_channels, shape.dilations)
        self.blend = nn.Conv2d(channels, 3 * BLOCK_PX**2, 3, padding=1)
        self.blend_scale_folded = False
        self._start_as_average()

    def forward(self, infrared_n1hw: Tensor, visible_n1hw: Tensor, context_n2hw: Tensor) -> Tensor:
        """Returns the fused luma in grey levels, unrounded."""
        blocks = torch.cat([space_to_depth(infrared_n1hw), space_to_depth(visible_n1hw)], dim=1)
        return depth_to_space(self.fuse_blocks(blocks, context_n2hw))

    def fuse_blocks(self, blocks_nchw: Tensor, context_n2hw: Tensor) -> Tensor:
        """Fuses pictures folded into 4x4 blocks: (N, 32, H/4, W/4), infrared first -> (N, 16, H/4, W/4)."""
        mean, deviation = context_statistics(context_n2hw)
        offsets = self.scene(context_n2hw, mean, deviation)
        picture = [0] * BLOCK_PX**2 + [1] * BLOCK_PX**2
        normal = (blocks_nchw - mean[:, picture]) * (1.0 / deviation)[:, picture]
        maps = self.blend(self._features(normal.clamp(-TRUNK_CLIP, TRUNK_CLIP), offsets))
        if not self.blend_scale_folded:
            maps = maps * BLEND_SCALE
        infrared, visible = torch.split(normal, BLOCK_PX**2, dim=1)
        weight_infrared, weight_visible, offset = torch.split(maps, BLOCK_PX**2, dim=1)
        return weight_infrared * infrared + weight_visible * visible + offset

    def fold_blend_scale(self) -> None:
        """Moves BLEND_SCALE into the last convolution's weights, for export; the output stays the same."""
        if not self.blend_scale_folded:
            with torch.no_grad():
                for parameter in self.blend.parameters():
                    parameter.mul_(BLEND_SCALE)
            self.blend_scale_folded = True

    def _features(self, normal: Tensor, offsets: list[Tensor]) -> Tensor:
        features = F.relu(self.head(normal))
        wide = self.wide(features, offsets)
        for index, layer in enumerate(self.trunk):
            features = F.relu(layer(features) + wide) if index == 0 else F.relu(layer(features))
        return features

    def _start_as_average(self) -> None:
        """Starts as the average of the normalised pictures: contrast 32 grey levels each around 128."""
        nn.init.normal_(self.blend.weight, std=1e-3)
        start = torch.tensor([0.5, 0.5, 2.0]).repeat_interleave(BLOCK_PX**2)
        with torch.no_grad():
            self.blend.bias = nn.Parameter(start)


class SceneEncoder(nn.Module):
    """What kind of scene it is: thumbnails -> offsets (N, C, 1, 1) for the layers of the wide branch."""

    def __init__(self, wide_channels: int, layers: int) -> None:
        super().__init__()
        self.wide_channels = wide_channels
        self.down = nn.Sequential(
            nn.Conv2d(2, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.ReLU(),
        )
        self.mix = nn.Sequential(
            nn.Conv2d(64 + 4, 128, 1), nn.ReLU(), nn.Conv2d(128, layers * wide_channels, 1)
        )

    def forward(self, context_n2hw: Tensor, mean: Tensor, deviation: Tensor) -> list[Tensor]:
        """Returns the offsets; `mean` and `deviation` are (N, 2, 1, 1) in grey levels."""
        normal = ((context_n2hw - mean) / deviation).clamp(-TRUNK_CLIP, TRUNK_CLIP)
        pooled = self.down(normal).mean(dim=(2, 3), keepdim=True)
        exposure = torch.cat([mean / 128.0 - 1.0, deviation / 64.0 - 1.0], dim=1)
        offsets: Tensor = self.mix(torch.cat([pooled, exposure], dim=1))
        return list(torch.split(offsets, self.wide_channels, dim=1))


class WideBranch(nn.Module):
    """A wide field at a sixteenth of the resolution, brought back to a quarter by a 1x1 and DepthToSpace."""

    def __init__(self, channels: int, wide_channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, wide_channels, 4, stride=4)
        self.layers = nn.ModuleList(
            nn.Conv2d(wide_channels, wide_channels, 3, padding=dilation, dilation=dilation)
            for dilation in dilations
        )
        self.leave = nn.Conv2d(wide_channels, channels * BLOCK_PX**2, 1)

    def forward(self, features: Tensor, offsets: list[Tensor]) -> Tensor:
        """(N, C, H/4, W/4) -> (N, C, H/4, W/4)."""
        wide = F.relu(self.enter(features) + offsets[0])
        for layer, offset in zip(self.layers, offsets[1:], strict=True):
            wide = F.relu(layer(wide) + (wide + offset))
        return depth_to_space(self.leave(wide))


def context_statistics(context_n2hw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and floored deviation (N, 2, 1, 1) of the thumbnails, in grey levels."""
    mean = context_n2hw.mean(dim=(2, 3), keepdim=True)
    variance = (context_n2hw - mean).square().mean(dim=(2, 3), keepdim=True)
    return mean, (variance + DEVIATION_FLOOR**2).sqrt()


def space_to_depth(picture_n1hw: Tensor) -> Tensor:
    """(N, 1, H, W) -> (N, 16, H/4, W/4), rows first; as ONNX SpaceToDepth of a single channel."""
    return F.pixel_unshuffle(picture_n1hw, BLOCK_PX)


def depth_to_space(blocks: Tensor) -> Tensor:
    """(N, 16 C, H, W) -> (N, C, 4 H, 4 W); ONNX DepthToSpace in mode CRD."""
    return F.pixel_shuffle(blocks, BLOCK_PX)
