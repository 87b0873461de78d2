from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import open_clip
import pytest

import irvis_train
from irvis_runtime.config import describe, from_mapping, load_config, to_mapping
from irvis_runtime.errors import ContractError
from irvis_train.clip_config import ClipShape, ClipTrainingConfig

REQUIRED: Mapping[str, Any] = {"teacher": "t.pt", "pairs": ["a"], "val_pairs": ["b"], "output": "o"}


def make(**changes: Any) -> ClipTrainingConfig:
    return from_mapping(ClipTrainingConfig, {**REQUIRED, **changes}, "test")


def test_the_shipped_configuration_is_read_and_leaves_out_llvip() -> None:
    config = load_config(ClipTrainingConfig, Path(irvis_train.__path__[0]) / "configs" / "clip.toml")
    assert "LLVIP" in config.exclude
    assert "LLVIP" in config.val_exclude


def test_every_field_is_documented_and_comes_back() -> None:
    for cls in (ClipTrainingConfig, ClipShape):
        assert all(field.metadata.get("doc") for field in fields(cls))
    assert "shape.context_length: int = 32" in describe(ClipTrainingConfig)
    assert from_mapping(ClipTrainingConfig, to_mapping(make()), "again") == make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps: expected 1 or more, got 0"),
        ({"groups": 0}, "groups: expected 1 or more, got 0"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
        ({"attack_levels": 40.0}, "attack_levels: expected 0 to 32 grey levels, got 40.0"),
        ({"average": 1.0}, "average: expected a decay from 0 to below 1, got 1.0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number between 0 and 1, got 0.0"),
        ({"longest_side_px": 8}, "longest_side_px: expected 16 or more, got 8"),
        ({"pairs": []}, "expected at least one folder each"),
        ({"atack_levels": 1.0}, "unknown key 'atack_levels'; did you mean 'attack_levels'?"),
        ({"shape": {"picture_px": 100}}, "picture_px: expected a multiple of 32, got 100"),
        ({"shape": {"width": 5}}, "width: expected a multiple of 2, got 5"),
        ({"shape": {"text_width": 30}}, "text_width: expected a multiple of 4, got 30"),
        ({"shape": {"layers": [1, 0, 1, 1]}}, "layers: expected 1 or more in each stage"),
        ({"shape": {"context_length": 8}}, "context_length: expected 20 or more, got 8"),
    ],
)
def test_bad_values_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError) as info:
        make(**changes)
    assert message in str(info.value)
    assert "\n" not in str(info.value)


def test_the_default_shape_is_a_few_million_parameters() -> None:
    model = open_clip.model.CLIP(**ClipShape().model_config())
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 2_000_000 < count < 8_000_000
