"""The teacher's heir: a student with fine ends that has all its convolutions, the norms folded in.

Measured on 446 pairs whose thumbnails normalise them: the norms' deviations vary by 7 to 20 % from picture to
picture, their means by 0.05 to 0.3 deviations. A folded norm is nearly right; what differs from picture to
picture is fitted to the features of the thumbnails in closed form (scene_fit).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from irvis_runtime.errors import ContractError

from .data import LabelledPair, as_tensor
from .ends import FineBack, FineFront
from .ldfusion import DOWNSAMPLINGS, RESIDUAL_BLOCKS, LayerNorm, LdFusion
from .modulation import context_statistics
from .scene_fit import fit_modulation
from .student import PictureEncoder, Residual, Student
from .student_shape import StudentShape

PICTURES = 256
"""Pictures whose statistics are fitted; a third of a second each."""
DEEP = 1 + 3 * DOWNSAMPLINGS
"""Where an encoder's last strided convolution lies; its residual blocks follow."""
ENCODER_NORMS = {
    **{"first": "2", "fine": "5", "front": "8", "down": f"{DEEP + 1}"},
    **{
        f"{index}.{name}": f"{DEEP + 3 + index}.block.{norm}"
        for index in range(RESIDUAL_BLOCKS)
        for name, norm in (("first", 2), ("second", 6))
    },
}
"""The norms behind an encoder's modulated layers."""
ENCODERS = {"infrared": "encoder.content_encoder2.model", "visible": "encoder.content_encoder1.model"}
NORM_EPS = 1e-5


@dataclass(frozen=True)
class NormStatistics:
    """What a norm usually finds: mean / deviation and 1 / deviation, per channel (C,) or for all (1,)."""

    centre: Tensor
    scale: Tensor


def heir_shape(teacher: LdFusion, scene_channels: int) -> StudentShape:
    """The shape of the teacher's heir; ContractError for a teacher that has none."""
    if teacher.shape.style:
        raise ContractError(
            "start: expected a teacher without style branch, whose layers a student can have, got one with "
            "it; set start to a trained model directory, or to nothing"
        )
    width = teacher.shape.width
    return StudentShape(
        ends="fine",
        front_channels=4 * width,
        deep_channels=8 * width,
        residual_blocks=RESIDUAL_BLOCKS,
        lift_channels=8 * width,
        back_channels=8 * width,
        scene_channels=scene_channels,
    )


