from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from irvis_runtime.config import from_mapping
from irvis_runtime.context import make_context
from irvis_runtime.contract import Manifest, WeightFile, save_manifest, sha256_of
from irvis_runtime.errors import ContractError
from irvis_train.data import as_tensor
from irvis_train.student import Student
from irvis_train.student_files import FORMAT, StudentAsTeacher, load_student, read_student, save_student
from irvis_train.student_shape import StudentShape

MEMBERS: Mapping[str, object] = {
    "front_channels": 16,
    "deep_channels": 32,
    "residual_blocks": 2,
    "lift_channels": 16,
    "back_channels": 32,
    "scene_channels": 16,
}
CHANGES: Mapping[str, Mapping[str, object]] = {
    "blocks": {},
    "short blend": {"blend_side": 1},
    "fine": {"ends": "fine"},
    "joint": {"residual_blocks": 0, "joint_channels": 32, "lift_rank": 16},
}
SHAPES = {name: from_mapping(StudentShape, {**MEMBERS, **changes}, name) for name, changes in CHANGES.items()}


@pytest.fixture(params=SHAPES)
def student(request: pytest.FixtureRequest) -> Student:
    torch.manual_seed(1)
    student = Student(SHAPES[request.param]).eval().requires_grad_(False)
    torch.nn.init.normal_(student.modulation.leave.weight, std=0.05)
    for name, parameter in student.named_parameters():
        if name.endswith("weight") and not name.startswith(("modulation", "back.blend")):
            torch.nn.init.kaiming_normal_(parameter)
    return student


@pytest.fixture
def weights(student: Student, tmp_path: Path) -> Path:
    save_student(student, tmp_path / "model" / "student.safetensors")
    return tmp_path / "model" / "student.safetensors"


def header(shape: object, form: str = FORMAT) -> dict[str, str]:
    return {"format": form, "shape": json.dumps(shape)}


def refused(path: Path, match: str) -> None:
    with pytest.raises(ContractError, match=match) as info:
        read_student(path)
    assert "\n" not in str(info.value)
    assert str(path) in str(info.value)


def test_weights_and_shape_come_back_to_the_bit(student: Student, weights: Path) -> None:
    read = read_student(weights)
    assert read.shape == student.shape
    assert not read.training
    for name, tensor in student.state_dict().items():
        assert torch.equal(read.state_dict()[name], tensor)


def test_channels_last_weights_are_stored_alike(student: Student, weights: Path, tmp_path: Path) -> None:
    save_student(student.to(memory_format=torch.channels_last), tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == weights.read_bytes()


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        (header(MEMBERS, "irvis-student-1"), "expected format 'irvis-student-3', got 'irvis-student-1'"),
        ({}, "expected format 'irvis-student-3', got None"),
        ({"format": FORMAT}, "shape in the header is not JSON"),
        ({"format": FORMAT, "shape": "{"}, "shape in the header is not JSON"),
        (header([16]), "expected an object"),
        (header({"deep_chanels": 32}), "unknown key 'deep_chanels'; did you mean 'deep_channels'"),
        (header({"deep_channels": 48}), "deep_channels: expected a multiple of 32, got 48"),
        (header({"deep_channels": "32"}), "deep_channels: expected an integer"),
        (header({**MEMBERS, "lift_channels": 32}), "tensors do not fit the student"),
    ],
)
def test_a_wrong_header_is_refused(
    metadata: Mapping[str, str], match: str, weights: Path, tmp_path: Path
) -> None:
    save_file(load_file(weights), tmp_path / "changed.safetensors", dict(metadata))
    refused(tmp_path / "changed.safetensors", match)


def test_wrong_tensors_are_refused(student: Student, weights: Path, tmp_path: Path) -> None:
    shape = header(asdict(student.shape))
    path = tmp_path / "changed.safetensors"
    tensors: dict[str, Tensor] = load_file(weights)
    save_file({name: tensor for name, tensor in tensors.items() if name != "infrared.down.bias"}, path, shape)
    refused(path, r"do not fit the student .*infrared\.down\.bias")
    save_file(tensors | {"more": torch.zeros(1)}, path, shape)
    refused(path, "do not fit the student .*more")
    save_file(tensors | {"infrared.down.bias": torch.full((32,), float("nan"))}, path, shape)
    refused(path, r"infrared\.down\.bias holds NaN or infinity")


def test_half_a_file_and_no_file_are_refused(weights: Path, tmp_path: Path) -> None:
    content = weights.read_bytes()
    for size in (0, 5, len(content) // 2, len(content) - 1):
        (tmp_path / "half.safetensors").write_bytes(content[:size])
        refused(tmp_path / "half.safetensors", "not a whole safetensors file")
    refused(tmp_path / "none.safetensors", "not a whole safetensors file")


def test_a_model_directory_gives_its_student_if_the_hash_is_right(student: Student, weights: Path) -> None:
    model_dir = weights.parent
    entry = WeightFile(weights.name, sha256_of(weights))
    save_manifest(model_dir, Manifest("model", {}, student.shape.multiple_px, {}, {}, entry))
    name = "infrared.down.weight"
    assert torch.equal(load_student(model_dir).get_parameter(name), student.get_parameter(name))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ContractError, match="expected SHA-256"):
        load_student(model_dir)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 23), (33, 47), (97, 161), (50, 64)])
def test_a_student_teaches_with_the_runtimes_context_and_padding(
    student: Student, height: int, width: int
) -> None:
    rng = np.random.default_rng(2)
    infrared_hw, visible_hw = rng.integers(0, 256, (2, height, width), np.uint8)
    padding = ((0, -height % 8), (0, -width % 8))
    padded = [
        torch.from_numpy(np.pad(picture, padding, mode="edge"))[None, None].float()
        for picture in (infrared_hw, visible_hw)
    ]
    context = torch.from_numpy(make_context(infrared_hw, visible_hw))
    expected = (student(*padded, context)[..., :height, :width] / 255.0).clamp(0.0, 1.0)
    fused = StudentAsTeacher(student)(as_tensor(infrared_hw), as_tensor(visible_hw))
    assert fused.shape == (1, 1, height, width)
    assert float(fused.std()) > 0.03
    torch.testing.assert_close(fused, expected, rtol=0, atol=1e-4)
