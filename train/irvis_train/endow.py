"""A smaller student takes over a larger one's deep layers; its ends learn what the larger one's ends do.

The donor is a student with fine ends: the teacher's heir, or that heir trained. A narrower student keeps the
channels of largest L1 norm, as LD-Lite was pruned from LDFusion. The ends differ in form, so they are learned
first, alone, from the donor's own features (Guide): in 400 steps they reach what joint training from random
ends misses after many times as many.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

from .ends import space_to_depth, with_border
from .modulation import INPUT_CLIP, Modulations, context_statistics, modulated
from .student import PictureEncoder, Residual, Student

PICTURES = ("infrared", "visible")


@dataclass(frozen=True)
class Kept:
    """Which of the donor's output channels the student has, by the names of its modulated layers."""

    channels: dict[str, Tensor]


def endow(student: Student, donor: Student, contexts_n2hw: Tensor) -> Kept:
    """Copies the donor's deep layers and what modulates them; ContractError where they do not fit.

    `contexts_n2hw`: usual ones, 0..255.
    """
    _check(student, donor)
    kept = _choose(student, donor)
    with torch.no_grad():
        for picture in PICTURES:
            encoder, source = _encoder(student, picture), _encoder(donor, picture)
            stream = kept.channels[f"{picture}.down"]
            _take(encoder.down, source.down, stream, kept.channels[f"{picture}.front"])
            for index, (block, other) in enumerate(zip(_blocks(encoder), _blocks(source), strict=False)):
                inner = kept.channels[f"{picture}.{index}.first"]
                _take(block.first, other.first, inner, stream)
                _take(block.second, other.second, stream, inner)
        if student.joint is not None:
            _take_joint(student.joint, donor, kept, student.shape.residual_blocks)
        _take_lift(student, donor, kept)
        _take_modulation(student, donor, kept)
        _take_usual_offsets(student, donor, kept, contexts_n2hw)
    return kept


