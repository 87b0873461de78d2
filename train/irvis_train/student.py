"""The student: the teacher's deep layers at an eighth of the resolution between ends that work on 4x4 blocks.

No norm layer sees the whole picture. The teacher's norms are folded into the convolutions with their usual
statistics; what differs from picture to picture comes from the `context` thumbnails alone (Modulation), so
that the runtime can smooth it over time; DESIGN 3 and 4. The rest is local.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

BLOCK_PX = 4
"""Side of the pixel block that one position of the ends holds."""
FINE_BLOCK_PX = 2
DEEP_STEP_PX = 8
"""Pixels from one deep feature to the next."""
WIDE_STEP = 4
DEVIATION_FLOOR = 8.0
"""Grey levels; keeps a flat thumbnail from blowing up noise, and bounds every later range (INT8)."""
INPUT_CLIP = 5.0
"""Normalised inputs are clipped to +-5 deviations before the first layer; the blend takes them unclipped."""
BLEND_SCALE = 64.0
"""Grey levels per unit of the last convolution: its weights train at the others' scale."""
LIFT_PADDING = (2, 0, 2, 0)
"""Left, right, top, bottom: output 2j+p of a 5x5 stride-2 transposed convolution needs inputs j-2..j."""

Modulations = Iterator[tuple[Tensor, Tensor]]
Fold = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class StudentShape:
    """The size of a student."""

    ends: Literal["blocks", "fine"] = "blocks"
    """What works above an eighth of the resolution: layers on 4x4 blocks, or the teacher's own, unrolled."""
    front_channels: int = 32
    """Channels of each picture's first layer; a multiple of 16. Fine ends: four times the teacher's width."""
    deep_channels: int = 64
    """Channels of each picture at an eighth of the resolution; a multiple of 32."""
    residual_blocks: int = 1
    """Residual blocks of each picture at an eighth of the resolution."""
    lift_channels: int = 32
    """Channels that come back to a quarter of the resolution; a multiple of 16."""
    back_channels: int = 48
    """Channels of the layers before the blend; a multiple of 16. Fine ends: four times the teacher's last."""
    back_layers: int = 1
    """How many of them; fine ends have one."""
    wide_channels: int = 0
    """Channels of the branch at a 32nd, which sees regions; a multiple of 16. 0: no branch."""
    wide_dilations: tuple[int, ...] = (1, 2, 4, 1)
    """Dilation of each 3x3 convolution of that branch."""
    scene_channels: int = 96
    """Width of what the thumbnails are condensed to."""

    @property
    def multiple_px(self) -> int:
        """What height and width must be multiples of."""
        return DEEP_STEP_PX * (WIDE_STEP if self.wide_channels else 1)

    def __post_init__(self) -> None:
        """ContractError for sizes that the kernels of the backends would run slowly or not at all."""
        for name, multiple in (
            ("front_channels", 16),
            ("deep_channels", 32),
            ("lift_channels", 16),
            ("back_channels", 16),
            ("scene_channels", 16),
        ):
            if getattr(self, name) < multiple or getattr(self, name) % multiple:
                raise ContractError(f"{name}: expected a multiple of {multiple}, got {getattr(self, name)}")
        for name in ("residual_blocks", "back_layers"):
            if getattr(self, name) < 1:
                raise ContractError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        if self.wide_channels < 0 or self.wide_channels % 16:
            raise ContractError(f"wide_channels: expected 0 or a multiple of 16, got {self.wide_channels}")
        if any(dilation < 1 for dilation in self.wide_dilations):
            raise ContractError(f"wide_dilations: expected 1 or more each, got {list(self.wide_dilations)}")


class Student(nn.Module):
    """Fuses luma: infrared, visible (N, 1, H, W), context (N, 2, 64, 64) -> fused (N, 1, H, W), all 0..255.

    H and W are multiples of `shape.multiple_px`; the output is neither rounded nor clipped.
    """

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        self.shape = shape
        self.infrared = PictureEncoder(shape)
        self.visible = PictureEncoder(shape)
        self.wide = WideBranch(2 * shape.deep_channels, shape) if shape.wide_channels else None
        self.lift = nn.Conv2d(2 * shape.deep_channels, 4 * shape.lift_channels, 3)
        self.back = FineBack(shape) if shape.ends == "fine" else BlockBack(shape)
        self.modulation = Modulation(shape.scene_channels, list(self.modulated_layers().values()))

    def modulated_layers(self) -> dict[str, int]:
        """Channels of the modulated layers by name, in the order in which they take their modulation."""
        layers = {
            f"{picture}.{name}": channels
            for picture, encoder in (("infrared", self.infrared), ("visible", self.visible))
            for name, channels in encoder.modulated_layers().items()
        }
        back = {f"back.{name}": channels for name, channels in self.back.modulated_layers().items()}
        return {**layers, "lift": self.shape.lift_channels, **back}

    def forward(
        self,
        infrared_n1hw: Tensor,
        visible_n1hw: Tensor,
        context_n2hw: Tensor,
        fold: Fold | None = None,
    ) -> Tensor:
        """Returns the fused luma in grey levels, unrounded; export gives `fold` as one operator."""
        fold = fold or space_to_depth
        mean, deviation = context_statistics(context_n2hw)
        modulations = iter(self.modulation(context_n2hw, mean, deviation))
        inverse = 1.0 / deviation
        infrared = (infrared_n1hw - mean[:, :1]) * inverse[:, :1]
        visible = (visible_n1hw - mean[:, 1:]) * inverse[:, 1:]
        encoded = [
            encoder(picture.clamp(-INPUT_CLIP, INPUT_CLIP), modulations, fold)
            for encoder, picture in ((self.infrared, infrared), (self.visible, visible))
        ]
        deep = torch.cat(encoded, dim=1)
        if self.wide is not None:
            deep = deep + self.wide(deep)
        lifted = F.pixel_shuffle(self.lift(F.pad(deep, LIFT_PADDING)), 2)
        features = F.relu(modulated(lifted, modulations))
        fused: Tensor = self.back(features, infrared, visible, modulations, fold)
        return fused


