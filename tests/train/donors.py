"""Students with fine ends whose deep layers a smaller one with block ends takes over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from irvis_train.modulation import context_statistics
from irvis_train.scene_fit import fit_modulation
from irvis_train.student import Student
from irvis_train.student_shape import StudentShape

from .scenes import scenes
from .students import lively

LARGE = StudentShape("fine", 16, 64, 2, 32, 32, scene_channels=16)
SMALL = StudentShape("blocks", 16, 32, 1, 16, 16, scene_channels=16)
SHAPES = {
    "plain": SMALL,
    "wide": replace(SMALL, wide_channels=16, wide_dilations=(1,)),
    "joint": replace(SMALL, residual_blocks=0, joint_channels=32, wide_channels=16, wide_dilations=(1,)),
    "split": replace(SMALL, joint_channels=96, lift_rank=32),
}
PICTURES = ("infrared", "visible")
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def trained(shape: StudentShape, seed: int) -> Student:
    """A donor that sees scenes otherwise than a new student does: other filters, another usual scene."""
    donor = lively(shape, seed)
    for parameter in donor.modulation.features.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.1)
    fit_modulation(donor.modulation, scenes(16, seed=100 + seed), {})
    return donor


def without_offsets(donor: Student) -> Student:
    """A donor whose modulation is a scale alone, as most of a student's with block ends."""
    for parameter in donor.modulation.leave.parameters():
        for name in donor.modulated_layers():
            parameter[donor.modulation.offset_rows(name)] = 0.0
    return donor


def alike_for_all(donor: Student) -> Student:
    """A donor that modulates all pictures alike, with scales and offsets."""
    donor.modulation.leave.weight.zero_()
    return donor


Simplify = Callable[[Student], Student]
each_exact_donor = pytest.mark.parametrize("simplify", [without_offsets, alike_for_all])
"""Donors whose offsets are in the biases without loss."""


def contexts(count: int = 3) -> Tensor:
    """Usual ones, the same each time."""
    return scenes(count, seed=7)


def modulations(student: Student, context_n2hw: Tensor) -> dict[str, tuple[Tensor, Tensor | None]]:
    """What the thumbnails tell, by the layers' names."""
    made = student.modulation(context_n2hw, *context_statistics(context_n2hw))
    return dict(zip(student.modulated_layers(), made, strict=True))
