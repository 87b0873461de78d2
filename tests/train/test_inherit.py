from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from irvis_runtime.errors import ContractError
from irvis_runtime.pairs import find_dataset_pairs, read_pair
from irvis_train import inherit, scene_fit
from irvis_train.data import LabelledPair, as_tensor
from irvis_train.inherit import NormRows, heir_of, heir_shape, norm_rows
from irvis_train.ldfusion import LdFusion, LdFusionShape
from irvis_train.losses import psnr_db
from irvis_train.student import Student
from irvis_train.student_files import StudentAsTeacher
from irvis_train.student_shape import StudentShape
from irvis_train.teacher import load_teacher

from .labelled_pairs import labelled
from .teachers import blobs, random_teacher

BORDER_PX = 8 * 4 + 2 * (8 + 4 + 2) + 3
"""Nearer to the border the heir differs: its residual blocks, four convolutions at an eighth, pad with zeros
where the teacher's reflect; three transposed convolutions and the 7x7 carry that on."""
INNER = (..., slice(BORDER_PX, -BORDER_PX), slice(BORDER_PX, -BORDER_PX))
CORNER_PX = 3
"""At the top and the left the heir's 7x7 pads with zeros where the teacher's reflects."""


def without_residuals(teacher: LdFusion) -> LdFusion:
    """Whose residual blocks are the identity; a heir differs from it at the top and the left alone."""
    for name, parameter in teacher.named_parameters():
        if ".block." in name and parameter.ndim == 4:
            parameter.zero_()
    return teacher


def fused_by(student: nn.Module, pair: LabelledPair) -> Tensor:
    with torch.no_grad():
        fused: Tensor = student(as_tensor(pair.infrared_hw), as_tensor(pair.visible_hw))
    return fused


@pytest.mark.parametrize("width", [4, 8])
def test_with_a_pictures_own_statistics_the_heir_fuses_it_as_the_teacher(width: int) -> None:
    """Away from the border, where all that the norms do is what was folded in."""
    teacher, pair = random_teacher(width), blobs(208, 240, 3)
    heir = StudentAsTeacher(heir_of(teacher, [pair], 16))
    expected, fused = (fused_by(network, pair)[INNER] for network in (teacher, heir))
    assert float(expected.std()) > 0.03
    assert psnr_db(fused, expected) > 45.0
    assert float((fused - expected).abs().max()) < 0.03


@pytest.mark.parametrize(("height", "width"), [(112, 144), (16, 96), (24, 208)])
def test_the_heir_reflects_its_pictures_and_draws_beyond_them_as_the_teacher(height: int, width: int) -> None:
    """Near the border too, but for what residual blocks and the 7x7 pad with zeros."""
    teacher, pair = without_residuals(random_teacher(4)), blobs(height, width, 3)
    heir = StudentAsTeacher(heir_of(teacher, [pair], 16))
    expected, fused = (fused_by(network, pair) for network in (teacher, heir))
    assert float(expected.std()) > 0.03
    drawn = (..., slice(CORNER_PX, None), slice(CORNER_PX, None))
    # What remains is the mean of the first layer, which the smaller picture's border shifts more.
    assert psnr_db(fused[drawn], expected[drawn]) > 36.0
    difference = (fused - expected).abs()
    inside = float(difference[drawn].mean())
    for border in (difference[drawn][..., -8:, :], difference[drawn][..., -8:]):
        assert float(border.mean()) < 1.5 * inside
    for corner in (difference[..., :CORNER_PX, :], difference[..., :CORNER_PX]):
        assert float(corner.mean()) > 4.0 * inside


