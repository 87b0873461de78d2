"""The student as the board runs it: bytes in, bytes out, any size."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from irvis_train.student import BLOCK_PX, MULTIPLE_PX, Student, depth_to_space

from .operators import CropLike, PadToMultiple, SpaceToDepth


class DeployedStudent(nn.Module):
    """A student with what the contract puts into the graph: cast, pad, fold, clip, round, crop, cast.

    infrared, visible uint8 (1, 1, H, W) and context float32 (1, 2, 64, 64) -> fused uint8 (1, 1, H, W), H and
    W from 16 up. For export and for checking exports; training uses the student itself.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = deepcopy(student).eval().requires_grad_(False)
        self.student.fold_blend_scale()

    def forward(self, infrared: Tensor, visible: Tensor, context: Tensor) -> Tensor:
        """Returns the fused luma. The casts come first and last, where TensorRT wants bytes to end."""
        blocks = [
            SpaceToDepth.apply(PadToMultiple.apply(p.float(), MULTIPLE_PX), BLOCK_PX)
            for p in (infrared, visible)
        ]
        fused = self.student.fuse_blocks(torch.cat(blocks, dim=1), context)
        # Clip before Round: a float outside 0..255 cast to uint8 is undefined.
        picture = depth_to_space(torch.round(fused.clamp(0.0, 255.0)))
        cropped: Tensor = CropLike.apply(picture, infrared)
        return cropped.to(torch.uint8)
