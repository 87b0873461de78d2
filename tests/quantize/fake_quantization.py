"""Runs an emitted graph in torch, its levels as fake quantization: floats rounded to what levels stand for.

Floats are float32, as in ONNX Runtime; the sums of QLinearConv, of whole numbers there, are exact here.
So what may differ is where Q and DQ stand and how they round, and in front of a convolution of levels
that comes from a convolution of floats the last bits of that one's sums: their order is the kernel's own.
Where they turn a level, which they can on the half between two levels alone, ONNX Runtime's is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional as F

from irvis_runtime.contract import FUSED

TYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float32,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT32: torch.int64,
    TensorProto.INT64: torch.int64,
}
PLAIN: Mapping[str, Any] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Abs": torch.abs,
    "Sqrt": torch.sqrt,
    "Log": torch.log,
    "Exp": torch.exp,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Round": torch.round,
    "Less": torch.lt,
    "Where": torch.where,
}


TIE = 2.0**-7
"""Of a step: as far as float32's sums of a thousand products may move a value on a half; seen: 0.0022."""
HALF_TIE = 2.0**-3
"""In FP16, whose numbers are half of that apart at the 127th step: the last bit of a sum may turn two of the
roundings in front of the levels, where ONNX Runtime rounds at all."""


def run(
    model: ModelProto,
    inputs: Mapping[str, NDArray[np.generic]],
    given: Mapping[str, NDArray[np.generic]],
    levels: Mapping[str, NDArray[np.generic]],
) -> NDArray[np.uint8]:
    """The fused picture (H, W) of the graph's inputs by port.

    `given`: tensors that are not computed anew. `levels`: ONNX Runtime's, behind convolutions of floats;
    AssertionError where they are others than those computed here, but for values on the half between two.
    """
    known: dict[str, Tensor] = {name: _tensor(array) for name, array in inputs.items()}
    known |= {name: _tensor(array) for name, array in given.items()}
    known |= {t.name: _tensor(numpy_helper.to_array(t)) for t in model.graph.initializer}
    halves = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16}
    for node in model.graph.node:
        if known.keys() >= set(node.output):
            continue
        taken: list[Any] = [known[name] if name else None for name in node.input]
        # ONNX Runtime has no FP16 on CPUs but for Q and DQ: what these take and give it rounds, no more.
        is_half = node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[1] in halves
        if is_half and node.op_type == "QuantizeLinear":
            taken[0] = _rounded_to_half(taken[0])
        results = _apply(node, taken)
        if is_half and node.op_type == "DequantizeLinear":
            results = [_rounded_to_half(results[0])]
        if node.output[0] in levels:
            results = [_turned(node.output[0], taken, results[0], _tensor(levels[node.output[0]]), is_half)]
        known.update(zip(node.output, results, strict=True))
    fused: NDArray[np.uint8] = known[FUSED].to(torch.uint8).numpy()[0, 0]
    return fused


def _rounded_to_half(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float16).to(torch.float32)


def _turned(name: str, taken: list[Any], own: Tensor, theirs: Tensor, is_half: bool) -> Tensor:
    apart = own.to(torch.int64) - theirs.to(torch.int64)
    between = (own.to(torch.float32) + theirs.to(torch.float32)) / 2 - taken[2].to(torch.float32)
    off_half = ((taken[0] / taken[1] - between).abs() > (HALF_TIE if is_half else TIE)) & (apart != 0)
    assert int(apart.abs().max()) <= 1, name
    assert not bool(off_half.any()), name
    return theirs


def _tensor(array: NDArray[np.generic]) -> Tensor:
    if array.dtype.kind == "f":
        return torch.from_numpy(np.array(array, np.float32))
    return torch.from_numpy(np.array(array, array.dtype if array.dtype == np.uint8 else np.int64))


def _apply(node: NodeProto, x: list[Any]) -> list[Tensor]:
    a = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    kind = node.op_type
    if kind in PLAIN:
        return [PLAIN[kind](*x)]
    if kind == "Split":
        return list(torch.split(x[0], x[1].tolist(), a.get("axis", 0)))
    return [_MORE[kind](x, a)]


