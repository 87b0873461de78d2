"""Small students in which every part counts, and pictures for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irvis_train.ends import BlockBack
from irvis_train.modulation import LEAVE_STEP
from irvis_train.scene_fit import fit_modulation
from irvis_train.student import Student
from irvis_train.student_shape import StudentShape

from .scenes import scenes

SMALL: Mapping[str, Any] = {
    "front_channels": 16,
    "deep_channels": 32,
    "residual_blocks": 2,
    "lift_channels": 16,
    "back_channels": 16,
    "scene_channels": 16,
}
SHAPES = {
    "blocks": StudentShape(**SMALL),
    "short blend": StudentShape(**SMALL, blend_side=1),
    "wide": StudentShape(**SMALL, wide_channels=16, wide_dilations=(1, 2)),
    "joint": StudentShape(
        **{**SMALL, "residual_blocks": 0},
        wide_channels=16,
        wide_dilations=(1, 2),
        joint_channels=32,
        lift_rank=16,
    ),
    "fine": StudentShape("fine", **SMALL),
}
BLOCKS, FINE = SHAPES["blocks"], SHAPES["fine"]
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def lively(shape: StudentShape, seed: int = 1) -> Student:
    """A student with weights, also where it starts at zero, that let every part of it count."""
    torch.manual_seed(seed)
    student = Student(shape).eval().requires_grad_(False)
    for name, layer in student.named_modules():
        if isinstance(layer, nn.Conv2d) and not name.startswith("modulation"):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    # Weights of pictures near 1, and grey levels that are neither all black nor all white.
    if isinstance(student.back, BlockBack):
        nn.init.normal_(student.back.blend.weight, std=0.003)
    else:
        student.back.last.weight *= 0.1
    # Features count in the deviations that scenes have, as in a trained student.
    fit_modulation(student.modulation, scenes(16, seed=3), {})
    weight, bias = student.modulation.leave.parameters()
    nn.init.normal_(weight, std=0.03 / LEAVE_STEP)
    nn.init.normal_(bias, std=0.1)
    return student


def inputs(height: int, width: int, count: int = 1, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Infrared, visible and context; pictures of noise, whatever the context says."""
    torch.manual_seed(seed)
    infrared, visible = torch.rand(2, count, 1, height, width) * 255.0
    return infrared, visible, scenes(count, seed)
