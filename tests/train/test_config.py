from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import irvis_train
from irvis_runtime.config import describe, from_mapping, load_config, to_mapping
from irvis_runtime.errors import ContractError
from irvis_train.config import DistillConfig
from irvis_train.endow import endow
from irvis_train.student import Student
from irvis_train.student_shape import StudentShape

REQUIRED: Mapping[str, Any] = {
    "teacher": "t.pt",
    "pairs": ["train"],
    "val_pairs": ["val"],
    "output": "runs/a",
}
SHIPPED = sorted(Path(irvis_train.__path__[0]).glob("configs/irvis-*.toml"))


def test_configurations_are_shipped() -> None:
    assert {"irvis-m.toml", "irvis-n.toml", "irvis-s.toml"} <= {path.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_configuration_is_read(path: Path) -> None:
    config = load_config(DistillConfig, path)
    assert config.name == path.stem
    assert config.pairs
    assert config.output == f"runs/{config.name}"
    assert "LLVIP" in config.exclude, "no shipped weight has seen LLVIP, which is for non-commercial use only"


def test_smaller_shipped_students_fit_the_largest() -> None:
    """They start with its deep layers: it has fine ends, and no more of anything is asked for than it has."""
    donor, *others = (
        load_config(DistillConfig, path) for path in sorted(SHIPPED, key=lambda path: path.stem != "irvis-m")
    )
    assert (donor.name, donor.start, donor.student.ends) == ("irvis-m", "teacher", "fine")
    for config in others:
        assert config.start == f"{donor.output}/{donor.name}"
        endow(Student(config.student), Student(donor.student), torch.full((1, 2, 64, 64), 100.0))


def test_arguments_override_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'teacher = "t"\npairs = ["p"]\nval_pairs = ["v"]\noutput = "o"\nsteps = 5\n'
    )
    overrides = ["steps=7", "student.deep_channels=32", "exclude=['night']", "name=b"]
    config = load_config(DistillConfig, tmp_path / "a.toml", overrides)
    assert (config.steps, config.name, config.exclude) == (7, "b", ("night",))
    assert config.student == StudentShape(deep_channels=32)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("step", "steps"),
        ("learningrate", "learning_rate"),
        ("val_pair", "val_pairs"),
        ("student.deep_chanels", "deep_channels"),
    ],
)
def test_an_unknown_key_names_the_nearest(key: str, nearest: str) -> None:
    overrides = [f"{name}={value}" for name, value in REQUIRED.items()] + [f"{key}=3"]
    with pytest.raises(ContractError, match=f"unknown key .*; did you mean '{nearest}'") as info:
        load_config(DistillConfig, None, overrides)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_named_with_what_it_means(key: str) -> None:
    with pytest.raises(ContractError, match=rf"missing key '{key}' \(.+\)"):
        from_mapping(
            DistillConfig, {name: value for name, value in REQUIRED.items() if name != key}, "a.toml"
        )


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"steps": 0}, "steps: expected 1 or more, got 0"),
        ({"batch": -1}, "batch: expected 1 or more, got -1"),
        ({"late_batch": 0}, "late_batch: expected 1 or more"),
        ({"validate_every": 0}, "validate_every: expected 1 or more"),
        ({"checkpoint_every": 0}, "checkpoint_every: expected 1 or more"),
        ({"crop_px": 100}, "crop_px: expected a multiple of 8, got 100"),
        ({"crop_px": 48, "student": {"wide_channels": 16}}, "crop_px: expected a multiple of 32, got 48"),
        ({"coarse_weight": -1}, "coarse_weight: expected 0 or more"),
        ({"psnr_weight": -0.1}, "psnr_weight: expected 0 or more, got -0.1"),
        ({"late_crop_px": 0}, "late_crop_px: expected a multiple of 8, got 0"),
        ({"fresh_every": -1}, "fresh_every: expected 0 or more"),
        ({"whole_every": -1}, "whole_every: expected 0 or more, got -1"),
        ({"warmup_steps": -1}, "warmup_steps: expected 0 or more"),
        ({"gradient_weight": -0.1}, "gradient_weight: expected 0 or more"),
        ({"ssim_weight": -1}, "ssim_weight: expected 0 or more"),
        ({"degraded_every": -1}, "degraded_every: expected 0 or more"),
        ({"clips_every": -1}, "clips_every: expected 0 or more"),
        ({"guide_steps": -1}, "guide_steps: expected 0 or more"),
        ({"flicker_weight": -0.5}, "flicker_weight: expected 0 or more"),
        ({"language_weight": -1}, "language_weight: expected 0 or more"),
        ({"max_severity": 1.1}, "max_severity: expected a share from 0 to 1, got 1.1"),
        ({"degraded_every": 7, "batch": 3}, "batch, late_batch: expected even numbers"),
        ({"clips": ["a"], "clips_every": 9, "late_batch": 1}, "batch, late_batch: expected even numbers"),
        ({"clips": ["a"]}, "clips, clips_every: expected both or neither"),
        ({"clips_every": 9}, "clips, clips_every: expected both or neither"),
        ({"threads": -1}, "threads: expected 0 or more"),
        ({"seed": -1}, "seed: expected 0 or more"),
        ({"late_from": 1.5}, "late_from: expected a share from 0 to 1, got 1.5"),
        ({"learning_rate": 0}, "learning_rate: expected a number between 0 and 1"),
        ({"longest_side_px": 0}, "longest_side_px: expected 16 or more, got 0"),
        ({"pairs": []}, "pairs and val_pairs: expected at least one folder each"),
        ({"val_pairs": []}, "pairs and val_pairs: expected at least one folder each"),
        ({"name": "my model"}, "name: expected 1 to 64 letters.*got 'my model'"),
        ({"name": "../up"}, "name: expected 1 to 64 letters"),
        ({"precision": "fp16"}, "precision: expected one of 'fp32', 'bf16', got 'fp16'"),
        ({"steps": "many"}, "steps: expected an integer, got 'many'"),
        ({"steps": True}, "steps: expected an integer, got True"),
        ({"pairs": "train"}, "pairs: expected a list, got 'train'"),
        ({"student": {"front_channels": 17}}, "student: front_channels: expected a multiple of 16, got 17"),
        ({"student": {"ends": "coarse"}}, "student: ends: expected one of 'blocks', 'fine', got 'coarse'"),
    ],
)
def test_a_wrong_value_is_refused_before_the_run(values: Mapping[str, Any], match: str) -> None:
    with pytest.raises(ContractError, match=match) as info:
        from_mapping(DistillConfig, {**REQUIRED, **values}, "a.toml")
    assert str(info.value).startswith("a.toml: ")
    assert "\n" not in str(info.value)


def test_every_field_is_documented() -> None:
    for line in describe(DistillConfig).splitlines():
        # The student's fields are documented by the docstrings below them.
        assert line.lstrip().startswith("student.") or len(line.split("  ")) > 2, line


def test_what_is_stored_beside_the_run_is_read_back() -> None:
    config = from_mapping(DistillConfig, {**REQUIRED, "student": {"ends": "fine"}, "exclude": ["LLVIP"]}, "a")
    assert from_mapping(DistillConfig, to_mapping(config), "again") == config