def _constant(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    return _tensor(numpy_helper.to_array(a["value"]))


def _div(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    whole = not x[0].is_floating_point()
    return torch.div(x[0], x[1], rounding_mode="trunc" if whole else None)


def _cast(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    return x[0].to(TYPES[a["to"]])


def _clip(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    return torch.minimum(torch.maximum(x[0], x[1]), x[2])


def _reduce_mean(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    axes = a["axes"] if "axes" in a else x[1].tolist()
    return x[0].mean(dim=list(axes), keepdim=bool(a.get("keepdims", 1)))


def _shape(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    return torch.tensor(x[0].shape, dtype=torch.int64)


def _slice(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    starts, ends = x[1].tolist(), x[2].tolist()
    axes = x[3].tolist() if len(x) > 3 else range(len(starts))
    steps = x[4].tolist() if len(x) > 4 else [1] * len(starts)
    cuts = [slice(None)] * x[0].dim()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cuts[axis] = slice(start, end, step)
    return x[0][tuple(cuts)]


def _pad(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    before, after = x[1].tolist()[:4], x[1].tolist()[4:]
    pads = (before[3], after[3], before[2], after[2])
    mode = {b"edge": "replicate", b"reflect": "reflect"}[a["mode"]]
    return F.pad(x[0].to(torch.float32), pads, mode=mode).to(x[0].dtype)


def _space_to_depth(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    n, c, h, w = x[0].shape
    b = a["blocksize"]
    return x[0].reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, -1, h // b, w // b)


def _depth_to_space(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    n, c, h, w = x[0].shape
    b = a["blocksize"]
    if a.get("mode", b"DCR") == b"CRD":
        blocks = x[0].reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    else:
        blocks = x[0].reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, c // b**2, h * b, w * b)


def _reshape(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    kept = [x[0].shape[place] if side == 0 else side for place, side in enumerate(x[1].tolist())]
    return x[0].reshape(kept)


def _squeeze(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    return x[0].squeeze() if len(x) < 2 else x[0].squeeze(*x[1].tolist())


def _resize(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    if a["mode"] == b"nearest":
        factor = int(x[2].tolist()[-1])
        return x[0].repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    return _resize_linear(x[0], x[2].tolist()[2:])


def _resize_linear(source: Tensor, scale_hw: list[float]) -> Tensor:
    """ONNX Runtime's sum of four products in its very order: half pixels of levels lie on halves of levels.

    Where three quarters of one level and a quarter of another make just half a level, the last bit of the sum
    says which level it becomes; torch's own interpolation sums rows first.
    """
    (top, bottom, below, above), (left, right, after, before) = (
        _neighbours(size, scale) for size, scale in zip(source.shape[2:], scale_hw, strict=True)
    )
    rows = source.index_select(2, top), source.index_select(2, bottom)
    upper_left, upper_right = (rows[0].index_select(3, place) for place in (left, right))
    lower_left, lower_right = (rows[1].index_select(3, place) for place in (left, right))
    above, below = above[:, None], below[:, None]
    total = before * above * upper_left + after * above * upper_right
    total = total + before * below * lower_left
    return total + after * below * lower_right


def _neighbours(size: int, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Along one side, the two samples next to each new one, its distance to the first, and to the second."""
    place = (torch.arange(round(size * scale), dtype=torch.float32) + 0.5) / scale - 0.5
    place = place.clamp(0.0, size - 1.0)
    first = place.to(torch.int64).clamp(max=size - 1)
    second = (first + 1).clamp(max=size - 1)
    half = torch.full_like(place, 0.5)
    to_first = torch.where(first == second, half, (place - first).abs())
    to_second = torch.where(first == second, half, (place - second).abs())
    return first, second, to_first, to_second


def _convolve(source: Tensor, weight: Tensor, bias: Tensor | None, a: dict[str, Any]) -> Tensor:
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    padded = F.pad(source, (left, right, top, bottom))
    return F.conv2d(padded, weight, bias, a["strides"], 0, a["dilations"], a.get("group", 1))


def _levels(x: list[Tensor], low: int, high: int) -> Tensor:
    return torch.clamp(torch.round(x[0] / x[1]) + x[2], low, high)


def _quantize(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    """To uint8, or to int8, whose zero is int64 here."""
    if x[2].dtype == torch.uint8:
        return _levels(x, 0, 255).to(torch.uint8)
    return _levels(x, -128, 127).to(torch.int64)


def _dequantize(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    scale, zero = x[1], x[2].to(torch.float32)
    if scale.dim() == 1 and scale.numel() > 1:
        scale, zero = (v.reshape([-1] + [1] * (x[0].dim() - 1)) for v in (scale, zero))
    return (x[0].to(torch.float32) - zero) * scale


def _q_linear_conv(x: list[Tensor], a: dict[str, Any]) -> Tensor:
    """The levels around their zero, convolved, times one scale for each channel, rounded to levels once."""
    source, weight = x[0].to(torch.float32) - x[2].to(torch.float32), x[3].to(torch.float32)
    largest = float(source.abs().max() * weight.abs().sum(dim=(1, 2, 3)).max())
    # Whole numbers, exact in float32 up to here, which takes a third of float64's time.
    kind = torch.float32 if largest < 2**24 else torch.float64
    sums = _convolve(source.to(kind), weight.to(kind), None, a).to(torch.float64)
    if len(x) > 8:
        sums = sums + x[8].to(torch.float64).reshape(-1, 1, 1)
    scale = (x[1] * x[4].reshape(-1) / x[6]).reshape(-1, 1, 1)
    real = sums.to(torch.float32) * scale
    return torch.clamp(torch.round(real) + x[7].to(torch.float32), 0, 255).to(torch.uint8)


_MORE: Mapping[str, Any] = {
    "Constant": _constant,
    "Div": _div,
    "Cast": _cast,
    "Clip": _clip,
    "ReduceMean": _reduce_mean,
    "Shape": _shape,
    "Slice": _slice,
    "Pad": _pad,
    "Concat": lambda x, a: torch.cat(x, a["axis"]),
    "SpaceToDepth": _space_to_depth,
    "DepthToSpace": _depth_to_space,
    "Transpose": lambda x, a: x[0].permute(a["perm"]),
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": lambda x, a: x[0].unsqueeze(int(x[1])),
    "Gather": lambda x, a: x[0][x[1]],
    "Expand": lambda x, a: x[0].expand(np.broadcast_shapes(x[0].shape, tuple(x[1].tolist()))),
    "Resize": _resize,
    "Conv": lambda x, a: _convolve(x[0], x[1], x[2] if len(x) > 2 else None, a),
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "QLinearConv": _q_linear_conv,
}
