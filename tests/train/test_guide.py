from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from irvis_train.endow import Guide, Kept, endow
from irvis_train.student import Student
from irvis_train.student_shape import StudentShape

from .donors import LARGE, PICTURES, SMALL, trained
from .students import inputs, lively

JOINT = replace(SMALL, residual_blocks=0, joint_channels=32, lift_rank=16, wide_channels=16)


def whole(shape: StudentShape) -> Kept:
    layers = Student(shape).modulated_layers()
    return Kept({name: torch.arange(channels) for name, channels in layers.items()})


def test_a_student_like_its_donor_has_nothing_to_learn() -> None:
    donor = trained(LARGE, 11)
    pictures = inputs(32, 48, 2)
    error, fused = Guide(donor, whole(LARGE))(donor, *pictures)
    assert float(error) == 0.0
    torch.testing.assert_close(fused, donor(*pictures), rtol=1e-5, atol=1e-3)


def test_each_front_counts_alone() -> None:
    donor = trained(LARGE, 11)
    guide = Guide(donor, whole(LARGE))
    for picture in PICTURES:
        student = trained(LARGE, 11)
        for parameter in getattr(student, picture).front.parameters():
            parameter.zero_()
        error, fused = guide(student, *inputs(32, 48, 2))
        # All zeros (the modulation still adds) instead of the features: an error of their size.
        assert 0.3 < float(error) < 30.0
        # The back gets the donor's features: no front spoils it.
        torch.testing.assert_close(fused, donor(*inputs(32, 48, 2)), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("shape", [SMALL, JOINT], ids=["plain", "joint"])
def test_a_guide_trains_the_ends_and_what_modulates_them_alone(shape: StudentShape) -> None:
    donor, student = trained(LARGE, 12), lively(shape, 13).requires_grad_(True)
    guide = Guide(donor, endow(student, donor, inputs(32, 48, 2)[2]))
    error, fused = guide(student, *inputs(32, 48, 2))
    (error + fused.mean()).backward()
    moved = {name for name, parameter in student.named_parameters() if parameter.grad is not None}
    assert {name for name in moved if not name.startswith("modulation.")} == {
        name for name in student.state_dict() if ".front." in name or name.startswith("back.")
    }
    assert all(parameter.grad is None for parameter in guide.donor.parameters())
    gradient = student.get_parameter("modulation.leave.bias").grad
    assert gradient is not None
    ends = [f"{picture}.{name}" for picture in PICTURES for name in ("first", "front")]
    modulation = student.modulation
    for name in student.modulated_layers():
        is_end = name in ends or name.startswith("back.")
        assert bool(gradient[modulation.scale_rows(name)].any()) is is_end, name
        assert bool(gradient[modulation.offset_rows(name)].any()) is (name == "back.constant"), name


def test_guided_ends_come_nearer() -> None:
    donor, student = trained(LARGE, 14), lively(SMALL, 15).requires_grad_(True)
    guide = Guide(donor, endow(student, donor, inputs(32, 48, 2)[2]))
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    errors = []
    for _ in range(12):
        error, _ = guide(student, *inputs(32, 48))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.8 * errors[0]
