"""Runs an emitted graph in torch, its levels as fake quantization: floats rounded to what levels stand for.

Floats are float32, as in ONNX Runtime; the sums of QLinearConv, of whole numbers there, are exact in float64
here. So what may differ is where Q and DQ stand and how they round.
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


def run(
    model: ModelProto, inputs: Mapping[str, NDArray[np.generic]], given: Mapping[str, NDArray[np.generic]]
) -> NDArray[np.uint8]:
    """The fused picture (H, W) of the graph's inputs by port; `given`: tensors that are not computed anew."""
    known: dict[str, Tensor] = {name: _tensor(array) for name, array in inputs.items()}
    known |= {name: _tensor(array) for name, array in given.items()}
    known |= {t.name: _tensor(numpy_helper.to_array(t)) for t in model.graph.initializer}
    for node in model.graph.node:
        if known.keys() >= set(node.output):
            continue
        results = _apply(node, [known[name] if name else None for name in node.input])
        known.update(zip(node.output, results, strict=True))
    fused: NDArray[np.uint8] = known[FUSED].to(torch.uint8).numpy()[0, 0]
    return fused


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
    scale = x[2].tolist()[2:]
    return F.interpolate(x[0], scale_factor=scale, mode="bilinear", align_corners=False)


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
    source = x[0].to(torch.float64) - x[2].to(torch.float64)
    bias = x[8].to(torch.float64) if len(x) > 8 else None
    sums = _convolve(source, x[3].to(torch.float64), bias, a)
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
