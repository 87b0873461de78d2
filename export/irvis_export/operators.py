"""Operators that the exporter would write as chains of reshapes: in torch, and as the one ONNX operator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from irvis_train.ends import space_to_depth


class SpaceToDepth(torch.autograd.Function):
    """(N, C, H, W) -> (N, block^2 C, H/block, W/block): rows, columns, then channels."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor, block: int) -> Tensor:
        """In torch."""
        return space_to_depth(picture, block)

    @staticmethod
    def symbolic(g: Any, picture: Any, block: int) -> Any:
        """In ONNX."""
        return g.op("SpaceToDepth", picture, blocksize_i=block)


class PadToMultiple(torch.autograd.Function):
    """Repeats the last row and column until height and width are multiples of `multiple`."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor, multiple: int) -> Tensor:
        """In torch."""
        height, width = picture.shape[-2:]
        return F.pad(picture, (0, -width % multiple, 0, -height % multiple), mode="replicate")

    @staticmethod
    def symbolic(g: Any, picture: Any, multiple: int) -> Any:
        """In ONNX: the padding is computed from the shape, so that one file takes every size."""
        size = _height_width(g, picture)
        step = _constant(g, [multiple, multiple])
        blocks = g.op("Div", g.op("Sub", g.op("Add", size, step), _constant(g, [1, 1])), step)
        missing = g.op("Sub", g.op("Mul", blocks, step), size)
        pads = g.op("Concat", _constant(g, [0] * 6), missing, axis_i=0)
        return g.op("Pad", picture, pads, mode_s="edge")


class CropLike(torch.autograd.Function):
    """Keeps as many rows and columns as a second picture has."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, picture: Tensor) -> Tensor:
        """In torch."""
        return padded[..., : picture.shape[-2], : picture.shape[-1]]

    @staticmethod
    def symbolic(g: Any, padded: Any, picture: Any) -> Any:
        """In ONNX."""
        return g.op("Slice", padded, _constant(g, [0, 0]), _height_width(g, picture), _constant(g, [2, 3]))


def _height_width(g: Any, picture: Any) -> Any:
    return g.op("Slice", g.op("Shape", picture), _constant(g, [2]), _constant(g, [4]), _constant(g, [0]))


def _constant(g: Any, values: list[int]) -> Any:
    return g.op("Constant", value_t=torch.tensor(values, dtype=torch.int64))
