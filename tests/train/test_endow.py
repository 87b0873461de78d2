from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irvis_runtime.errors import ContractError
from irvis_train.endow import endow, largest
from irvis_train.modulation import context_statistics
from irvis_train.student import Student
from irvis_train.student_shape import StudentShape

LARGE = StudentShape("fine", 16, 64, 2, 32, 32, scene_channels=16)
SMALL = StudentShape("blocks", 16, 32, 1, 16, 16, scene_channels=16)
SHAPES = {
    "plain": SMALL,
    "wide": replace(SMALL, wide_channels=16, wide_dilations=(1,)),
    "joint": replace(SMALL, residual_blocks=0, joint_channels=32, wide_channels=16, wide_dilations=(1,)),
    "split": replace(SMALL, joint_channels=96, lift_rank=32),
}
PICTURES = ("infrared", "visible")
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def lively(shape: StudentShape, seed: int) -> Student:
    """A student with random weights everywhere, also where it starts at zero."""
    torch.manual_seed(seed)
    student = Student(shape).eval().requires_grad_(False)
    for name, parameter in student.named_parameters():
        if parameter.ndim == 4 and not name.startswith("modulation"):
            nn.init.kaiming_normal_(parameter)
    for parameter in student.modulation.leave.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return student


def without_offsets(donor: Student) -> Student:
    """A donor whose modulation is a scale alone, as most of a student's with block ends."""
    for parameter in donor.modulation.leave.parameters():
        parameter[sum(donor.modulation.channels) :] = 0.0
    return donor


def alike_for_all(donor: Student) -> Student:
    """A donor that modulates all pictures alike, with scales and offsets."""
    donor.modulation.leave.weight.zero_()
    return donor


each_exact_donor = pytest.mark.parametrize("simplify", [without_offsets, alike_for_all])
"""Donors whose offsets are in the biases without loss."""
Simplify = Callable[[Student], Student]


def contexts(count: int = 3) -> Tensor:
    torch.manual_seed(7)
    return torch.rand(count, 2, 64, 64) * 255.0


def modulations(student: Student, context_n2hw: Tensor) -> dict[str, tuple[Tensor, Tensor | None]]:
    made = student.modulation(context_n2hw, *context_statistics(context_n2hw))
    return dict(zip(student.modulated_layers(), made, strict=True))


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


def scale_rows(student: Student, name: str) -> slice:
    """Which rows of the modulation are the scales of a layer."""
    layers = student.modulated_layers()
    names = list(layers)
    first = sum(layers[before] for before in names[: names.index(name)])
    return slice(first, first + layers[name])


def sources_of(student: Student) -> dict[str, list[str]]:
    """By a layer's name, the donor's layers whose channels it has, one after the other."""
    shape = student.shape
    deep = [f"{picture}.{name}" for picture in PICTURES for name in ("front", "down")]
    blocks = range(shape.residual_blocks)
    deep += [f"{picture}.{i}.{name}" for picture in PICTURES for i in blocks for name in ("first", "second")]
    sources = {name: [name] for name in [*deep, "lift"]}
    if shape.joint_channels:
        for name in ("first", "second"):
            sources[f"joint.{name}"] = [f"{picture}.{shape.residual_blocks}.{name}" for picture in PICTURES]
    return sources


def parameter_of(student: Student, name: str, kind: str) -> Tensor:
    """The weight or the bias of the convolution that a modulation is behind."""
    path = name.replace(".0.", ".blocks.0.").replace(".1.", ".blocks.1.")
    split = path == "lift" and student.shape.lift_rank
    return student.get_parameter(f"{path}{'.1' if split else ''}.{kind}")


def test_the_same_shape_is_copied_exactly() -> None:
    """But for the ends: those differ in form from the donor's."""
    donor, student = without_offsets(lively(LARGE, 1)), lively(replace(LARGE, ends="blocks"), 2)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    kept = endow(student, donor, contexts())
    for name, tensor in student.state_dict().items():
        if ".front." in name or name.startswith("back."):
            assert torch.equal(tensor, before[name]), name
        elif not name.startswith("modulation.leave"):
            assert torch.equal(tensor, donor.state_dict()[name]), name
    for name in kept.channels:
        assert torch.equal(kept.channels[name], torch.arange(donor.modulated_layers()[name])), name
    given, wanted = modulations(student, contexts()), modulations(donor, contexts())
    assert set(given) & set(wanted) == set(kept.channels)
    for name in kept.channels:
        torch.testing.assert_close(given[name][0], wanted[name][0], msg=name)


