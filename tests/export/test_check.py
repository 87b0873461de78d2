from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irvis_export.check import MAX_DIFFERENCE_LSB, SIZES_HW, compare, compare_teacher, example_pictures
from irvis_export.to_onnx import export_student, export_teacher
from irvis_runtime import default_model_dir
from irvis_train.ldfusion import LdFusion, LdFusionShape
from irvis_train.student import Student
from irvis_train.student_files import load_student
from irvis_train.teacher import load_teacher


def test_sizes_are_those_that_break_exports() -> None:
    assert len(SIZES_HW) >= 5
    assert (16, 16) in SIZES_HW
    assert any(height % 2 and width % 2 for height, width in SIZES_HW)


def test_tiny_student_agrees_with_torch(
    tiny_student: Student, tiny_onnx: Path, tolerances: Mapping[str, float]
) -> None:
    parities = compare(tiny_student, tiny_onnx)
    assert [(parity.height, parity.width) for parity in parities] == list(SIZES_HW)
    assert max(parity.max_lsb for parity in parities) <= tolerances["fp32_max_lsb"]
    # A level is only ever missed where the value lies between two.
    assert max(parity.differing_share for parity in parities) < 0.01


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(16, 70), width=st.integers(16, 70))
def test_any_size_from_16_up_agrees_with_torch(
    tiny_student: Student, tiny_onnx: Path, height: int, width: int
) -> None:
    (parity,) = compare(tiny_student, tiny_onnx, ((height, width),))
    assert parity.max_lsb <= MAX_DIFFERENCE_LSB


def test_shipped_student_agrees_with_torch(tmp_path: Path, tolerances: Mapping[str, float]) -> None:
    student = load_student(default_model_dir())
    export_student(student, tmp_path / "model.onnx")
    parities = compare(student, tmp_path / "model.onnx", SIZES_HW[1:])
    assert max(parity.max_lsb for parity in parities) <= tolerances["fp32_max_lsb"]


def test_shipped_file_is_that_of_the_shipped_weights() -> None:
    model_dir = default_model_dir()
    (parity,) = compare(load_student(model_dir), model_dir / "model.onnx", ((97, 161),))
    assert parity.max_lsb <= MAX_DIFFERENCE_LSB


def test_other_weights_are_seen(tiny_student: Student, tiny_onnx: Path) -> None:
    other = deepcopy(tiny_student)
    with torch.no_grad():
        if tiny_student.shape.ends == "blocks":
            other.get_parameter("back.blend.bias")[32:] += 3.0 / 64.0
        else:
            other.get_parameter("back.last.bias").add_(3.0 / 64.0)
    parities = compare(other, tiny_onnx, ((48, 64),))
    # Three grey levels, times the modulation; at most four times less than that where a sigmoid follows.
    assert 2 <= parities[0].max_lsb <= 6
    assert parities[0].differing_share > 0.5


@pytest.mark.parametrize("style", [False, True])
def test_teacher_agrees_with_torch(style: bool, tmp_path: Path) -> None:
    torch.manual_seed(3)
    teacher = LdFusion(LdFusionShape(width=4, style=style)).eval()
    export_teacher(teacher, tmp_path / "teacher.onnx")
    assert compare_teacher(teacher, tmp_path / "teacher.onnx") < 1e-3
    assert compare_teacher(teacher, tmp_path / "teacher.onnx", ((50, 41), (16, 16))) < 1e-3


def test_published_teacher_agrees_with_torch(shared: Path, tmp_path: Path) -> None:
    teacher = load_teacher(shared / "checkpoints" / "ldlite" / "final.pt")
    export_teacher(teacher, tmp_path / "teacher.onnx")
    assert compare_teacher(teacher, tmp_path / "teacher.onnx") < 1e-3


def test_another_teacher_is_seen(tmp_path: Path) -> None:
    torch.manual_seed(3)
    teacher, other = (LdFusion(LdFusionShape(width=4, style=False)).eval() for _ in range(2))
    export_teacher(teacher, tmp_path / "teacher.onnx")
    assert compare_teacher(other, tmp_path / "teacher.onnx") > 1e-2
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(float("nan"))
    assert compare_teacher(other, tmp_path / "teacher.onnx") == float("inf")


def test_example_pictures_use_all_levels_and_repeat() -> None:
    infrared, visible = example_pictures(240, 320)
    assert infrared.min() == 0
    assert infrared.max() == 255
    assert visible.std() > 40
    again = example_pictures(240, 320)
    np.testing.assert_array_equal(again[0], infrared)
    np.testing.assert_array_equal(again[1], visible)
