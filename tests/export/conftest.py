"""A student small enough to export in a test, with weights that make every part of it count."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import ModelProto
from torch import nn

from irvis_export.to_onnx import export_student
from irvis_runtime.contract import Manifest, WeightFile, save_manifest, sha256_of
from irvis_train.student import Student
from irvis_train.student_files import save_student
from irvis_train.student_shape import StudentShape

TINY = {
    "blocks": StudentShape("blocks", 16, 32, 1, 16, 16, scene_channels=16),
    "wide": StudentShape("blocks", 16, 32, 1, 16, 16, 1, 16, (1, 2), 16),
    "joint": StudentShape("blocks", 16, 32, 0, 16, 16, scene_channels=16, joint_channels=32, lift_rank=16),
    "fine": StudentShape("fine", 16, 32, 1, 16, 16, scene_channels=16),
}


@pytest.fixture(scope="session", params=TINY)
def tiny_student(request: pytest.FixtureRequest) -> Student:
    """Random weights; what starts at zero or nearly so is given some too."""
    torch.manual_seed(11)
    student = Student(TINY[request.param]).eval()
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if name.endswith("weight") and not name.startswith("modulation"):
                nn.init.kaiming_normal_(parameter)
        student.modulation.leave.weight.normal_(std=0.05)
        if student.shape.ends == "blocks":
            student.get_parameter("back.blend.weight").normal_(std=0.02)
    return student


@pytest.fixture
def tiny_model_dir(tiny_student: Student, tmp_path: Path) -> Path:
    """A model directory as training leaves it: weights and manifest, no ONNX yet."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    weights = folder / "student.safetensors"
    save_student(tiny_student, weights)
    manifest = Manifest(
        name="tiny",
        files={},
        multiple=tiny_student.shape.multiple_px,
        provenance={"made by": "tests/export"},
        measured={"validation": {"psnr": 20.0}},
        weights=WeightFile(weights.name, sha256_of(weights)),
    )
    save_manifest(folder, manifest)
    return folder


@pytest.fixture(scope="session")
def tiny_onnx(tiny_student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny student's ONNX file."""
    path = tmp_path_factory.mktemp("tiny") / "model.onnx"
    export_student(tiny_student, path)
    return path


@pytest.fixture(scope="session")
def tiny_graph(tiny_onnx: Path) -> ModelProto:
    return onnx.load(tiny_onnx)
