"""What a student takes over from a larger one, tensor by tensor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from irvis_runtime.errors import ContractError
from irvis_train.endow import endow, largest
from irvis_train.student import Student
from irvis_train.student_shape import StudentShape

from .donors import LARGE, PICTURES, SMALL, contexts, each_shape, modulations, trained, without_offsets
from .students import lively


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
    donor, student = without_offsets(trained(LARGE, 1)), trained(replace(LARGE, ends="blocks"), 2)
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
    assert set(given) & set(wanted) == set(kept.channels) | {"infrared.first", "visible.first"}
    for name in kept.channels:
        torch.testing.assert_close(given[name][0], wanted[name][0], msg=name)


def test_a_narrower_student_keeps_the_channels_of_largest_l1() -> None:
    donor, student = without_offsets(trained(LARGE, 3)), lively(SMALL, 4)
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
    donor, student = without_offsets(trained(LARGE, 3)), lively(SMALL, 4)
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
    donor, student = trained(LARGE, 5), lively(shape, 6)
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
    donor, student = trained(LARGE, 5), lively(shape, 6)
    before = student.modulation.leave.weight.clone()
    kept = endow(student, donor, contexts())
    pairs = list(zip(student.modulation.leave.parameters(), donor.modulation.leave.parameters(), strict=True))
    taken = torch.zeros(len(before), dtype=torch.bool)
    for name, sources in sources_of(student).items():
        rows = student.modulation.scale_rows(name)
        taken[rows] = True
        for own, other in pairs:
            expected = [
                other[donor.modulation.scale_rows(source)][kept.channels[source]] for source in sources
            ]
            assert torch.equal(own[rows], torch.cat(expected)), name
    assert torch.equal(student.modulation.leave.weight[~taken], before[~taken])
    # Of what differs in form the student keeps its own: the first layers, the wide branch, the back.
    own_layers = ["infrared.first", "visible.first", *["wide"] * bool(shape.wide_channels)]
    own_layers += ["back.weights", "back.constant"]
    kept_rows = [student.modulation.scale_rows(name) for name in own_layers]
    kept_rows += [student.modulation.offset_rows(name) for name in own_layers]
    expected_rows = [row for rows in kept_rows for row in range(rows.start, rows.stop)]
    assert (~taken).nonzero().flatten().tolist() == expected_rows


@each_shape
def test_scenes_are_seen_as_the_donor_sees_them(shape: StudentShape) -> None:
    """The filters, what is usual, and the hidden layer, all of which differed before."""
    donor, student = trained(LARGE, 5), lively(shape, 6)
    shared = [name for name in student.modulation.state_dict() if not name.startswith("leave.")]
    assert {name.split(".")[0] for name in shared} == {"features", "centre", "inverse", "mix"}
    own, other = (model.modulation.state_dict() for model in (student, donor))
    assert not any(torch.equal(own[name], other[name]) for name in shared)
    endow(student, donor, contexts())
    assert all(torch.equal(own[name], other[name]) for name in shared)


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
        endow(student, trained(LARGE, 2), contexts())
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())


def test_a_start_with_block_ends_is_refused() -> None:
    with pytest.raises(
        ContractError, match=r"^start: expected a student with fine ends .*, got one with blocks"
    ):
        endow(lively(SMALL, 1), lively(SMALL, 2), contexts())


@pytest.mark.parametrize("changes", [{"joint_channels": 32}, {"lift_rank": 16}, {"wide_channels": 16}])
def test_a_start_with_what_no_student_takes_over_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match=r"^start: expected a student with a whole lift, without joint"):
        endow(lively(SMALL, 1), trained(replace(LARGE, **changes), 2), contexts())
