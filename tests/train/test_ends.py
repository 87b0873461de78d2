from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from irvis_train.ends import space_to_depth


@settings(max_examples=20, deadline=None)
@given(
    block=st.sampled_from([2, 4]),
    channels=st.integers(1, 3),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
)
def test_folding_puts_rows_first_then_columns_then_channels(
    block: int, channels: int, rows: int, columns: int
) -> None:
    """As ONNX SpaceToDepth; pixel_unshuffle puts the channels first."""
    planes = torch.randn(2, channels, rows * block, columns * block)
    blocks = space_to_depth(planes, block)
    assert blocks.shape == (2, channels * block**2, rows, columns)
    for row in range(block):
        for column in range(block):
            place = (row * block + column) * channels
            assert torch.equal(blocks[:, place : place + channels], planes[..., row::block, column::block])


def test_one_channel_folds_as_pixel_shuffle_unfolds() -> None:
    picture = torch.randn(2, 1, 8, 12)
    assert torch.equal(F.pixel_shuffle(space_to_depth(picture, 4), 4), picture)
