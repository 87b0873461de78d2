"""The student as the board runs it: bytes in, bytes out, any size."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from irvis_train.student import Student

from .operators import CropLike, PadToMultiple, SpaceToDepth


class DeployedStudent(nn.Module):
    """A student with what the contract puts into the graph: cast, pad, fold, clip, round, crop, cast.

    infrared, visible uint8 (1, 1, H, W) and context float32 (1, 2, 64, 64) -> fused uint8 (1, 1, H, W), H and
    W from 16 up. For export and for checking exports; training uses the student itself.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = deepcopy(student).eval().requires_grad_(False)
        for parameter in self.student.parameters():
            # FP32 and FP16 files then hold the same weights, and a wheel packs the former to half their size.
            parameter.copy_(parameter.half().float())

    def forward(self, infrared: Tensor, visible: Tensor, context: Tensor) -> Tensor:
        """Returns the fused luma. The casts come first and last, where TensorRT wants bytes to end."""
        multiple = self.student.shape.multiple_px
        pictures = [PadToMultiple.apply(picture.float(), multiple) for picture in (infrared, visible)]
        fused = self.student(*pictures, context, fold=SpaceToDepth.apply)
        # Clip before Round: a float outside 0..255 cast to uint8 is undefined.
        cropped: Tensor = CropLike.apply(torch.round(fused.clamp(0.0, 255.0)), infrared)
        return cropped.to(torch.uint8)
