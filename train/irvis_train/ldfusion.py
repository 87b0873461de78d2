"""The published LDFusion topology, with or without its style branch, at any width.

Paper: "Infrared and Visible Image Fusion With Language-Driven Loss and Knowledge Distillation",
doi:10.1109/TNNLS.2026.3688448. Module names follow the published checkpoints (github.com/wyhlaowang/LDFusion
and .../LD-Lite, both Apache-2.0), so that these load with every key matched. LD-Lite is this network without
the style branch and at half width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

STYLE_CODE = 8
MLP_WIDTH = 256
DOWNSAMPLINGS = 3
RESIDUAL_BLOCKS = 2


@dataclass(frozen=True)
class LdFusionShape:
    """What tells one published teacher from another; both are read off a checkpoint's tensors."""

    width: int = 16
    """Channels after the first convolution: 16 for LDFusion, 8 for LD-Lite."""
    style: bool = True
    """With style encoders, AdaIN blocks and tanh (LDFusion), or without them and with a sigmoid (LD-Lite)."""


class LdFusion(nn.Module):
    """Fuses whole pictures: (N, 1, H, W) infrared and visible in [0, 1] -> (N, 1, H, W) fused in [0, 1].

    Its norms use statistics of the whole picture, so a crop is fused as a picture of its own. H and W are 16
    or more; the network itself returns 8*floor(H/8)+21 rows, of which the first H are kept, as published.
    """

    def __init__(self, shape: LdFusionShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = _Encoder(shape)
        self.decoder = _Decoder(shape)

    def forward(self, infrared_n1hw: Tensor, visible_n1hw: Tensor) -> Tensor:
        """Returns the fused luma."""
        height, width = visible_n1hw.shape[-2:]
        content, style = self.encoder(infrared_n1hw, visible_n1hw)
        fused: Tensor = self.decoder(content, style)
        return fused[..., :height, :width]


class _Encoder(nn.Module):
    """Content codes (N, C, H/8, W/8) of both pictures and, with the style branch, their style codes."""

    def __init__(self, shape: LdFusionShape) -> None:
        super().__init__()
        # 1 is the visible picture, 2 the infrared one, as in the checkpoints.
        self.content_encoder1 = _ContentEncoder(shape.width)
        self.content_encoder2 = _ContentEncoder(shape.width)
        if shape.style:
            self.style_encoder1 = _StyleEncoder(shape.width)
            self.style_encoder2 = _StyleEncoder(shape.width)
        self.style = shape.style

    def forward(self, infrared_n1hw: Tensor, visible_n1hw: Tensor) -> tuple[Tensor, Tensor | None]:
        content = torch.cat(
            [self.content_encoder1(visible_n1hw), self.content_encoder2(infrared_n1hw)], dim=1
        )
        if not self.style:
            return content, None
        return content, torch.cat(
            [self.style_encoder1(visible_n1hw), self.style_encoder2(infrared_n1hw)], dim=1
        )


class _ContentEncoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(1, width, 7),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
        ]
        for _ in range(DOWNSAMPLINGS):
            layers += [nn.Conv2d(width, 2 * width, 4, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU()]
            width *= 2
        layers += [_ResidualBlock(width, nn.InstanceNorm2d) for _ in range(RESIDUAL_BLOCKS)]
        self.model = nn.Sequential(*layers)

    def forward(self, picture_n1hw: Tensor) -> Tensor:
        code: Tensor = self.model(picture_n1hw)
        return code


class _StyleEncoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(1, width, 7), nn.ReLU()]
        for index in range(DOWNSAMPLINGS):
            wider = 2 * width if index < 2 else width
            layers += [nn.Conv2d(width, wider, 4, 2, 1), nn.ReLU()]
            width = wider
        layers += [nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, STYLE_CODE, 1)]
        self.model = nn.Sequential(*layers)

    def forward(self, picture_n1hw: Tensor) -> Tensor:
        code: Tensor = self.model(picture_n1hw)
        return code


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, norm: type[nn.InstanceNorm2d] | type[_AdaptiveInstanceNorm]) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y


class _AdaptiveInstanceNorm(nn.Module):
    """Instance norm whose scale and offset (N, C) are set from the style codes before each use."""

    scale_nc: Tensor
    offset_nc: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        # Present in the published checkpoints, never used by them.
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        normal = nn.functional.instance_norm(x)
        return normal * self.scale_nc[..., None, None] + self.offset_nc[..., None, None]


class _Decoder(nn.Module):
    def __init__(self, shape: LdFusionShape) -> None:
        super().__init__()
        channels = 2 * shape.width * 2**DOWNSAMPLINGS
        if shape.style:
            self.model_local = nn.Sequential(
                *[_ResidualBlock(channels, _AdaptiveInstanceNorm) for _ in range(RESIDUAL_BLOCKS)]
            )
            self.mlp = _StyleMlp(2 * STYLE_CODE, 2 * RESIDUAL_BLOCKS * 2 * channels)
        self.style = shape.style
        layers: list[nn.Module] = []
        for _ in range(DOWNSAMPLINGS):
            layers += [
                nn.ConvTranspose2d(channels, channels // 2, 5, 2),
                LayerNorm(channels // 2),
                nn.ReLU(),
            ]
            channels //= 2
        layers += [
            nn.ReflectionPad2d(3),
            nn.Conv2d(channels, 1, 7),
            nn.Tanh() if shape.style else nn.Sigmoid(),
        ]
        self.model_up = nn.Sequential(*layers)

    def forward(self, content: Tensor, style: Tensor | None) -> Tensor:
        if style is not None:
            self._set_style(self.mlp(style))
            content = self.model_local(content)
        fused: Tensor = self.model_up(content)
        return fused.clamp(0, 1)

    def _set_style(self, parameters: Tensor) -> None:
        norms = [module for module in self.modules() if isinstance(module, _AdaptiveInstanceNorm)]
        start = 0
        for norm in norms:
            norm.offset_nc = parameters[:, start : start + norm.channels]
            norm.scale_nc = parameters[:, start + norm.channels : start + 2 * norm.channels]
            start += 2 * norm.channels


class _StyleMlp(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(inputs, MLP_WIDTH),
            nn.ReLU(),
            nn.Linear(MLP_WIDTH, MLP_WIDTH),
            nn.ReLU(),
            nn.Linear(MLP_WIDTH, outputs),
        )

    def forward(self, style: Tensor) -> Tensor:
        parameters: Tensor = self.model(style.flatten(1))
        return parameters


class LayerNorm(nn.Module):
    """Normalises over channels and pixels together; deviation with N-1, eps added to it, as published."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        centred = x - mean
        count = x.shape[1] * x.shape[2] * x.shape[3] - 1
        deviation = (centred.square().sum(dim=(1, 2, 3), keepdim=True) / count).sqrt()
        return centred / (deviation + self.eps) * self.gamma[:, None, None] + self.beta[:, None, None]