class Guide(nn.Module):
    """What a student's ends should do, by the donor's example."""

    def __init__(self, donor: Student, kept: Kept) -> None:
        super().__init__()
        self.donor = copy.deepcopy(donor).eval().requires_grad_(False)
        self.kept = kept

    def forward(
        self, student: Student, infrared_n1hw: Tensor, visible_n1hw: Tensor, context_n2hw: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the fronts' relative squared error, and what the back makes of the donor's features.

        Pictures and context in 0..255, sides multiples of 8; the fused luma (N, 1, H, W) in grey levels.
        """
        mean, deviation = context_statistics(context_n2hw)
        normal = [
            (plane - mean[:, index : index + 1]) / deviation[:, index : index + 1]
            for index, plane in enumerate((infrared_n1hw, visible_n1hw))
        ]
        given = iter(student.modulation(context_n2hw, mean, deviation))
        wanted = iter(self.donor.modulation(context_n2hw, mean, deviation))
        error, deep = infrared_n1hw.new_zeros(()), []
        for picture, plane in zip(PICTURES, normal, strict=True):
            encoder, source = _encoder(student, picture), _encoder(self.donor, picture)
            clipped = plane.clamp(-INPUT_CLIP, INPUT_CLIP)
            with torch.no_grad():
                bordered = with_border(clipped, source.front.border_px)
                features = source.front(bordered, wanted, space_to_depth)
                deep.append(_deepen(source, features, wanted))
            bordered = with_border(clipped, encoder.front.border_px)
            front = encoder.front(bordered, given, space_to_depth).float()
            target = features[:, self.kept.channels[f"{picture}.front"]].float()
            error = error + F.mse_loss(front, target) / target.var().clamp(min=1e-3)
            for _ in range(1 + 2 * len(encoder.blocks)):
                next(given)
        for _ in range(1 + 2 * (student.joint is not None) + (student.wide is not None)):
            next(given)
        with torch.no_grad():
            lifted = F.pixel_shuffle(self.donor.lift(F.pad(torch.cat(deep, dim=1), student.back.padding)), 2)
            lifted = F.relu(modulated(lifted, wanted))[:, self.kept.channels["lift"]]
        return error, student.back(lifted, *normal, given, space_to_depth)


def _deepen(encoder: PictureEncoder, features: Tensor, modulations: Modulations) -> Tensor:
    features = F.relu(modulated(encoder.down(features), modulations))
    for block in encoder.blocks:
        features = block(features, modulations)
    return features


def _check(student: Student, donor: Student) -> None:
    if donor.shape.ends != "fine":
        raise ContractError("start: expected a student with fine ends to start from, got one with blocks")
    own, other = student.shape, donor.shape
    if other.lift_rank or other.joint_channels or other.wide_channels:
        raise ContractError("start: expected a student with a whole lift, without joint block or wide branch")
    blocks_left = other.residual_blocks - (1 if own.joint_channels else 0)
    limits = {
        "deep_channels": other.deep_channels,
        "lift_channels": other.lift_channels,
        "residual_blocks": blocks_left,
        "joint_channels": 2 * other.deep_channels,
        "lift_rank": min(4 * own.lift_channels, 18 * own.deep_channels),
    }
    for name, limit in limits.items():
        if getattr(own, name) > limit:
            raise ContractError(
                f"student.{name}: expected at most {limit}, which the start has, got {getattr(own, name)}"
            )
    if student.shape.scene_channels != donor.shape.scene_channels:
        raise ContractError(
            f"student.scene_channels: expected {donor.shape.scene_channels}, which the start has, "
            f"got {student.shape.scene_channels}"
        )


def _choose(student: Student, donor: Student) -> Kept:
    shape, channels = student.shape, {}
    for picture in PICTURES:
        source = _encoder(donor, picture)
        channels[f"{picture}.front"] = largest(source.down.weight, 1, shape.deep_channels // 2)
        stream = largest(source.down.weight, 0, shape.deep_channels)
        channels[f"{picture}.down"] = stream
        for index, block in enumerate(_blocks(source)[: shape.residual_blocks]):
            channels[f"{picture}.{index}.first"] = largest(block.first.weight, 0, shape.deep_channels)
            channels[f"{picture}.{index}.second"] = stream
    if student.joint is not None:
        for picture in PICTURES:
            block = _blocks(_encoder(donor, picture))[shape.residual_blocks]
            name = f"{picture}.{shape.residual_blocks}"
            channels[f"{name}.first"] = largest(block.first.weight, 0, shape.joint_channels // 2)
            channels[f"{name}.second"] = channels[f"{picture}.down"]
    grouped = donor.lift.get_parameter("weight").reshape(donor.shape.lift_channels, -1)
    channels["lift"] = largest(grouped, 0, shape.lift_channels)
    return Kept(channels)


def _take_joint(joint: Residual, donor: Student, kept: Kept, index: int) -> None:
    """The donor's blocks `index` side by side, one for each picture; between the pictures nothing as yet."""
    for layer in (joint.first, joint.second):
        layer.weight.zero_()
    for side, picture in enumerate(PICTURES):
        block = _blocks(_encoder(donor, picture))[index]
        inner, stream = kept.channels[f"{picture}.{index}.first"], kept.channels[f"{picture}.down"]
        own, outside = (slice(side * len(part), (side + 1) * len(part)) for part in (inner, stream))
        joint.first.weight[own, outside] = block.first.weight[inner][:, stream]
        joint.second.weight[outside, own] = block.second.weight[stream][:, inner]
        _bias(joint.first)[own] = _bias(block.first)[inner]
        _bias(joint.second)[outside] = _bias(block.second)[stream]


def _take_lift(student: Student, donor: Student, kept: Kept) -> None:
    """The donor's lift, or where the student's is split, what of it has the largest singular values."""
    half = donor.shape.deep_channels
    inputs = torch.cat([kept.channels["infrared.down"], kept.channels["visible.down"] + half])
    lifted = kept.channels["lift"]
    outputs = (4 * lifted[:, None] + torch.arange(4, device=lifted.device)).flatten()
    source = donor.lift
    if not isinstance(source, nn.Conv2d):
        raise TypeError("lift: a donor has a whole one")
    if isinstance(student.lift, nn.Conv2d):
        _take(student.lift, source, outputs, inputs)
        return
    narrow, widen = student.lift.children()
    weight = source.weight[outputs][:, inputs]
    left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    rank = student.shape.lift_rank
    root = values[:rank].sqrt()
    narrow.get_parameter("weight").copy_((root[:, None] * right[:rank]).reshape(rank, *weight.shape[1:]))
    widen.get_parameter("weight").copy_((left[:, :rank] * root)[:, :, None, None])
    narrow.get_parameter("bias").zero_()
    widen.get_parameter("bias").copy_(_bias(source)[outputs])


def _take_modulation(student: Student, donor: Student, kept: Kept) -> None:
    """Copies the scene's encoder and, for each layer that both have, the rows of the kept channels' scales.

    Offsets that the student has not are put into the biases as they usually are (see `_take_usual_offsets`).
    """
    own, other = student.modulation, donor.modulation
    own.features.load_state_dict(other.features.state_dict())
    own.mix.load_state_dict(other.mix.state_dict())
    own.centre.copy_(other.centre)
    own.inverse.copy_(other.inverse)
    for name in student.modulated_layers():
        sources = donor_layers(student, name)
        if not kept.channels.keys() >= set(sources):
            continue
        for taken, given in zip(own.leave.parameters(), other.leave.parameters(), strict=True):
            rows = [given[other.scale_rows(source)][kept.channels[source]] for source in sources]
            taken[own.scale_rows(name)] = torch.cat(rows)


def _take_usual_offsets(student: Student, donor: Student, kept: Kept, contexts_n2hw: Tensor) -> None:
    """Puts the donor's mean offset over these contexts into the bias of each layer with its channels."""
    found = donor.modulation(contexts_n2hw, *context_statistics(contexts_n2hw))
    usual: dict[str, Tensor] = {}
    for name, (scale, offset) in zip(donor.modulated_layers(), found, strict=True):
        if offset is not None:
            # The bias whose scaled sum misses the offsets least: a scale may come near zero.
            shift = (scale * offset).mean(dim=0) / scale.square().mean(dim=0).clamp(min=1e-6)
            usual[name] = shift.flatten()
    for name, layer in _modulated_convolutions(student).items():
        sources = donor_layers(student, name)
        if not kept.channels.keys() >= set(sources):
            continue
        shift = torch.cat([usual[source][kept.channels[source]] for source in sources])
        bias = _bias(layer)
        bias += shift.repeat_interleave(len(bias) // len(shift))


def _modulated_convolutions(student: Student) -> dict[str, nn.Conv2d]:
    """The convolutions whose modulation a donor's layer gives, by the modulation's name."""
    found: dict[str, nn.Module] = {"lift": student.lift}
    if isinstance(student.lift, nn.Sequential):
        found["lift"] = student.lift[-1]
    for picture in PICTURES:
        encoder = _encoder(student, picture)
        found[f"{picture}.down"] = encoder.down
        for index, block in enumerate(_blocks(encoder)):
            found |= {f"{picture}.{index}.first": block.first, f"{picture}.{index}.second": block.second}
    if student.joint is not None:
        found |= {"joint.first": student.joint.first, "joint.second": student.joint.second}
    return {name: layer for name, layer in found.items() if isinstance(layer, nn.Conv2d)}


def donor_layers(student: Student, name: str) -> list[str]:
    """The donor's modulated layers whose channels are the student's layer's."""
    if not name.startswith("joint."):
        return [name]
    return [name.replace("joint", f"{picture}.{student.shape.residual_blocks}") for picture in PICTURES]


def largest(weight: Tensor, axis: int, count: int) -> Tensor:
    """Indices of the `count` channels with the largest L1 norm along `axis`, in their old order."""
    norms = weight.detach().abs().transpose(0, axis).flatten(1).sum(dim=1)
    return norms.topk(count).indices.sort().values


def _take(layer: nn.Conv2d, source: nn.Conv2d, outputs: Tensor, inputs: Tensor) -> None:
    layer.weight.copy_(source.weight[outputs][:, inputs])
    _bias(layer).copy_(_bias(source)[outputs])


def _bias(layer: nn.Conv2d) -> Tensor:
    return layer.get_parameter("bias")


def _encoder(student: Student, picture: str) -> PictureEncoder:
    encoder = getattr(student, picture)
    if not isinstance(encoder, PictureEncoder):
        raise TypeError(f"{picture}: not an encoder")
    return encoder


def _blocks(encoder: PictureEncoder) -> list[Residual]:
    return [block for block in encoder.blocks if isinstance(block, Residual)]