def test_the_thumbnails_tell_what_each_pictures_norms_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer pictures than features: where nothing is held back, each is fused with its own statistics."""
    monkeypatch.setattr(scene_fit, "RIDGE", 1e-6)
    teacher = without_residuals(random_teacher(4))
    pairs = [blobs(96, 128, seed) for seed in range(20, 26)]
    heir = heir_of(teacher, pairs, 16).requires_grad_(False)
    usual = heir_of(teacher, pairs, 16).requires_grad_(False)
    usual.modulation.leave.weight.zero_()
    for pair in pairs:
        expected, own, likewise = (
            fused_by(network, pair)[..., CORNER_PX:, CORNER_PX:]
            for network in (teacher, StudentAsTeacher(heir), StudentAsTeacher(usual))
        )
        assert psnr_db(own, expected) > max(37.0, psnr_db(likewise, expected) + 5.0)


def test_infrared_and_visible_are_not_mixed_up() -> None:
    teacher, pair = random_teacher(4), blobs(208, 208, 3)
    heir = StudentAsTeacher(heir_of(teacher, [pair], 16))
    swapped = LabelledPair("swapped", pair.visible_hw, pair.infrared_hw, pair.target_hw, pair.context_2hw)
    right, wrong = (fused_by(heir, shown)[INNER] for shown in (pair, swapped))
    expected = fused_by(teacher, pair)[INNER]
    assert psnr_db(right, expected) > psnr_db(wrong, expected) + 10.0


def test_statistics_of_other_pictures_are_nearly_right() -> None:
    teacher, pair = random_teacher(4), blobs(208, 208, 3)
    others = [blobs(96, 128, seed) for seed in range(20, 26)]
    heir = StudentAsTeacher(heir_of(teacher, others, 16))
    expected = fused_by(teacher, pair)[INNER]
    error = float((fused_by(heir, pair)[INNER] - expected).square().mean().sqrt())
    assert error < 0.6 * float(expected.std())


def test_pictures_are_chosen_evenly_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inherit, "PICTURES", 2)
    teacher, pairs = random_teacher(4), [blobs(32, 48, seed) for seed in range(5)]
    found, expected = (heir_of(teacher, chosen, 16).state_dict() for chosen in (pairs, [pairs[0], pairs[3]]))
    other = heir_of(teacher, pairs[:2], 16).state_dict()
    name = "modulation.centre"
    assert torch.equal(found[name], expected[name])
    assert torch.equal(found["infrared.down.weight"], expected["infrared.down.weight"])
    assert not torch.equal(found[name], other[name])


def test_making_an_heir_leaves_the_teacher_as_it_was() -> None:
    teacher, pair = random_teacher(4), blobs(48, 64, 3)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    expected = fused_by(teacher, pair)
    heir = heir_of(teacher, [pair], 32)
    assert heir.shape == StudentShape("fine", 16, 32, 2, 32, 32, scene_channels=32)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert torch.equal(fused_by(teacher, pair), expected)
    assert not [module for module in teacher.modules() if module._forward_hooks]


def test_the_heir_is_the_same_from_the_same_pictures() -> None:
    """But for the hidden layer, which starts at random and changes nothing yet."""
    teacher, pair = random_teacher(4), blobs(48, 64, 3)
    one, other = (heir_of(teacher, [pair], 16) for _ in range(2))
    for name, tensor in one.state_dict().items():
        if not name.startswith("modulation.mix"):
            assert torch.equal(tensor, other.state_dict()[name]), name
    assert torch.equal(fused_by(StudentAsTeacher(one), pair), fused_by(StudentAsTeacher(other), pair))


def test_rows_are_the_statistics_of_what_the_norms_are_given() -> None:
    """The first norms' in pictures that their thumbnails normalise."""
    teacher, pairs = random_teacher(4), [blobs(64, 96, 4), blobs(48, 64, 5)]
    rows = norm_rows(teacher, pairs)
    assert len(rows) == 2 * (1 + 3 + 2 * 2) + 3
    assert rows["encoder.content_encoder2.model.8"].scale.shape == (2, 16)
    assert rows["decoder.model_up.4"].centre.shape == (2, 1)
    pair = pairs[1]
    with torch.no_grad():
        first = teacher.encoder.content_encoder2.model[:2](as_tensor(pair.infrared_hw))
    unit = float((pair.context_2hw[0].var(correction=0) + 64.0).sqrt()) / 255.0
    found = rows["encoder.content_encoder2.model.2"]
    torch.testing.assert_close(
        found.scale[1], unit / (first[0].var(dim=(1, 2), correction=0) + 1e-5).sqrt(), rtol=1e-3, atol=0
    )
    assert float(found.centre.abs().max()) == 0.0
    with torch.no_grad():
        second = teacher.encoder.content_encoder1.model[:5](as_tensor(pair.visible_hw))[0]
    found = rows["encoder.content_encoder1.model.5"]
    deviation = (second.var(dim=(1, 2), correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(found.scale[1], 1.0 / deviation, rtol=1e-3, atol=0)
    torch.testing.assert_close(found.centre[1], second.mean(dim=(1, 2)) / deviation, rtol=1e-3, atol=1e-4)


def test_scales_are_averaged_geometrically_and_centres_plainly() -> None:
    rows = NormRows(torch.tensor([[1.0, -2.0], [2.0, 6.0]]), torch.tensor([[1.0, 0.5], [4.0, 8.0]]))
    usual = rows.usual()
    torch.testing.assert_close(usual.scale, torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(usual.centre, torch.tensor([1.5, 2.0]))


def test_a_teacher_with_style_has_no_heir() -> None:
    teacher = LdFusion(LdFusionShape(width=4, style=True))
    with pytest.raises(ContractError, match="start: expected a teacher without style branch") as info:
        heir_of(teacher, [blobs(32, 32, 1)], 16)
    assert "\n" not in str(info.value)


def test_a_teacher_too_narrow_for_a_students_layers_is_refused() -> None:
    with pytest.raises(ContractError, match="front_channels: expected a multiple of 16, got 8"):
        heir_shape(LdFusion(LdFusionShape(width=2, style=False)), 16)


@pytest.fixture
def read_some(shared: Path) -> Callable[[str, int], list[LabelledPair]]:
    """Pairs of the reference data, evenly spread over a folder of them."""

    def read(part: str, count: int) -> list[LabelledPair]:
        pairs = find_dataset_pairs(shared / "data" / part)
        chosen = pairs[:: max(1, len(pairs) // count)][:count]
        halved = [[picture[::2, ::2].copy() for picture in read_pair(pair)] for pair in chosen]
        return [labelled(*pictures) for pictures in halved]

    return read


@pytest.mark.slow
def test_the_published_teachers_heir_is_near_it_before_any_training(
    shared: Path, read_some: Callable[[str, int], list[LabelledPair]]
) -> None:
    teacher = load_teacher(shared / "checkpoints" / "ldlite" / "final.pt")
    assert isinstance(teacher, LdFusion)
    heir = heir_of(teacher, read_some("train", 12), 32)
    assert isinstance(heir, Student)
    found = [
        psnr_db(fused_by(StudentAsTeacher(heir), pair), fused_by(teacher, pair))
        for pair in read_some("val", 5)
    ]
    assert np.mean(found) > 22.0, found
