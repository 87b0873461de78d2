from __future__ import annotations

import torch

from irvis_export.deployed import DeployedStudent
from irvis_train.student import Student


def test_is_the_student_rounded_and_clipped(tiny_student: Student) -> None:
    torch.manual_seed(1)
    infrared, visible = torch.randint(0, 256, (2, 1, 1, 48, 64), dtype=torch.uint8)
    context = torch.rand(1, 2, 64, 64) * 255
    with torch.no_grad():
        fused = tiny_student(infrared.float(), visible.float(), context)
        deployed = DeployedStudent(tiny_student)(infrared, visible, context)
    difference = (deployed.float() - fused.clamp(0, 255)).abs()
    assert deployed.dtype == torch.uint8
    # Half a level of rounding; folding the blend's scale moves the last bits.
    assert difference.max() <= 0.5 + 1e-3


def test_leaves_the_student_as_it_was(tiny_student: Student) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_student.state_dict().items()}
    DeployedStudent(tiny_student)
    assert not tiny_student.blend_scale_folded
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny_student.state_dict().items())


def test_any_size_comes_back(tiny_student: Student) -> None:
    deployed = DeployedStudent(tiny_student)
    for height, width in ((16, 16), (17, 31), (33, 16)):
        picture = torch.randint(0, 256, (1, 1, height, width), dtype=torch.uint8)
        assert deployed(picture, picture, torch.rand(1, 2, 64, 64) * 255).shape == (1, 1, height, width)


def test_values_beyond_bytes_are_clipped_not_wrapped(tiny_student: Student) -> None:
    student = DeployedStudent(tiny_student)
    picture = torch.randint(0, 256, (1, 1, 16, 16), dtype=torch.uint8)
    context = torch.rand(1, 2, 64, 64) * 255
    for offset, expected in ((1e4, 255), (-1e4, 0)):
        with torch.no_grad():
            student.student.get_parameter("blend.bias")[32:] = offset
        assert (student(picture, picture, context) == expected).all()
