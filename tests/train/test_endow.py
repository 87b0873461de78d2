from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irvis_runtime.errors import ContractError
from irvis_train.endow import Guide, Kept, endow, largest
from irvis_train.student import Student, StudentShape

LARGE = StudentShape("fine", 16, 64, 2, 32, 32, scene_channels=16)
SMALL = StudentShape("blocks", 16, 32, 1, 16, 16, scene_channels=16)


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


def inputs(count: int = 2, height: int = 32, width: int = 48) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(7)
    infrared, visible = torch.rand(2, count, 1, height, width) * 255.0
    return infrared, visible, torch.rand(count, 2, 64, 64) * 255.0


def deep_features(student: Student, front_nchw: Tensor, picture: str, scales: list[Tensor]) -> Tensor:
    """What the layers at an eighth make of a front's features, without the student's own forward."""
    encoder = getattr(student, picture)
    modulations = zip(scales[0::2], scales[1::2], strict=True)

    def conv(layer: nn.Conv2d, x: Tensor) -> Tensor:
        scale, offset = next(modulations)
        y: Tensor = layer(x)
        return y * scale + offset

    x = torch.relu(conv(encoder.down, front_nchw))
    for block in encoder.blocks:
        x = x + conv(block.second, torch.relu(conv(block.first, x)))
    return x


def rows_of(student: Student, name: str) -> tuple[slice, slice]:
    """Which rows of the modulation are the scales and the offsets of a layer."""
    layers = student.modulated_layers()
    names = list(layers)
    first = sum(layers[before] for before in names[: names.index(name)])
    total = sum(layers.values())
    return slice(first, first + layers[name]), slice(total + first, total + first + layers[name])


def test_the_same_shape_is_copied_exactly() -> None:
    """But for the ends: those differ in form from the donor's."""
    donor = lively(LARGE, 1)
    shape = replace(LARGE, ends="blocks")
    student = lively(shape, 2)
    ends = {name: tensor.clone() for name, tensor in student.state_dict().items() if ".front." in name}
    ends |= {
        name: tensor.clone() for name, tensor in student.state_dict().items() if name.startswith("back.")
    }
    kept = endow(student, donor)
    own, other = student.state_dict(), donor.state_dict()
    for name, tensor in own.items():
        if name in ends:
            assert torch.equal(tensor, ends[name]), name
        elif not name.startswith("modulation.leave"):
            assert torch.equal(tensor, other[name]), name
    for name in kept.channels:
        assert torch.equal(kept.channels[name], torch.arange(donor.modulated_layers()[name])), name
    pictures = inputs()
    mean = torch.zeros(2, 2, 1, 1)
    given = dict(
        zip(student.modulated_layers(), student.modulation(pictures[2], mean, mean + 9), strict=True)
    )
    wanted = dict(zip(donor.modulated_layers(), donor.modulation(pictures[2], mean, mean + 9), strict=True))
    assert set(given) & set(wanted) == set(kept.channels)
    for name in kept.channels:
        for one, another in zip(given[name], wanted[name], strict=True):
            torch.testing.assert_close(one, another, msg=name)


def test_a_narrower_student_keeps_the_channels_of_largest_l1() -> None:
    donor, student = lively(LARGE, 3), lively(SMALL, 4)
    for source in (donor.infrared, donor.visible):
        source.down.weight[1::2] *= 5.0
    kept = endow(student, donor)
    odd = torch.arange(1, 64, 2)
    for picture in ("infrared", "visible"):
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
    donor, student = lively(LARGE, 3), lively(SMALL, 4)
    weight = donor.lift.weight.reshape(32, 4, 128, 3, 3)
    weight[::2] *= 5.0
    kept = endow(student, donor)
    assert torch.equal(kept.channels["lift"], torch.arange(0, 32, 2))
    inputs_kept = torch.cat([kept.channels["infrared.down"], 64 + kept.channels["visible.down"]])
    assert torch.equal(student.lift.weight.reshape(16, 4, 64, 3, 3), weight[::2][:, :, inputs_kept])
    bias, own = donor.lift.bias, student.lift.bias
    assert bias is not None
    assert own is not None
    assert torch.equal(own.reshape(16, 4), bias.reshape(32, 4)[::2])


def test_the_rows_of_the_modulation_follow_their_channels() -> None:
    donor, student = lively(LARGE, 5), lively(SMALL, 6)
    blend = student.modulation.leave.weight[rows_of(student, "back.blend")[0]].clone()
    kept = endow(student, donor)
    for name, channels in kept.channels.items():
        for own, other in zip(rows_of(student, name), rows_of(donor, name), strict=True):
            for parameter, source in zip(
                student.modulation.leave.parameters(), donor.modulation.leave.parameters(), strict=True
            ):
                assert torch.equal(parameter[own], source[other][channels]), name
    assert torch.equal(student.modulation.leave.weight[rows_of(student, "back.blend")[0]], blend)
    for part in ("down", "mix"):
        for own_part, other_part in zip(
            getattr(student.modulation, part).parameters(),
            getattr(donor.modulation, part).parameters(),
            strict=True,
        ):
            assert torch.equal(own_part, other_part)