def test_a_narrower_student_keeps_the_channels_of_largest_l1() -> None:
    donor, student = without_offsets(lively(LARGE, 3)), lively(SMALL, 4)
    for source in (donor.infrared, donor.visible):
        source.down.weight[1::2] *= 5.0
    kept = endow(student, donor, contexts())
    odd = torch.arange(1, 64, 2)
    for picture in PICTURES:
        assert torch.equal(kept.channels[f"{picture}.down"], odd)
        assert torch.equal(kept.channels[f"{picture}.0.second"], odd)
        inner, front = kept.channels[f"{picture}.0.first"], kept.channels[f"{picture}.front"]
        source, encoder = getattr(donor, picture), getattr(student, picture)
        assert torch.equal(encoder.down.weight, source.down.weight[odd][:, front])
        assert torch.equal(encoder.down.bias, source.down.bias[odd])
        assert torch.equal(encoder.blocks[0].first.weight, source.blocks[0].first.weight[inner][:, odd])
        assert torch.equal(encoder.blocks[0].second.weight, source.blocks[0].second.weight[odd][:, inner])
        # The inner channels and the front's are chosen by what they weigh, and kept in order.
        norms = source.blocks[0].first.weight.abs().sum(dim=(1, 2, 3))
        left = torch.ones(64, dtype=torch.bool)
        left[inner] = False
        assert len(inner) == 32
        assert float(norms[inner].min()) >= float(norms[left].max())
        assert torch.equal(inner, inner.sort().values)
        assert len(front) == 16


def test_lifted_channels_are_kept_with_their_four_pixels() -> None:
    donor, student = without_offsets(lively(LARGE, 3)), lively(SMALL, 4)
    weight = donor.get_parameter("lift.weight").reshape(32, 4, 128, 3, 3)
    weight[::2] *= 5.0
    kept = endow(student, donor, contexts())
    assert torch.equal(kept.channels["lift"], torch.arange(0, 32, 2))
    inputs_kept = torch.cat([kept.channels["infrared.down"], 64 + kept.channels["visible.down"]])
    own = student.get_parameter("lift.weight").reshape(16, 4, 64, 3, 3)
    assert torch.equal(own, weight[::2][:, :, inputs_kept])
    bias, own = donor.get_parameter("lift.bias"), student.get_parameter("lift.bias")
    assert torch.equal(own.reshape(16, 4), bias.reshape(32, 4)[::2])


@each_shape
def test_the_usual_offsets_go_into_the_biases(shape: StudentShape) -> None:
    """Of all layers but the ends'; a student's own modulation has no offset there."""
    donor, student = lively(LARGE, 5), lively(shape, 6)
    kept = endow(student, donor, contexts())
    wanted = modulations(donor, contexts())
    for name, sources in sources_of(student).items():
        if name.endswith("front"):
            continue
        assert modulations(student, contexts())[name][1] is None
        expected = []
        for source in sources:
            scale, offset = wanted[source]
            assert offset is not None
            shift = (scale * offset).mean(dim=0) / scale.square().mean(dim=0)
            shift = shift[kept.channels[source], 0, 0]
            bias = parameter_of(donor, source, "bias").reshape(len(scale[0]), -1)[kept.channels[source]]
            expected.append((bias + shift[:, None]).flatten())
            assert float(shift.abs().mean()) > 0.01
        torch.testing.assert_close(parameter_of(student, name, "bias"), torch.cat(expected), msg=name)