class PictureEncoder(nn.Module):
    """One picture: normalised (N, 1, H, W) -> (N, deep_channels, H/8, W/8)."""

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        deep = shape.deep_channels
        self.front = FineFront(shape) if shape.ends == "fine" else BlockFront(shape)
        self.down = nn.Conv2d(deep // 2, deep, 4, 2, 1)
        self.blocks = nn.ModuleList(Residual(deep) for _ in range(shape.residual_blocks))

    def modulated_layers(self) -> dict[str, int]:
        """Channels of the modulated layers by name, in the order in which they take their modulation."""
        deep = self.down.out_channels
        inner = [f"{index}.{name}" for index in range(len(self.blocks)) for name in ("first", "second")]
        return {**self.front.modulated_layers(), "down": deep, **dict.fromkeys(inner, deep)}

    def forward(self, normal_n1hw: Tensor, modulations: Modulations, fold: Fold) -> Tensor:
        """Returns the deep features; takes its share of the modulations."""
        features: Tensor = self.front(normal_n1hw, modulations, fold)
        features = F.relu(modulated(self.down(features), modulations))
        for block in self.blocks:
            features = block(features, modulations)
        return features


class BlockFront(nn.Module):
    """Two layers on 4x4 blocks: (N, 1, H, W) -> (N, deep_channels / 2, H/4, W/4)."""

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        self.first = nn.Conv2d(BLOCK_PX**2, shape.front_channels, 3, padding=1)
        self.second = nn.Conv2d(shape.front_channels, shape.deep_channels // 2, 3, padding=1)

    def modulated_layers(self) -> dict[str, int]:
        """Channels of the modulated layers by name, in their order."""
        return {"front": self.second.out_channels}

    def forward(self, normal_n1hw: Tensor, modulations: Modulations, fold: Fold) -> Tensor:
        """Returns the features; takes its share of the modulations."""
        features = F.relu(self.first(fold(normal_n1hw, BLOCK_PX)))
        return F.relu(modulated(self.second(features), modulations))


class FineFront(nn.Module):
    """The teacher's 7x7 and two 4x4 stride-2 layers, the first two on 2x2 blocks, where they are dense."""

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        half, quarter = shape.deep_channels // 4, shape.deep_channels // 2
        self.first = nn.Conv2d(FINE_BLOCK_PX**2, shape.front_channels, 5, padding=2)
        self.second = nn.Conv2d(shape.front_channels, half, 3, padding=1)
        self.third = nn.Conv2d(half, quarter, 4, 2, 1)

    def modulated_layers(self) -> dict[str, int]:
        """Channels of the modulated layers by name, in their order."""
        return {"fine": self.second.out_channels, "front": self.third.out_channels}

    def forward(self, normal_n1hw: Tensor, modulations: Modulations, fold: Fold) -> Tensor:
        """Returns the features; takes its share of the modulations."""
        features = F.relu(self.first(fold(normal_n1hw, FINE_BLOCK_PX)))
        features = F.relu(modulated(self.second(features), modulations))
        return F.relu(modulated(self.third(features), modulations))


class BlockBack(nn.Module):
    """Layers on 4x4 blocks, and per pixel a * infrared + b * visible + c."""

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        widths = [shape.lift_channels] + [shape.back_channels] * shape.back_layers
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )
        self.blend = nn.Conv2d(shape.back_channels, 3 * BLOCK_PX**2, 3, padding=1)
        nn.init.normal_(self.blend.weight, std=1e-3)
        # Starts as the average of the normalised pictures: contrast 32 grey levels each around 128.
        start = torch.tensor([0.5, 0.5, 2.0]).repeat_interleave(BLOCK_PX**2)
        self.blend.bias = nn.Parameter(start)

    def modulated_layers(self) -> dict[str, int]:
        """Channels of the modulated layers by name, in their order."""
        return {"blend": 3 * BLOCK_PX**2}

    def forward(
        self, features: Tensor, infrared: Tensor, visible: Tensor, modulations: Modulations, fold: Fold
    ) -> Tensor:
        """Returns the fused luma (N, 1, H, W) in grey levels from features at a quarter."""
        for layer in self.layers:
            features = F.relu(layer(features))
        scale, offset = next(modulations)
        maps = self.blend(features) * (scale * BLEND_SCALE) + offset * BLEND_SCALE
        weight_infrared, weight_visible, constant = torch.split(maps, BLOCK_PX**2, dim=1)
        pictures = (fold(picture, BLOCK_PX) for picture in (infrared, visible))
        return F.pixel_shuffle(
            weight_infrared * next(pictures) + weight_visible * next(pictures) + constant, BLOCK_PX
        )


class FineBack(nn.Module):
    """The teacher's last layers: two transposed convolutions and the 7x7, on blocks; no blend."""

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        half = shape.lift_channels // 2
        self.second = nn.Conv2d(shape.lift_channels, 4 * half, 3)
        self.third = nn.Conv2d(half, shape.back_channels, 3)
        self.last = nn.Conv2d(4 * shape.back_channels, BLOCK_PX**2, 3, padding=1)

    def modulated_layers(self) -> dict[str, int]:
        """Channels of the modulated layers by name, in their order."""
        return {"second": self.second.out_channels // 4, "last": BLOCK_PX**2}

    def forward(
        self, features: Tensor, infrared: Tensor, visible: Tensor, modulations: Modulations, fold: Fold
    ) -> Tensor:
        """Returns the fused luma (N, 1, H, W) in grey levels from features at a quarter."""
        features = F.pixel_shuffle(self.second(F.pad(features, LIFT_PADDING)), 2)
        features = F.relu(modulated(features, modulations))
        features = fold(F.relu(self.third(F.pad(features, LIFT_PADDING))), 2)
        fused = torch.sigmoid(modulated(self.last(features), modulations)) * 255.0
        return F.pixel_shuffle(fused, BLOCK_PX)


class Residual(nn.Module):
    """Two modulated 3x3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor, modulations: Modulations) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        inner = F.relu(modulated(self.first(features), modulations))
        return features + modulated(self.second(inner), modulations)


class WideBranch(nn.Module):
    """What lies around: a wide field at a 32nd of the resolution, brought back smoothly and by a 1x1.

    Begins as nothing: its last layer starts at zero.
    """

    def __init__(self, channels: int, shape: StudentShape) -> None:
        super().__init__()
        wide = shape.wide_channels
        self.enter = nn.Conv2d(channels, wide, 1)
        self.layers = nn.ModuleList(
            nn.Conv2d(wide, wide, 3, padding=dilation, dilation=dilation) for dilation in shape.wide_dilations
        )
        self.leave = nn.Conv2d(wide, channels, 1)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def forward(self, deep_nchw: Tensor) -> Tensor:
        """(N, C, H/8, W/8) -> (N, C, H/8, W/8)."""
        wide = F.relu(self.enter(F.avg_pool2d(deep_nchw, WIDE_STEP)))
        for layer in self.layers:
            wide = F.relu(wide + layer(wide))
        wide = F.interpolate(wide, scale_factor=float(WIDE_STEP), mode="bilinear", align_corners=False)
        brought_back: Tensor = self.leave(wide)
        return brought_back


class Modulation(nn.Module):
    """What the thumbnails tell: for each modulated layer a scale near 1 and an offset near 0 (N, C, 1, 1).

    Feature-wise linear modulation, Perez et al. 2018, arXiv 1709.07871.
    """

    def __init__(self, width: int, channels: list[int]) -> None:
        super().__init__()
        self.channels = channels
        widths = (4, 32, 48, 64)
        self.down = nn.ModuleList(nn.Conv2d(before, after, 3, 2, 1) for before, after in pairwise(widths))
        self.mix = nn.Conv2d(2 * sum(widths[1:]) + 4, width, 1)
        self.leave = nn.Conv2d(width, 2 * sum(channels), 1)
        nn.init.zeros_(self.leave.weight)
        with torch.no_grad():
            self.leave.bias = nn.Parameter(torch.tensor([1.0, 0.0]).repeat_interleave(sum(channels)))

    def forward(self, context_n2hw: Tensor, mean: Tensor, deviation: Tensor) -> list[tuple[Tensor, Tensor]]:
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
        scales, offsets = torch.split(modulation, sum(self.channels), dim=1)
        pairs = zip(
            torch.split(scales, self.channels, dim=1), torch.split(offsets, self.channels, dim=1), strict=True
        )
        return list(pairs)


def modulated(features: Tensor, modulations: Modulations) -> Tensor:
    """Features (N, C, H, W) times the next scale plus the next offset."""
    scale, offset = next(modulations)
    return features * scale + offset


def context_statistics(context_n2hw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and floored deviation (N, 2, 1, 1) of the thumbnails, in grey levels."""
    mean = context_n2hw.mean(dim=(2, 3), keepdim=True)
    variance = (context_n2hw - mean).square().mean(dim=(2, 3), keepdim=True)
    return mean, (variance + DEVIATION_FLOOR**2).sqrt()


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
