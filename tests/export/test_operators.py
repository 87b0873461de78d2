from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_export.operators import CropLike, PadToMultiple, SpaceToDepth
from irvis_export.to_onnx import write_onnx


def test_space_to_depth_puts_rows_first() -> None:
    picture = torch.arange(64.0).reshape(1, 1, 8, 8)
    blocks = SpaceToDepth.apply(picture, 4)
    assert blocks.shape == (1, 16, 2, 2)
    assert blocks[0, :, 0, 1].tolist() == [8 * row + column for row in range(4) for column in range(4, 8)]
    assert torch.equal(F.pixel_shuffle(blocks, 4), picture)


class FoldAndUnfold(nn.Module):
    """Moves pixels between channels; what comes out is of the size of what goes in."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.block = block

    def forward(self, planes: Tensor) -> Tensor:
        return F.pixel_shuffle(SpaceToDepth.apply(planes, self.block), self.block)


@pytest.mark.parametrize(("channels", "block"), [(1, 4), (1, 2), (3, 2), (16, 2), (5, 4)])
def test_space_to_depth_orders_channels_as_onnx_does(channels: int, block: int, tmp_path: Path) -> None:
    """ONNX Runtime and torch fold many channels alike: the pixel of a block first, then the channel."""
    planes = torch.randn(1, channels, 8, 12)
    write_onnx(FoldAndUnfold(block), {"planes": planes}, tmp_path / "fold.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "fold.onnx").graph.node]
    assert operators == ["SpaceToDepth", "DepthToSpace"]
    session = onnxruntime.InferenceSession(str(tmp_path / "fold.onnx"), providers=["CPUExecutionProvider"])
    (moved,) = session.run(None, {"planes": planes.numpy()})
    np.testing.assert_array_equal(moved, FoldAndUnfold(block)(planes).numpy())
    assert (channels == 1) is np.array_equal(moved, planes.numpy())


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
