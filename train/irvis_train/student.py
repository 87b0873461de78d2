"""The student: the teacher's deep layers at an eighth of the resolution between ends that work on 4x4 blocks.

No norm layer sees the whole picture. The teacher's norms are folded into the convolutions with their usual
statistics; what differs from picture to picture comes from the `context` thumbnails alone (Modulation), so
that the runtime can smooth it over time; DESIGN 3 and 4. The rest is local.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ends import BlockBack, BlockFront, FineBack, FineFront, Fold, space_to_depth, with_border
from .modulation import INPUT_CLIP, Modulation, Modulations, context_statistics, modulated
from .student_shape import WIDE_STEP, StudentShape

OFFSET_LAYERS = ("wide", "back.constant")
"""With block ends, the layers whose modulation has an offset: an offset makes a bias that is computed, with
which ONNX Runtime's INT8 convolutions take half as long again. A computed scale costs nothing."""


class Student(nn.Module):
    """Fuses luma: infrared, visible (N, 1, H, W), context (N, 2, 64, 64) -> fused (N, 1, H, W), all 0..255.

    H and W are multiples of `shape.multiple_px`; the output is neither rounded nor clipped.
    """

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        self.shape = shape
        self.infrared = PictureEncoder(shape)
        self.visible = PictureEncoder(shape)
        deep = 2 * shape.deep_channels
        self.joint = Residual(deep, shape.joint_channels) if shape.joint_channels else None
        self.wide = WideBranch(deep, shape) if shape.wide_channels else None
        self.lift: nn.Conv2d | nn.Sequential = nn.Conv2d(deep, 4 * shape.lift_channels, 3)
        if shape.lift_rank:
            self.lift = nn.Sequential(
                nn.Conv2d(deep, shape.lift_rank, 3), nn.Conv2d(shape.lift_rank, 4 * shape.lift_channels, 1)
            )
        self.back = FineBack(shape) if shape.ends == "fine" else BlockBack(shape)
        layers = self.modulated_layers()
        self.modulation = Modulation(
            shape.scene_channels, layers, layers if shape.ends == "fine" else OFFSET_LAYERS
        )

    def modulated_layers(self) -> dict[str, int]:
        """Channels of the modulated layers by name, in the order in which they take their modulation."""
        layers = {
            f"{picture}.{name}": channels
            for picture, encoder in (("infrared", self.infrared), ("visible", self.visible))
            for name, channels in encoder.modulated_layers().items()
        }
        if self.joint is not None:
            layers |= {"joint.first": self.shape.joint_channels, "joint.second": 2 * self.shape.deep_channels}
        if self.wide is not None:
            layers["wide"] = self.shape.wide_channels
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
        border_px = self.infrared.front.border_px
        infrared = (with_border(infrared_n1hw, border_px) - mean[:, :1]) * inverse[:, :1]
        visible = (with_border(visible_n1hw, border_px) - mean[:, 1:]) * inverse[:, 1:]
        encoded = [
            encoder(picture.clamp(-INPUT_CLIP, INPUT_CLIP), modulations, fold)
            for encoder, picture in ((self.infrared, infrared), (self.visible, visible))
        ]
        deep = torch.cat(encoded, dim=1)
        if self.joint is not None:
            deep = self.joint(deep, modulations)
        if self.wide is not None:
            deep = deep + self.wide(deep, modulations)
        lifted = F.pixel_shuffle(self.lift(F.pad(deep, self.back.padding)), 2)
        features = F.relu(modulated(lifted, modulations))
        fused: Tensor = self.back(features, infrared, visible, modulations, fold)
        return fused


class PictureEncoder(nn.Module):
    """One picture: normalised (N, 1, H, W) -> (N, deep_channels, H/8, W/8)."""

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        deep = shape.deep_channels
        self.front: FineFront | BlockFront = FineFront(shape) if shape.ends == "fine" else BlockFront(shape)
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


class Residual(nn.Module):
    """Two modulated 3x3 convolutions beside the identity."""

    def __init__(self, channels: int, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or channels
        self.first = nn.Conv2d(channels, inner, 3, padding=1)
        self.second = nn.Conv2d(inner, channels, 3, padding=1)

    def forward(self, features: Tensor, modulations: Modulations) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        inner = F.relu(modulated(self.first(features), modulations))
        return features + modulated(self.second(inner), modulations)


class WideBranch(nn.Module):
    """What lies around: a wide field at a 32nd of the resolution, brought back smoothly and by a 1x1.

    Begins as nothing: its last layer starts at zero. Its modulation is the only one with offsets before the
    blend, hence what the thumbnails add to the deep features comes through here.
    """

    def __init__(self, channels: int, shape: StudentShape) -> None:
        super().__init__()
        wide = shape.wide_channels
        self.enter = nn.Conv2d(channels, wide, WIDE_STEP, WIDE_STEP)
        self.layers = nn.ModuleList(
            nn.Conv2d(wide, wide, 3, padding=dilation, dilation=dilation) for dilation in shape.wide_dilations
        )
        self.leave = nn.Conv2d(wide, channels, 1)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def forward(self, deep_nchw: Tensor, modulations: Modulations) -> Tensor:
        """(N, C, H/8, W/8) -> (N, C, H/8, W/8)."""
        wide = F.relu(modulated(self.enter(deep_nchw), modulations))
        for layer in self.layers:
            wide = F.relu(wide + layer(wide))
        wide = F.interpolate(wide, scale_factor=float(WIDE_STEP), mode="bilinear", align_corners=False)
        brought_back: Tensor = self.leave(wide)
        return brought_back
