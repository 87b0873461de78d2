"""A student's inheritance: the teacher's deep convolutions, its norms' usual statistics folded in.

Measured on 446 pairs whose thumbnails normalise them: the norms' deviations vary by 7 to 20 % from picture to
picture, their means by 0.05 to 0.3 deviations. A folded norm is nearly right, and Modulation learns the rest.
A student that is narrower than its teacher keeps the channels of largest L1 norm, as LD-Lite was pruned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

from .data import LabelledPair, as_tensor
from .ldfusion import DOWNSAMPLINGS, RESIDUAL_BLOCKS, LayerNorm, LdFusion
from .student import (
    INPUT_CLIP,
    FineBack,
    FineFront,
    PictureEncoder,
    Residual,
    Student,
    context_statistics,
    space_to_depth,
)

PICTURES = 48
"""Pictures whose statistics are averaged; more changed no first PSNR by 0.1 dB."""
ENCODERS = {"infrared": "encoder.content_encoder2.model", "visible": "encoder.content_encoder1.model"}
NORM_EPS = 1e-5


@dataclass(frozen=True)
class NormStatistics:
    """What a norm usually finds: mean / deviation and 1 / deviation, per channel (C,) or for all (1,)."""

    centre: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Inheritance:
    """A teacher's folded front of each picture, and which of its channels the student keeps."""

    fronts: Mapping[str, nn.Sequential]
    kept: Mapping[str, Tensor]

    def front(self, picture: str, normal_n1hw: Tensor) -> Tensor:
        """What the student's front should give for normalised pictures: (N, deep_channels / 2, H/4, W/4)."""
        features: Tensor = self.fronts[picture](normal_n1hw)
        return features[:, self.kept[picture]]


def inherit(student: Student, teacher: LdFusion, pairs: Sequence[LabelledPair]) -> Inheritance:
    """Copies the teacher's deep layers into the student; returns what its front has to learn.

    The fronts differ in form (the teacher's works at full resolution), so they are learned, not copied.
    """
    statistics = norm_statistics(teacher, pairs)
    modules = dict(teacher.named_modules())
    streams, fronts, kept = [], {}, {}
    with torch.no_grad():
        for picture in ("infrared", "visible"):
            encoder = getattr(student, picture)
            fold = _Folder(modules, statistics, ENCODERS[picture])
            fronts[picture], kept[picture], stream = _inherit_encoder(encoder, fold)
            streams.append(stream)
        # The teacher concatenates visible before infrared; the student infrared before visible.
        half = teacher.shape.width * 2**DOWNSAMPLINGS
        _inherit_decoder(student, modules, statistics, torch.cat([streams[0] + half, streams[1]]))
    return Inheritance(fronts, kept)


