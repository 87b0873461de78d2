from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from irvis_runtime.errors import ContractError
from irvis_train.student_shape import StudentShape


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"front_channels": 40}, "front_channels: expected a multiple of 16, got 40"),
        ({"front_channels": 0}, "front_channels: expected a multiple of 16, got 0"),
        ({"deep_channels": 48}, "deep_channels: expected a multiple of 32, got 48"),
        ({"lift_channels": -16}, "lift_channels: expected a multiple of 16, got -16"),
        ({"back_channels": 8}, "back_channels: expected a multiple of 16, got 8"),
        ({"scene_channels": 90}, "scene_channels: expected a multiple of 16, got 90"),
        ({"residual_blocks": 0}, "residual_blocks: expected 1 or more, got 0"),
        ({"residual_blocks": -1, "joint_channels": 32}, "residual_blocks: expected 0 or more, got -1"),
        ({"back_layers": 0}, "back_layers: expected 1 or more, got 0"),
        ({"blend_side": 2}, "blend_side: expected 3, or 1 with block ends, got 2"),
        ({"blend_side": 0}, "blend_side: expected 3, or 1 with block ends, got 0"),
        ({"ends": "fine", "blend_side": 1}, "blend_side: expected 3, or 1 with block ends, got 1"),
        ({"wide_channels": 8}, "wide_channels: expected 0 or a multiple of 16, got 8"),
        ({"wide_channels": -16}, "wide_channels: expected 0 or a multiple of 16, got -16"),
        ({"wide_dilations": (1, 0)}, r"wide_dilations: expected 1 or more each, got \[1, 0\]"),
        ({"joint_channels": 48}, "joint_channels: expected 0 or a multiple of 32, got 48"),
        ({"joint_channels": -32}, "joint_channels: expected 0 or a multiple of 32, got -32"),
        ({"lift_rank": 24}, "lift_rank: expected 0 or a multiple of 16, got 24"),
        ({"lift_rank": -16}, "lift_rank: expected 0 or a multiple of 16, got -16"),
    ],
)
def test_a_wrong_shape_is_refused(values: Mapping[str, Any], match: str) -> None:
    with pytest.raises(ContractError, match=f"^{match}$"):
        StudentShape(**values)


def test_a_joint_block_may_be_the_only_one() -> None:
    assert StudentShape(residual_blocks=0, joint_channels=32).residual_blocks == 0


def test_a_wide_branch_works_at_a_32nd() -> None:
    narrow, wide = StudentShape(joint_channels=32, lift_rank=16), StudentShape(wide_channels=16)
    assert (narrow.multiple_px, wide.multiple_px) == (8, 32)
