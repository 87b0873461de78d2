from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from irvis_train.endow import Guide, Kept, endow
from irvis_train.student import Student
from irvis_train.student_shape import StudentShape

LARGE = StudentShape("fine", 16, 64, 2, 32, 32, scene_channels=16)
SMALL = StudentShape("blocks", 16, 32, 1, 16, 16, scene_channels=16)
JOINT = replace(SMALL, residual_blocks=0, joint_channels=32, lift_rank=16, wide_channels=16)


def lively(shape: StudentShape, seed: int) -> Student:
    """A student with random weights everywhere, also where it starts at zero."""
    torch.manual_seed(seed)
    student = Student(shape).eval().requires_grad_(False)
    for name, parameter in student.named_parameters():
        if parameter.ndim == 4 and not name.startswith("modulation"):
            nn.init.kaiming_normal_(parameter)
    for parameter in student.modulation.leave.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return student


def inputs(count: int = 2, height: int = 32, width: int = 48) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(7)
    infrared, visible = torch.rand(2, count, 1, height, width) * 255.0
    return infrared, visible, torch.rand(count, 2, 64, 64) * 255.0


def whole(shape: StudentShape) -> Kept:
    layers = Student(shape).modulated_layers()
    return Kept({name: torch.arange(channels) for name, channels in layers.items()})


def test_a_student_like_its_donor_has_nothing_to_learn() -> None:
    donor = lively(LARGE, 11)
    pictures = inputs()
    error, fused = Guide(donor, whole(LARGE))(donor, *pictures)
    assert float(error) == 0.0
    torch.testing.assert_close(fused, donor(*pictures), rtol=1e-5, atol=1e-3)


def test_each_front_counts_alone() -> None:
    donor = lively(LARGE, 11)
    guide = Guide(donor, whole(LARGE))
    for picture in ("infrared", "visible"):
        student = lively(LARGE, 11)
        for parameter in getattr(student, picture).front.parameters():
            parameter.zero_()
        error, fused = guide(student, *inputs())
        # All zeros (the modulation still adds) instead of the features: an error of their size.
        assert 0.3 < float(error) < 30.0
        # The back gets the donor's features: no front spoils it.
        torch.testing.assert_close(fused, donor(*inputs()), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("shape", [SMALL, JOINT], ids=["plain", "joint"])
def test_a_guide_trains_the_ends_and_what_modulates_them_alone(shape: StudentShape) -> None:
    donor, student = lively(LARGE, 12), lively(shape, 13).requires_grad_(True)
    guide = Guide(donor, endow(student, donor, inputs()[2]))
    error, fused = guide(student, *inputs())
    (error + fused.mean()).backward()
    moved = {name for name, parameter in student.named_parameters() if parameter.grad is not None}
    assert {name for name in moved if not name.startswith("modulation.")} == {
        name for name in student.state_dict() if ".front." in name or name.startswith("back.")
    }
    assert all(parameter.grad is None for parameter in guide.donor.parameters())
    gradient = student.get_parameter("modulation.leave.bias").grad
    assert gradient is not None
    layers = student.modulated_layers()
    offsets = [name for name in ("wide", "back.constant") if name in layers]
    rows = torch.split(gradient, [*layers.values(), *(layers[name] for name in offsets)])
    for name, row in zip([*layers, *offsets], rows, strict=True):
        assert bool(row.any()) is (".front" in name or name.startswith("back.")), name


def test_guided_ends_come_nearer() -> None:
    donor, student = lively(LARGE, 14), lively(SMALL, 15).requires_grad_(True)
    guide = Guide(donor, endow(student, donor, inputs()[2]))
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    errors = []
    for _ in range(12):
        error, _ = guide(student, *inputs(1))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.8 * errors[0]
