from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from irvis_runtime.config import describe, from_mapping, load_config
from irvis_runtime.errors import ContractError
from irvis_train import teacher_config
from irvis_train.teacher_config import TeacherConfig

LEAST: dict[str, Any] = {"pairs": ["p"], "output": "o"}
CONFIGS = Path(teacher_config.__file__).parent / "configs"


def test_the_defaults_are_the_papers() -> None:
    config = from_mapping(TeacherConfig, LEAST, "test")
    assert (config.start, config.width, config.style) == ("scratch", None, None)
    assert (config.batch, config.crop_px, config.learning_rate, config.input_noise) == (16, 224, 5e-4, 0.03)
    assert (config.clip.model, config.clip.pretrained) == ("ViT-B-32", "openai")
    objective = config.objective
    weights = (objective.global_weight, objective.patch_weight, objective.regularisation_weight)
    assert (*weights, objective.perceptual_weight) == (2.0, 10.0, 6.0, 10.0)
    assert (config.gradient_weight, config.intensity_weight, config.anchor_weight) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("steps", 0, "steps: expected 1 or more, got 0"),
        ("crop_px", 15, "crop_px: expected 16 or more, got 15"),
        ("zoom", [1.5, 1.0], "zoom: expected a range from 0.5 to 8"),
        ("ema_decay", 1.0, "ema_decay: expected from 0 to less than 1"),
        ("gradient_weight", -1.0, "gradient_weight: expected 0 or more"),
        ("target_share", 1.5, "target_share: expected a share from 0 to 1"),
        ("name", "a/b", "name: expected a file's name"),
        ("pairs", [], "pairs: expected at least one folder"),
        ("anchor_weight", 1.0, "anchor_weight: needs a start to hold on to"),
        ("precision", "fp8", "precision: expected one of 'fp32', 'bf16', 'fp16'"),
        ("sheduler", "cosine", "unknown key 'sheduler'; did you mean 'schedule'"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(key: str, value: object, expected: str) -> None:
    with pytest.raises(ContractError, match=expected) as info:
        from_mapping(TeacherConfig, LEAST | {key: value}, "test")
    assert "\n" not in str(info.value)


def test_a_nested_key_that_is_misspelt_is_named() -> None:
    with pytest.raises(ContractError, match="unknown key 'pretraned'; did you mean 'pretrained'"):
        load_config(TeacherConfig, None, ['pairs=["p"]', "output=o", "clip.pretraned=openai"])


@pytest.mark.parametrize("name", ["teacher.toml", "teacher-domain.toml"])
def test_the_configurations_that_come_with_irvis_are_whole(name: str) -> None:
    config = load_config(TeacherConfig, CONFIGS / name)
    assert "LLVIP" in config.exclude
    assert (config.start == "scratch") == (name == "teacher.toml")


def test_every_field_is_documented() -> None:
    assert all("  " in line.strip() for line in describe(TeacherConfig).splitlines())
