from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from irvis_export.operators import CropLike, PadToMultiple, SpaceToDepth


def test_space_to_depth_puts_rows_first() -> None:
    picture = torch.arange(64.0).reshape(1, 1, 8, 8)
    blocks = SpaceToDepth.apply(picture, 4)
    assert blocks.shape == (1, 16, 2, 2)
    assert blocks[0, :, 0, 1].tolist() == [8 * row + column for row in range(4) for column in range(4, 8)]
    assert torch.equal(F.pixel_shuffle(blocks, 4), picture)


@pytest.mark.parametrize(
    ("size_hw", "padded_hw"), [((16, 16), (16, 16)), ((17, 31), (32, 32)), ((1, 33), (16, 48))]
)
def test_pad_repeats_the_last_row_and_column(size_hw: tuple[int, int], padded_hw: tuple[int, int]) -> None:
    picture = torch.rand(1, 1, *size_hw)
    padded = PadToMultiple.apply(picture, 16)
    assert tuple(padded.shape[-2:]) == padded_hw
    assert torch.equal(CropLike.apply(padded, picture), picture)
    assert (padded[..., size_hw[0] :, : size_hw[1]] == picture[..., -1:, :]).all()
    assert (padded[..., : size_hw[0], size_hw[1] :] == picture[..., :, -1:]).all()