@each_shape
def test_the_rows_of_the_modulation_follow_their_channels(shape: StudentShape) -> None:
    donor, student = lively(LARGE, 5), lively(shape, 6)
    before = student.modulation.leave.weight.clone()
    kept = endow(student, donor, contexts())
    pairs = list(zip(student.modulation.leave.parameters(), donor.modulation.leave.parameters(), strict=True))
    taken = torch.zeros(len(before), dtype=torch.bool)
    for name, sources in sources_of(student).items():
        taken[scale_rows(student, name)] = True
        for own, other in pairs:
            expected = [other[scale_rows(donor, source)][kept.channels[source]] for source in sources]
            assert torch.equal(own[scale_rows(student, name)], torch.cat(expected)), name
    assert torch.equal(student.modulation.leave.weight[~taken], before[~taken])
    own_layers = ["wide"] * bool(shape.wide_channels) + ["back.weights", "back.constant"]
    layers = student.modulated_layers()
    offsets = sum(layers[name] for name in own_layers if name != "back.weights")
    assert int((~taken).sum()) == sum(layers[name] for name in own_layers) + offsets
    for part in ("down", "mix"):
        own_part, other_part = (getattr(model.modulation, part).parameters() for model in (student, donor))
        assert all(torch.equal(own, other) for own, other in zip(own_part, other_part, strict=True))


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
    donor, student = with_dead_channels(simplify(lively(LARGE, 8))), lively(replace(SMALL, **changes), 9)
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
    donor = simplify(lively(replace(LARGE, residual_blocks=index + 1), 16))
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
    donor = without_offsets(lively(LARGE, 20))
    whole, split = lively(SMALL, 21), lively(replace(SMALL, lift_rank=rank), 22)
    for student in (whole, split):
        endow(student, donor, contexts())
    expected = whole.get_parameter("lift.weight")
    weight, bias = joined(split.lift)
    missed = torch.linalg.svdvals(expected.flatten(1))[rank:].norm()
    assert (float(missed) > 1.0) is (rank < 64)
    torch.testing.assert_close((weight - expected).norm(), missed, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(bias, whole.get_parameter("lift.bias"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", [1, 2])
def test_largest_keeps_the_old_order(seed: int) -> None:
    torch.manual_seed(seed)
    weight = torch.randn(6, 4, 3, 3) * torch.tensor([3.0, 1.0, 9.0, 0.1, 5.0, 7.0])[:, None, None, None]
    assert largest(weight, 0, 3).tolist() == [2, 4, 5]
    assert largest(-weight.transpose(0, 1), 1, 4).tolist() == [0, 2, 4, 5]
    assert largest(weight, 0, 6).tolist() == list(range(6))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"deep_channels": 96}, "student.deep_channels: expected at most 64, which the start has, got 96"),
        ({"lift_channels": 48}, "student.lift_channels: expected at most 32, which the start has, got 48"),
        ({"residual_blocks": 3}, "student.residual_blocks: expected at most 2, which the start has, got 3"),
        (
            {"joint_channels": 160},
            "student.joint_channels: expected at most 128, which the start has, got 160",
        ),
        ({"residual_blocks": 2, "joint_channels": 32}, "student.residual_blocks: expected at most 1, .*"),
        ({"lift_channels": 16, "lift_rank": 80}, "student.lift_rank: expected at most 64, .*"),
        ({"scene_channels": 32}, "student.scene_channels: expected 16, which the start has, got 32"),
    ],
)
def test_a_shape_that_its_start_does_not_have_is_refused(changes: dict[str, Any], match: str) -> None:
    student = lively(replace(SMALL, **changes), 1)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    with pytest.raises(ContractError, match=f"^{match}$"):
        endow(student, lively(LARGE, 2), contexts())
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())


def test_a_start_with_block_ends_is_refused() -> None:
    with pytest.raises(
        ContractError, match=r"^start: expected a student with fine ends .*, got one with blocks"
    ):
        endow(lively(SMALL, 1), lively(SMALL, 2), contexts())


@pytest.mark.parametrize("changes", [{"joint_channels": 32}, {"lift_rank": 16}, {"wide_channels": 16}])
def test_a_start_with_what_no_student_takes_over_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match=r"^start: expected a student with a whole lift, without joint"):
        endow(lively(SMALL, 1), lively(replace(LARGE, **changes), 2), contexts())
