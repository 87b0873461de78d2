from __future__ import annotations

from copy import deepcopy

import torch

from irvis_export.deployed import DeployedStudent
from irvis_train.student import Student


def test_is_the_student_rounded_and_clipped(tiny_student: Student) -> None:
    torch.manual_seed(1)
    infrared, visible = torch.randint(0, 256, (2, 1, 1, 32, 64), dtype=torch.uint8)
    context = torch.rand(1, 2, 64, 64) * 255
    with torch.no_grad():
        # As the graph holds them: in half precision.
        halved = deepcopy(tiny_student)
        for parameter in halved.parameters():
            parameter.copy_(parameter.half().float())
        fused = halved(infrared.float(), visible.float(), context)
        deployed = DeployedStudent(tiny_student)(infrared, visible, context)
    difference = (deployed.float() - fused.clamp(0, 255)).abs()
    assert deployed.dtype == torch.uint8
    # Half a level of rounding; folding in another way moves the last bits.
    assert difference.max() <= 0.5 + 1e-3
    assert fused.std() > 1.0


def test_holds_weights_that_half_precision_holds(tiny_student: Student) -> None:
    """An FP16 file then has the same ones."""
    for name, parameter in DeployedStudent(tiny_student).student.named_parameters():
        assert torch.equal(parameter, parameter.half().float()), name
        torch.testing.assert_close(parameter, tiny_student.get_parameter(name), rtol=1e-3, atol=1e-4)


def test_leaves_the_student_as_it_was(tiny_student: Student) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_student.state_dict().items()}
    DeployedStudent(tiny_student)
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
    fine = tiny_student.shape.ends == "fine"
    for offset, expected in ((1e4, 255), (-1e4, 0)):
        with torch.no_grad():
            bias = student.student.get_parameter("back.last.bias" if fine else "back.blend.bias")
            bias[0 if fine else 32 :] = offset
        assert (student(picture, picture, context) == expected).all()
