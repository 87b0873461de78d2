"""Mirrored and moved pictures, by fusions that mind and fusions that do not."""

from __future__ import annotations

import numpy as np

from irvis_train.judge.contenders import Contender, Context, Picture
from irvis_train.judge.moved import SHIFTS_PX, judge_moved

from .judged import a_pair, average


def in_blocks(infrared_hw: Picture, visible_hw: Picture, context: Context | None) -> Picture:
    """Every 4x4 block is told apart from its left neighbour, as strides do."""
    fused = average(infrared_hw, visible_hw, context).astype(np.int64)
    columns = np.arange(fused.shape[1]) // 4 % 2
    shown: Picture = np.clip(fused + 20 * columns, 0, 255).astype(np.uint8)
    return shown


def test_what_works_pixel_by_pixel_minds_nothing() -> None:
    found = judge_moved([Contender("average", average)], [a_pair()])["average"]
    assert set(found) == {"mirrored", *(f"moved by {shift} px" for shift in SHIFTS_PX)}
    assert set(found.values()) == {100.0}


def test_strides_mind_all_but_their_multiples() -> None:
    found = judge_moved([Contender("blocks", in_blocks)], [a_pair(), a_pair((64, 96))])["blocks"]
    assert found["moved by 8 px"] == 100.0
    # Moved by a block, every block is its neighbour: 20 levels off everywhere.
    assert abs(found["moved by 4 px"] - 22.1) < 0.3
    assert found["moved by 4 px"] < found["moved by 1 px"] < 30.0
    assert found["mirrored"] < 23.0


def test_a_model_is_given_the_context_of_the_whole_picture() -> None:
    seen: list[Context] = []

    def watching(infrared_hw: Picture, visible_hw: Picture, context: Context | None) -> Picture:
        assert context is not None
        seen.append(context)
        return average(infrared_hw, visible_hw, context)

    judge_moved([Contender("watching", watching)], [a_pair()])
    whole, mirrored, *moved = seen
    np.testing.assert_array_equal(mirrored, whole[..., ::-1])
    assert len(moved) == len(SHIFTS_PX)
    for context in moved:
        np.testing.assert_array_equal(context, whole)
