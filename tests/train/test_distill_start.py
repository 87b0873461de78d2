"""What a run starts from: the teacher's heir, or a student trained before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from irvis_runtime.config import from_mapping
from irvis_runtime.contract import load_manifest
from irvis_runtime.errors import ContractError
from irvis_train.config import DistillConfig
from irvis_train.data import LabelledPair, read_labelled_pairs
from irvis_train.distill import distil
from irvis_train.endow import largest
from irvis_train.inherit import heir_of
from irvis_train.ldfusion import LdFusion
from irvis_train.modulation import context_statistics
from irvis_train.student_files import load_student
from irvis_train.student_shape import StudentShape
from irvis_train.teacher import load_teacher

MakeConfig = Callable[..., DistillConfig]
FINE = {
    "ends": "fine",
    "front_channels": 16,
    "deep_channels": 32,
    "residual_blocks": 2,
    "lift_channels": 32,
    "back_channels": 32,
    "scene_channels": 16,
}


def training_pairs(config: DistillConfig) -> list[LabelledPair]:
    return list(read_labelled_pairs(config.pairs, (), load_teacher(config.teacher), 800, Path(config.cache)))


def test_the_heir_is_the_first_of_a_family(make_config: MakeConfig, tmp_path: Path) -> None:
    """The teacher's heir, trained, and a student of its deep layers."""
    heir = distil(make_config(tmp_path / "a", steps=2, student=FINE, learning_rate=1e-9))
    student = load_student(heir)
    assert student.shape == from_mapping(StudentShape, FINE, "test")
    config = make_config(tmp_path)
    teacher = load_teacher(config.teacher)
    assert isinstance(teacher, LdFusion)
    for name, tensor in heir_of(teacher, training_pairs(config), 16).state_dict().items():
        if not name.startswith("modulation.mix"):
            torch.testing.assert_close(student.state_dict()[name], tensor, rtol=0, atol=1e-6, msg=name)
    small = distil(make_config(tmp_path / "b", steps=2, start=str(heir), learning_rate=1e-9))
    kept = largest(student.get_parameter("lift.weight").reshape(32, -1), 0, 16)
    weight, own = (model.get_parameter("lift.weight") for model in (student, load_student(small)))
    taken = weight.reshape(32, 4, -1)[kept]
    torch.testing.assert_close(own.reshape(16, 4, -1), taken, rtol=0, atol=1e-6)
    assert load_manifest(small).provenance["teacher"] == config.teacher
    blocks = {key: value for key, value in FINE.items() if key != "ends"}
    with pytest.raises(ContractError, match="start: expected a student with fine ends"):
        distil(make_config(tmp_path / "c", steps=2, start=str(small), student=blocks))
    with pytest.raises(ContractError, match="student: expected the shape of its start") as info:
        distil(make_config(tmp_path / "d", steps=2, student={**FINE, "deep_channels": 64}))
    assert "\n" not in str(info.value)


def test_a_student_starts_with_the_offsets_that_its_training_pairs_usually_have(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    """Its deep layers have none of their own, so they are in its biases."""
    heir = distil(make_config(tmp_path / "a", steps=6, student=FINE, learning_rate=0.02))
    small = distil(make_config(tmp_path / "b", steps=1, start=str(heir), learning_rate=1e-9))
    donor = load_student(heir).requires_grad_(False)
    contexts = torch.stack([pair.context_2hw for pair in training_pairs(make_config(tmp_path))])
    made = donor.modulation(contexts, *context_statistics(contexts))
    scale, offset = dict(zip(donor.modulated_layers(), made, strict=True))["infrared.down"]
    shift = ((scale * offset).mean(dim=0) / scale.square().mean(dim=0)).flatten()
    of_the_first = (offset[0] / scale[0]).flatten()
    assert float((shift - of_the_first).abs().max()) > 1e-3
    bias, own = (model.get_parameter("infrared.down.bias") for model in (donor, load_student(small)))
    torch.testing.assert_close(own, bias + shift, rtol=0, atol=1e-5)


def test_a_student_of_its_own_shape_is_trained_on(make_config: MakeConfig, tmp_path: Path) -> None:
    first = distil(make_config(tmp_path / "a", steps=6))
    again = distil(make_config(tmp_path / "b", steps=1, start=str(first), learning_rate=1e-9))
    assert load_student(first).shape.ends == "blocks"
    for name, tensor in load_student(first).state_dict().items():
        torch.testing.assert_close(
            load_student(again).state_dict()[name], tensor, rtol=0, atol=1e-6, msg=name
        )