def norm_statistics(teacher: LdFusion, pairs: Sequence[LabelledPair]) -> dict[str, NormStatistics]:
    """Returns what each norm usually finds, by its name; the first ones' in normalised pictures."""
    names: dict[nn.Module, str] = {
        module: name
        for name, module in teacher.named_modules()
        if isinstance(module, (nn.InstanceNorm2d, LayerNorm))
    }
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in names.values()}

    def watch(module: nn.Module, inputs: tuple[Tensor], _: Tensor) -> None:
        x = inputs[0]
        axes = (0, 2, 3) if isinstance(module, nn.InstanceNorm2d) else (0, 1, 2, 3)
        deviation = (x.var(dim=axes, unbiased=False) + NORM_EPS).sqrt().reshape(-1)
        seen[names[module]].append((x.mean(dim=axes).reshape(-1) / deviation, 1.0 / deviation))

    hooks = [module.register_forward_hook(watch) for module in names]
    device = next(teacher.parameters()).device
    chosen = list(pairs)[:: max(1, len(pairs) // PICTURES)][:PICTURES]
    units: dict[str, list[Tensor]] = {prefix: [] for prefix in ENCODERS.values()}
    with torch.no_grad():
        for pair in chosen:
            teacher(as_tensor(pair.infrared_hw).to(device), as_tensor(pair.visible_hw).to(device))
            _, deviation = context_statistics(pair.context_2hw[None])
            for index, picture in enumerate(("infrared", "visible")):
                units[ENCODERS[picture]].append(deviation[0, index, 0, 0].to(device) / 255.0)
    for hook in hooks:
        hook.remove()
    return {name: _usual(rows, units.get(name.removesuffix(".2"))) for name, rows in seen.items()}


def _usual(rows: list[tuple[Tensor, Tensor]], units: list[Tensor] | None) -> NormStatistics:
    centre = torch.stack([row[0] for row in rows]).mean(dim=0)
    scales = torch.stack([row[1] for row in rows])
    if units is not None:
        # The student's pictures come without their mean, in deviations of the thumbnail.
        centre, scales = torch.zeros_like(centre), scales * torch.stack(units)[:, None]
    return NormStatistics(centre, scales.log().mean(dim=0).exp())


class _Folder:
    """Copies of an encoder's convolutions with their norms folded in."""

    def __init__(
        self, modules: Mapping[str, nn.Module], statistics: Mapping[str, NormStatistics], prefix: str
    ) -> None:
        self.modules, self.statistics, self.prefix = modules, statistics, prefix

    def __call__(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias of convolution `name`, such that the norm behind it becomes the identity."""
        path, _, last = f"{self.prefix}.{name}".rpartition(".")
        source, norm = self.modules[f"{path}.{last}"], self.statistics[f"{path}.{int(last) + 1}"]
        if not isinstance(source, nn.Conv2d) or source.bias is None:
            raise TypeError(f"{path}.{last}: not a convolution with a bias")
        bias = torch.zeros_like(source.bias) if name == "1" else source.bias * norm.scale - norm.centre
        return source.weight * norm.scale[:, None, None, None], bias


def _inherit_encoder(encoder: PictureEncoder, fold: _Folder) -> tuple[nn.Sequential, Tensor, Tensor]:
    """Fills one encoder; returns the teacher's front, its kept channels, and those of the stream."""
    front = nn.Sequential(
        nn.ReflectionPad2d(3), _conv(*fold("1")), nn.ReLU(), _conv(*fold("4"), 2, 1), nn.ReLU(),
        _conv(*fold("7"), 2, 1), nn.ReLU(),
    )  # fmt: skip
    weight, bias = fold(str(1 + 3 * DOWNSAMPLINGS))
    kept = _largest(weight, 1, encoder.down.in_channels)
    stream = _largest(weight, 0, encoder.down.out_channels)
    _fill(encoder.down, weight, bias, stream, kept)
    if isinstance(encoder.front, FineFront):
        first, bias_first = fold("1")
        _fill_all(encoder.front.first, on_blocks(first, 1, 2, -3), bias_first.repeat_interleave(4))
        second, bias_second = fold("4")
        _fill_all(encoder.front.second, on_blocks(second, 2, 2, -1), bias_second)
        _fill_all(encoder.front.third, *(part[kept] for part in fold("7")))
    for index, block in enumerate(list(encoder.blocks)[:RESIDUAL_BLOCKS]):
        if not isinstance(block, Residual):
            raise TypeError("blocks: not residual ones")
        inner_weight, inner_bias = fold(f"{4 + 3 * DOWNSAMPLINGS + index}.block.1")
        inner = _largest(inner_weight, 0, len(stream))
        _fill(block.first, inner_weight, inner_bias, inner, stream)
        _fill(block.second, *fold(f"{4 + 3 * DOWNSAMPLINGS + index}.block.5"), stream, inner)
    return front.requires_grad_(False), kept, stream


def on_blocks(weight: Tensor, stride: int, block: int, start: int) -> Tensor:
    """A convolution's weight (O, I, k, k) rewritten for pictures folded into blocks: same outputs.

    `start`: offset of the first tap from the output's position times `stride`. With stride 1 outputs are
    folded too, (O block^2, I block^2, s, s); with stride `block` they are not. Odd s, centred.
    """
    outputs, inputs, side, _ = weight.shape
    phases = block if stride == 1 else 1
    half = max(-(start // block), (start + side - 1 + phases - 1) // block)
    result = weight.new_zeros(outputs, phases, phases, inputs, block, block, 2 * half + 1, 2 * half + 1)
    places = [(p, tap, divmod(p + start + tap, block)) for p in range(phases) for tap in range(side)]
    for p, tap, (cell, inside) in places:
        for q, other, (cell_q, inside_q) in places:
            result[:, p, q, :, inside, inside_q, cell + half, cell_q + half] = weight[:, :, tap, other]
    return result.flatten(0, 2).flatten(1, 3)


def _inherit_decoder(
    student: Student,
    modules: Mapping[str, nn.Module],
    statistics: Mapping[str, NormStatistics],
    inputs: Tensor,
) -> None:
    weight, bias = _transposed(modules, statistics, 0)
    outputs = _largest(weight, 0, student.shape.lift_channels)
    _fill_all(student.lift, weight[outputs].flatten(0, 2)[:, inputs], bias[outputs].repeat_interleave(4))
    if not isinstance(student.back, FineBack):
        return
    weight, bias = _transposed(modules, statistics, 3)
    _fill_all(student.back.second, weight.flatten(0, 2)[:, outputs], bias.repeat_interleave(4))
    weight, bias = _transposed(modules, statistics, 6)
    _fill_all(student.back.third, weight.flatten(0, 2), bias.repeat_interleave(4))
    last = modules[f"decoder.model_up.{3 * DOWNSAMPLINGS + 1}"]
    if not isinstance(last, nn.Conv2d) or last.bias is None:
        raise TypeError("decoder.model_up: not the published topology")
    folded = on_blocks(last.weight, 1, 4, -3)
    # The third layer's channels are c, y, x of 2x2 blocks; folded by two once more Y, X, c, y, x, pixel 2Y+y.
    channels = (
        folded.reshape(len(folded), -1, 2, 2, 2, 2, *folded.shape[2:])
        .permute(0, 2, 4, 1, 3, 5, 6, 7)
        .flatten(1, 5)
    )
    _fill_all(student.back.last, channels, last.bias.repeat_interleave(16))


def _transposed(
    modules: Mapping[str, nn.Module], statistics: Mapping[str, NormStatistics], index: int
) -> tuple[Tensor, Tensor]:
    """A 5x5 stride-2 transposed convolution and its norm as 3x3: (O, 2, 2, I, 3, 3) and bias (O,)."""
    source, norm = modules[f"decoder.model_up.{index}"], modules[f"decoder.model_up.{index + 1}"]
    if not isinstance(source, nn.ConvTranspose2d) or not isinstance(norm, LayerNorm) or source.bias is None:
        raise TypeError("decoder.model_up: not the published topology")
    usual = statistics[f"decoder.model_up.{index + 1}"]
    weight = source.weight.new_zeros(source.out_channels, 2, 2, source.in_channels, 3, 3)
    # Output 2j+p is the sum over inputs j-2+tap of weight[2 (2 - tap) + p], where there is such a weight.
    taps = [(tap, p, 2 * (2 - tap) + p) for tap in range(3) for p in range(2) if 2 * (2 - tap) + p < 5]
    for tap, row, rows in taps:
        for side, column, columns in taps:
            weight[:, row, column, :, tap, side] = source.weight[:, :, rows, columns].T
    weight = weight * (norm.gamma * usual.scale)[:, None, None, None, None, None]
    return weight, (source.bias * usual.scale - usual.centre) * norm.gamma + norm.beta


def _fill_all(layer: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    if layer.weight.shape != weight.shape or layer.bias is None:
        raise ContractError(
            f"student: expected a layer of shape {tuple(weight.shape)} to inherit, got "
            f"{tuple(layer.weight.shape)}; take the teacher's width, or set inherit = false"
        )
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


def _conv(weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    outputs, inputs, side, _ = weight.shape
    layer = nn.Conv2d(inputs, outputs, side, stride, padding)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)  # type: ignore[union-attr]
    return layer


def _fill(layer: nn.Conv2d, weight: Tensor, bias: Tensor, outputs: Tensor, inputs: Tensor) -> None:
    """Copies the chosen channels into the first ones of a layer; a wider layer keeps its own others."""
    layer.weight[: len(outputs), : len(inputs)].copy_(weight[outputs][:, inputs])
    layer.bias[: len(outputs)].copy_(bias[outputs])  # type: ignore[index]


def _largest(weight: Tensor, axis: int, count: int) -> Tensor:
    """Indices of the `count` channels with the largest L1 norm along `axis`, in their old order."""
    norms = weight.abs().transpose(0, axis if axis < weight.dim() else 0).flatten(1).sum(dim=1)
    return norms.topk(min(count, len(norms))).indices.sort().values


def front_difference(
    student: Student, inheritance: Inheritance, infrared_n1hw: Tensor, visible_n1hw: Tensor, context: Tensor
) -> Tensor:
    """Mean squared difference of the student's features at a quarter of the resolution from the teacher's.

    Pictures and context in 0..255, sides multiples of 8. The teacher's first norm works in these units too.
    """
    mean, deviation = context_statistics(context)
    modulation = student.modulation(context, mean, deviation)
    difference = infrared_n1hw.new_zeros(())
    for index, (picture, plane) in enumerate((("infrared", infrared_n1hw), ("visible", visible_n1hw))):
        encoder: PictureEncoder = getattr(student, picture)
        normal = (plane - mean[:, index : index + 1]) / deviation[:, index : index + 1]
        with torch.no_grad():
            wanted = inheritance.front(picture, normal)
        first = index * len(encoder.modulated_channels())
        given = encoder.front(normal.clamp(-INPUT_CLIP, INPUT_CLIP), iter(modulation[first:]), space_to_depth)
        difference = difference + F.mse_loss(given[:, : wanted.shape[1]].float(), wanted.float())
    return difference
