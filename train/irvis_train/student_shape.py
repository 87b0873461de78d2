"""The sizes of a student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from irvis_runtime.errors import ContractError

DEEP_STEP_PX = 8
"""Pixels from one deep feature to the next."""
WIDE_STEP = 4
"""Deep features from one of the wide branch's to the next."""


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
    scene_channels: int = 32
    """Width of the hidden layer between the thumbnails' features and what they modulate."""
    joint_channels: int = 0
    """Inner channels of a residual block that sees both pictures; a multiple of 32. 0: no block."""
    lift_rank: int = 0
    """Channels between the 3x3 and the 1x1 into which the lift is split; a multiple of 16. 0: one 3x3."""
    blend_side: int = 3
    """Side of the kernel of the last convolution, before the blend: 1 or 3. Fine ends: 3."""

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
        for name, multiple in (("joint_channels", 32), ("lift_rank", 16), ("wide_channels", 16)):
            if getattr(self, name) < 0 or getattr(self, name) % multiple:
                raise ContractError(
                    f"{name}: expected 0 or a multiple of {multiple}, got {getattr(self, name)}"
                )
        least = 0 if self.joint_channels else 1
        if self.residual_blocks < least:
            raise ContractError(f"residual_blocks: expected {least} or more, got {self.residual_blocks}")
        if self.blend_side not in ((3,) if self.ends == "fine" else (1, 3)):
            raise ContractError(f"blend_side: expected 3, or 1 with block ends, got {self.blend_side}")
        if self.back_layers < 1:
            raise ContractError(f"back_layers: expected 1 or more, got {self.back_layers}")
        if any(dilation < 1 for dilation in self.wide_dilations):
            raise ContractError(f"wide_dilations: expected 1 or more each, got {list(self.wide_dilations)}")