def heir_of(teacher: LdFusion, pairs: Sequence[LabelledPair], scene_channels: int) -> Student:
    """Returns a student that fuses nearly as the teacher before any training; `pairs` give the statistics."""
    student = Student(heir_shape(teacher, scene_channels)).to(next(teacher.parameters()).device)
    chosen = list(pairs)[:: -(-len(pairs) // PICTURES)]
    found = norm_rows(teacher, chosen)
    statistics = {name: rows.usual() for name, rows in found.items()}
    modules = dict(teacher.named_modules())
    with torch.no_grad():
        for picture, prefix in ENCODERS.items():
            _inherit_encoder(getattr(student, picture), _Folder(modules, statistics, prefix))
        _inherit_decoder(student, modules, statistics)
        contexts = torch.stack([pair.context_2hw for pair in chosen]).to(next(student.parameters()).device)
        fit_modulation(student.modulation, contexts, _wanted(student, modules, found))
    return student


@dataclass(frozen=True)
class NormRows:
    """What a norm finds in each picture: mean / deviation and 1 / deviation, (N, C), or (N, 1) for all."""

    centre: Tensor
    scale: Tensor

    def usual(self) -> NormStatistics:
        """Scales are averaged geometrically, centres plainly."""
        return NormStatistics(self.centre.mean(dim=0), self.scale.log().mean(dim=0).exp())


def norm_rows(teacher: LdFusion, pairs: Sequence[LabelledPair]) -> dict[str, NormRows]:
    """Returns what each norm finds, by its name; the first ones' in normalised pictures."""
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
    units: dict[str, list[Tensor]] = {prefix: [] for prefix in ENCODERS.values()}
    with torch.no_grad():
        for pair in pairs:
            teacher(as_tensor(pair.infrared_hw).to(device), as_tensor(pair.visible_hw).to(device))
            _, deviation = context_statistics(pair.context_2hw[None])
            for index, picture in enumerate(("infrared", "visible")):
                units[ENCODERS[picture]].append(deviation[0, index, 0, 0].to(device) / 255.0)
    for hook in hooks:
        hook.remove()
    return {name: _rows(found, units.get(name.removesuffix(".2"))) for name, found in seen.items()}


def _rows(found: list[tuple[Tensor, Tensor]], units: list[Tensor] | None) -> NormRows:
    centre, scale = (torch.stack(parts) for parts in zip(*found, strict=True))
    if units is None:
        return NormRows(centre, scale)
    # The student's pictures come without their mean, in deviations of the thumbnail.
    return NormRows(torch.zeros_like(centre), scale * torch.stack(units)[:, None])


def _wanted(
    student: Student, modules: Mapping[str, nn.Module], found: Mapping[str, NormRows]
) -> dict[str, tuple[Tensor, Tensor]]:
    """By the name of a modulated layer: the logarithms of the scales and the offsets for each picture."""
    layers = student.modulated_layers()
    norms = {
        f"{picture}.{name}": f"{prefix}.{norm}"
        for picture, prefix in ENCODERS.items()
        for name, norm in ENCODER_NORMS.items()
    }
    decoder = (("lift", 1), ("back.second", 4), ("back.third", 7))
    norms |= {name: f"decoder.model_up.{norm}" for name, norm in decoder}
    wanted = {}
    for name, norm in norms.items():
        usual, rows, module = found[norm].usual(), found[norm], modules[norm]
        scale = rows.scale / usual.scale
        offset = scale * usual.centre - rows.centre
        if isinstance(module, LayerNorm):
            offset = module.gamma * offset + module.beta * (1.0 - scale)
        # Alike for all channels, or for the four pixels that a block has of each.
        times = layers[name] // scale.shape[1], layers[name] // offset.shape[1]
        wanted[name] = (scale.log().repeat_interleave(times[0], 1), offset.repeat_interleave(times[1], 1))
    return wanted


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


def _inherit_encoder(encoder: PictureEncoder, fold: _Folder) -> None:
    if not isinstance(encoder.front, FineFront):
        raise TypeError("front: not a fine one")
    weight, bias = fold("1")
    _fill(encoder.front.first, on_blocks(weight, 1, 2, -3), bias.repeat_interleave(4))
    weight, bias = fold("4")
    _fill(encoder.front.second, on_blocks(weight, 2, 2, -1), bias)
    _fill(encoder.front.third, *fold("7"))
    _fill(encoder.down, *fold(str(DEEP)))
    for index, block in enumerate(encoder.blocks):
        if not isinstance(block, Residual):
            raise TypeError("blocks: not residual ones")
        name = f"{DEEP + 3 + index}.block"
        _fill(block.first, *fold(f"{name}.1"))
        _fill(block.second, *fold(f"{name}.5"))


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
    student: Student, modules: Mapping[str, nn.Module], statistics: Mapping[str, NormStatistics]
) -> None:
    if not isinstance(student.back, FineBack):
        raise TypeError("back: not a fine one")
    if not isinstance(student.lift, nn.Conv2d):
        raise TypeError("lift: not a whole one")
    for index, layer in enumerate((student.lift, student.back.second, student.back.third)):
        weight, bias = _transposed(modules, statistics, 3 * index)
        if index == 0:
            # The teacher concatenates visible before infrared; the student infrared before visible.
            weight = weight.roll(weight.shape[3] // 2, dims=3)
        _fill(layer, weight.flatten(0, 2), bias.repeat_interleave(4))
    last = modules[f"decoder.model_up.{3 * DOWNSAMPLINGS + 1}"]
    if not isinstance(last, nn.Conv2d) or last.bias is None:
        raise TypeError("decoder.model_up: not the published topology")
    folded = on_blocks(last.weight, 1, 4, -3)
    # The third layer's channels are c, y, x of 2x2 blocks; folded by two once more Y, X, c, y, x, pixel 2Y+y.
    folded = folded.reshape(len(folded), -1, 2, 2, 2, 2, *folded.shape[2:])
    _fill(
        student.back.last,
        folded.permute(0, 2, 4, 1, 3, 5, 6, 7).flatten(1, 5),
        last.bias.repeat_interleave(16),
    )


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


def _fill(layer: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    if layer.weight.shape != weight.shape or layer.bias is None:
        raise TypeError(f"expected a layer of shape {tuple(weight.shape)}, got {tuple(layer.weight.shape)}")
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
