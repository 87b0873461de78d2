"""A smaller student takes over a larger one's deep layers; its ends learn what the larger one's ends do.

The donor is a student with fine ends: the teacher's heir, or that heir trained. A narrower student keeps the
channels of largest L1 norm, as LD-Lite was pruned from LDFusion. The ends differ in form, so they are learned
first, alone, from the donor's own features (Guide): in 400 steps they reach what joint training from random
ends misses after many times as many.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

from .student import (
    INPUT_CLIP,
    LIFT_PADDING,
    Modulations,
    PictureEncoder,
    Residual,
    Student,
    context_statistics,
    modulated,
    space_to_depth,
)

PICTURES = ("infrared", "visible")


@dataclass(frozen=True)
class Kept:
    """Which of the donor's output channels the student has, by the names of its modulated layers."""

    channels: dict[str, Tensor]


def endow(student: Student, donor: Student) -> Kept:
    """Copies the donor's deep layers and what modulates them; ContractError where they do not fit."""
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
        half = donor.shape.deep_channels
        inputs = torch.cat([kept.channels["infrared.down"], kept.channels["visible.down"] + half])
        lifted = kept.channels["lift"]
        outputs = (4 * lifted[:, None] + torch.arange(4, device=lifted.device)).flatten()
        _take(student.lift, donor.lift, outputs, inputs)
        _take_modulation(student, donor, kept)
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
                features = source.front(clipped, wanted, space_to_depth)
                deep.append(_deepen(source, features, wanted))
            front = encoder.front(clipped, given, space_to_depth).float()
            target = features[:, self.kept.channels[f"{picture}.front"]].float()
            error = error + F.mse_loss(front, target) / target.var().clamp(min=1e-3)
            for _ in range(1 + 2 * len(encoder.blocks)):
                next(given)
        next(given)
        with torch.no_grad():
            lifted = F.pixel_shuffle(self.donor.lift(F.pad(torch.cat(deep, dim=1), LIFT_PADDING)), 2)
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
    for name in ("deep_channels", "lift_channels", "residual_blocks"):
        if getattr(student.shape, name) > getattr(donor.shape, name):
            raise ContractError(
                f"student.{name}: expected at most {getattr(donor.shape, name)}, which the start has, "
                f"got {getattr(student.shape, name)}"
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
    grouped = donor.lift.weight.reshape(donor.shape.lift_channels, -1)
    channels["lift"] = largest(grouped, 0, shape.lift_channels)
    return Kept(channels)


def _take_modulation(student: Student, donor: Student, kept: Kept) -> None:
    """Copies the scene's encoder and, for each layer that both have, the rows of the kept channels."""
    student.modulation.down.load_state_dict(donor.modulation.down.state_dict())
    student.modulation.mix.load_state_dict(donor.modulation.mix.state_dict())
    places, donor_places = _places(student), _places(donor)
    for name, channels in kept.channels.items():
        for half in range(2):  # scales, then offsets
            first = places[name] + half * sum(student.modulation.channels)
            rows = donor_places[name] + half * sum(donor.modulation.channels) + channels
            for own, other in zip(
                student.modulation.leave.parameters(), donor.modulation.leave.parameters(), strict=True
            ):
                own[first : first + len(channels)] = other[rows]


def _places(student: Student) -> dict[str, int]:
    """First row of each modulated layer among all rows."""
    layers = student.modulated_layers()
    return dict(zip(layers, accumulate([0, *layers.values()]), strict=False))


def largest(weight: Tensor, axis: int, count: int) -> Tensor:
    """Indices of the `count` channels with the largest L1 norm along `axis`, in their old order."""
    norms = weight.detach().abs().transpose(0, axis).flatten(1).sum(dim=1)
    return norms.topk(count).indices.sort().values


def _take(layer: nn.Conv2d, source: nn.Conv2d, outputs: Tensor, inputs: Tensor) -> None:
    layer.weight.copy_(source.weight[outputs][:, inputs])
    layer.bias.copy_(source.bias[outputs])  # type: ignore[union-attr,index]


def _encoder(student: Student, picture: str) -> PictureEncoder:
    encoder = getattr(student, picture)
    if not isinstance(encoder, PictureEncoder):
        raise TypeError(f"{picture}: not an encoder")
    return encoder


def _blocks(encoder: PictureEncoder) -> list[Residual]:
    return [block for block in encoder.blocks if isinstance(block, Residual)]
