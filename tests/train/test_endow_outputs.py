"""What an endowed student's deep layers compute: what the donor's do, as far as they fit into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irvis_train.endow import endow
from irvis_train.student import Student

from .donors import (
    LARGE,
    PICTURES,
    SMALL,
    Simplify,
    contexts,
    each_exact_donor,
    modulations,
    trained,
    without_offsets,
)
from .students import lively


def lifted(student: Student, fronts: Mapping[str, Tensor], context_n2hw: Tensor) -> Tensor:
    """What all that lies between the ends makes of the fronts' features, without the student's forward."""
    given = modulations(student, context_n2hw)

    def conv(layer: nn.Module, name: str, x: Tensor) -> Tensor:
        scale, offset = given[name]
        y: Tensor = layer(x) * scale
        return y if offset is None else y + offset

    def residual(block: nn.Module, name: str, x: Tensor) -> Tensor:
        first, second = block.get_submodule("first"), block.get_submodule("second")
        return x + conv(second, f"{name}.second", torch.relu(conv(first, f"{name}.first", x)))

    streams = []
    for picture in PICTURES:
        encoder = getattr(student, picture)
        stream = torch.relu(conv(encoder.down, f"{picture}.down", fronts[picture]))
        for index, block in enumerate(encoder.blocks):
            stream = residual(block, f"{picture}.{index}", stream)
        streams.append(stream)
    deep = torch.cat(streams, dim=1)
    if student.joint is not None:
        deep = residual(student.joint, "joint", deep)
    unfolded = nn.Sequential(nn.ZeroPad2d((2, 0, 2, 0)), student.lift, nn.PixelShuffle(2))
    return torch.relu(conv(unfolded, "lift", deep))


def fronts_of(channels: int) -> dict[str, Tensor]:
    torch.manual_seed(8)
    return {picture: torch.rand(3, channels, 8, 12) for picture in PICTURES}


def with_dead_channels(donor: Student) -> Student:
    """Every second of the donor's channels without weight."""
    dead, lifted_dead = torch.arange(1, 64, 2), torch.arange(1, 32, 2)
    for encoder in (donor.infrared, donor.visible):
        encoder.down.weight[dead] = 0.0
        encoder.down.weight[:, 1::2] = 0.0
        for block in encoder.blocks:
            for layer in ("first", "second"):
                weight = block.get_parameter(f"{layer}.weight")
                weight[dead] = 0.0
                weight[:, dead] = 0.0
    weight = donor.get_parameter("lift.weight")
    weight[:, dead] = 0.0
    weight[:, 64 + dead] = 0.0
    weight.view(32, 4, 128, 3, 3)[lifted_dead] = 0.0
    return donor


@each_exact_donor
@pytest.mark.parametrize(
    "changes",
    [
        {"residual_blocks": 2},
        {"residual_blocks": 1, "joint_channels": 64},
        {"residual_blocks": 1, "joint_channels": 64, "lift_rank": 64},
    ],
)
def test_channels_without_weight_can_go_and_nothing_changes(
    changes: Mapping[str, Any], simplify: Simplify
) -> None:
    """A donor of half the channels, padded with zeros, gives the student what the half gives."""
    donor, student = with_dead_channels(simplify(trained(LARGE, 8))), lively(replace(SMALL, **changes), 9)
    kept = endow(student, donor, contexts())
    assert torch.equal(kept.channels["infrared.down"], torch.arange(0, 64, 2))
    fronts = fronts_of(32)
    own = {picture: fronts[picture][:, kept.channels[f"{picture}.front"]] for picture in PICTURES}
    wanted = lifted(donor, fronts, contexts())[:, ::2]
    assert float(wanted.std()) > 0.1
    torch.testing.assert_close(lifted(student, own, contexts()), wanted, rtol=1e-3, atol=1e-3)


@each_exact_donor
@pytest.mark.parametrize("index", [0, 1])
def test_a_joint_block_begins_as_the_donors_next_two(index: int, simplify: Simplify) -> None:
    """With all channels: what one picture's gives does not reach the other's, until it is trained."""
    donor = simplify(trained(replace(LARGE, residual_blocks=index + 1), 16))
    shape = replace(LARGE, ends="blocks", residual_blocks=index, joint_channels=128)
    student = lively(shape, 17)
    endow(student, donor, contexts())
    fronts = fronts_of(32)
    wanted = lifted(donor, fronts, contexts())
    torch.testing.assert_close(lifted(student, fronts, contexts()), wanted, rtol=1e-4, atol=1e-3)
    assert student.joint is not None
    student.joint.first.weight[64:, :64] = 0.1
    assert float((lifted(student, fronts, contexts()) - wanted).abs().max()) > 0.1


def joined(lift: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of one 3x3 convolution that does what a split lift does."""
    narrow, widen = lift.children()
    wide = widen.get_parameter("weight")[:, :, 0, 0]
    weight = torch.einsum("or,rixy->oixy", wide, narrow.get_parameter("weight"))
    return weight, widen.get_parameter("bias") + wide @ narrow.get_parameter("bias")


@pytest.mark.parametrize("rank", [16, 48, 64])
def test_a_split_lift_misses_no_more_of_the_donors_than_it_must(rank: int) -> None:
    """The smallest singular values, which no split of that rank has: of full rank, nothing."""
    donor = without_offsets(trained(LARGE, 20))
    whole, split = lively(SMALL, 21), lively(replace(SMALL, lift_rank=rank), 22)
    for student in (whole, split):
        endow(student, donor, contexts())
    expected = whole.get_parameter("lift.weight")
    weight, bias = joined(split.lift)
    missed = torch.linalg.svdvals(expected.flatten(1))[rank:].norm()
    assert (float(missed) > 1.0) is (rank < 64)
    torch.testing.assert_close((weight - expected).norm(), missed, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(bias, whole.get_parameter("lift.bias"), rtol=1e-4, atol=1e-5)