def test_channels_without_weight_can_go_and_nothing_changes() -> None:
    """A donor of half the channels, padded with zeros, gives the student what the half gives."""
    donor, student = lively(LARGE, 8), lively(replace(SMALL, residual_blocks=2), 9)
    alive = torch.arange(0, 64, 2)
    dead = torch.arange(1, 64, 2)
    lifted_dead = torch.arange(1, 32, 2)
    for encoder in (donor.infrared, donor.visible):
        encoder.down.weight[dead] = 0.0
        encoder.down.weight[:, 1::2] = 0.0
        for block in encoder.blocks:
            for layer in (block.get_submodule("first"), block.get_submodule("second")):
                layer.get_parameter("weight")[dead] = 0.0
                layer.get_parameter("weight")[:, dead] = 0.0
    donor.lift.weight[:, dead] = 0.0
    donor.lift.weight[:, 64 + dead] = 0.0
    donor.lift.weight.view(32, 4, 128, 3, 3)[lifted_dead] = 0.0
    kept = endow(student, donor)
    assert torch.equal(kept.channels["infrared.down"], alive)
    front = torch.rand(1, 32, 8, 12)
    context = inputs(1)[2]
    mean, deviation = torch.full((1, 2, 1, 1), 100.0), torch.full((1, 2, 1, 1), 50.0)
    for picture in ("infrared", "visible"):
        names = [f"{picture}.{name}" for name in ("down", "0.first", "0.second", "1.first", "1.second")]
        deep = []
        for model in (donor, student):
            made = dict(
                zip(model.modulated_layers(), model.modulation(context, mean, deviation), strict=True)
            )
            features = front if model is donor else front[:, kept.channels[f"{picture}.front"]]
            flat = [half for name in names for half in made[name]]
            deep.append(deep_features(model, features, picture, flat))
        torch.testing.assert_close(deep[1], deep[0][:, alive], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", [1, 2])
def test_largest_keeps_the_old_order(seed: int) -> None:
    torch.manual_seed(seed)
    weight = torch.randn(6, 4, 3, 3) * torch.tensor([3.0, 1.0, 9.0, 0.1, 5.0, 7.0])[:, None, None, None]
    assert largest(weight, 0, 3).tolist() == [2, 4, 5]
    assert largest(-weight.transpose(0, 1), 1, 4).tolist() == [0, 2, 4, 5]
    assert largest(weight, 0, 6).tolist() == list(range(6))


def whole(shape: StudentShape) -> Kept:
    layers = Student(shape).modulated_layers()
    return Kept({name: torch.arange(channels) for name, channels in layers.items()})


def test_a_student_like_its_donor_has_nothing_to_learn() -> None:
    donor = lively(LARGE, 11)
    pictures = inputs()
    error, fused = Guide(donor, whole(LARGE))(donor, *pictures)
    assert float(error) == 0.0
    torch.testing.assert_close(fused, donor(*pictures), rtol=1e-5, atol=1e-3)


def test_each_front_counts_alone() -> None:
    donor = lively(LARGE, 11)
    guide = Guide(donor, whole(LARGE))
    for picture in ("infrared", "visible"):
        student = lively(LARGE, 11)
        for parameter in getattr(student, picture).front.parameters():
            parameter.zero_()
        error, fused = guide(student, *inputs())
        # All zeros (the modulation still adds) instead of the features: an error of their size.
        assert 0.3 < float(error) < 30.0
        # The back gets the donor's features: no front spoils it.
        torch.testing.assert_close(fused, donor(*inputs()), rtol=1e-5, atol=1e-3)


def test_a_guide_trains_the_ends_and_what_modulates_them_alone() -> None:
    donor, student = lively(LARGE, 12), lively(SMALL, 13).requires_grad_(True)
    guide = Guide(donor, endow(student, donor))
    error, fused = guide(student, *inputs())
    (error + fused.mean()).backward()
    moved = {name for name, parameter in student.named_parameters() if parameter.grad is not None}
    assert {name for name in moved if not name.startswith("modulation.")} == {
        name for name in student.state_dict() if ".front." in name or name.startswith("back.")
    }
    assert all(parameter.grad is None for parameter in guide.donor.parameters())


def test_guided_ends_come_nearer() -> None:
    donor, student = lively(LARGE, 14), lively(SMALL, 15).requires_grad_(True)
    guide = Guide(donor, endow(student, donor))
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    errors = []
    for _ in range(12):
        error, _ = guide(student, *inputs(1))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.8 * errors[0]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"deep_channels": 96}, "student.deep_channels: expected at most 64, which the start has, got 96"),
        ({"lift_channels": 48}, "student.lift_channels: expected at most 32, which the start has, got 48"),
        ({"residual_blocks": 3}, "student.residual_blocks: expected at most 2, which the start has, got 3"),
        ({"scene_channels": 32}, "student.scene_channels: expected 16, which the start has, got 32"),
    ],
)
def test_a_shape_that_its_start_does_not_have_is_refused(changes: dict[str, Any], match: str) -> None:
    student = lively(replace(SMALL, **changes), 1)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    with pytest.raises(ContractError, match=f"^{match}$"):
        endow(student, lively(LARGE, 2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())


def test_a_start_with_block_ends_is_refused() -> None:
    with pytest.raises(
        ContractError, match=r"^start: expected a student with fine ends .*, got one with blocks"
    ):
        endow(lively(SMALL, 1), lively(SMALL, 2))
