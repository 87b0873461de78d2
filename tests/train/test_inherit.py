from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.errors import ContractError
from irvis_runtime.pairs import find_dataset_pairs, read_pair
from irvis_train.data import LabelledPair, as_tensor, make_contexts
from irvis_train.ends import FineBack, space_to_depth
from irvis_train.inherit import heir_of, heir_shape, norm_statistics, on_blocks
from irvis_train.ldfusion import LdFusion, LdFusionShape
from irvis_train.losses import psnr_db
from irvis_train.student import Student
from irvis_train.student_files import StudentAsTeacher
from irvis_train.student_shape import StudentShape
from irvis_train.teacher import load_teacher

BORDER_PX = 72
"""Nearer to the border the heir pads with zeros where the teacher reflects."""


def labelled(infrared_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8]) -> LabelledPair:
    """A pair without a target: the heir needs none."""
    context = make_contexts(as_tensor(infrared_hw), as_tensor(visible_hw))[0]
    return LabelledPair("pair", infrared_hw, visible_hw, np.zeros(visible_hw.shape, np.float16), context)


def blobs(height: int, width: int, seed: int) -> LabelledPair:
    """Two pictures that differ, coarse and fine; a student takes their mean, a whole level, as it is."""
    random = np.random.default_rng(seed)
    pictures = []
    for _ in range(2):
        coarse = torch.from_numpy(random.normal(size=(1, 1, height // 16, width // 16)))
        grey = 110.0 + 35.0 * F.interpolate(coarse, size=(height, width), mode="bicubic").numpy()[0, 0]
        grey += random.normal(scale=8.0, size=(height, width))
        grey += 110.0 - grey.mean()
        pictures.append(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
    return labelled(*pictures)


def random_teacher(width: int, seed: int = 1) -> LdFusion:
    """Random weights, the decoder's norms with scales and offsets of their own, contrast in the output."""
    torch.manual_seed(seed)
    teacher = LdFusion(LdFusionShape(width=width, style=False)).eval().requires_grad_(False)
    for name, parameter in teacher.named_parameters():
        if name.endswith("gamma"):
            nn.init.uniform_(parameter, 0.6, 1.4)
        elif name.endswith("beta"):
            nn.init.normal_(parameter, std=0.3)
        elif parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.2)
    last = teacher.decoder.model_up[10]
    assert isinstance(last, nn.Conv2d)
    last.weight *= 3.0
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
    expected, fused = (
        fused_by(network, pair)[..., BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
        for network in (teacher, heir)
    )
    assert float(expected.std()) > 0.03
    assert psnr_db(fused, expected) > 45.0
    assert float((fused - expected).abs().max()) < 0.03


def test_infrared_and_visible_are_not_mixed_up() -> None:
    teacher, pair = random_teacher(4), blobs(208, 208, 3)
    heir = StudentAsTeacher(heir_of(teacher, [pair], 16))
    swapped = LabelledPair("swapped", pair.visible_hw, pair.infrared_hw, pair.target_hw, pair.context_2hw)
    inner = (..., slice(BORDER_PX, -BORDER_PX), slice(BORDER_PX, -BORDER_PX))
    right, wrong = (fused_by(heir, shown)[inner] for shown in (pair, swapped))
    expected = fused_by(teacher, pair)[inner]
    assert psnr_db(right, expected) > psnr_db(wrong, expected) + 10.0


def test_statistics_of_other_pictures_are_nearly_right() -> None:
    teacher, pair = random_teacher(4), blobs(208, 208, 3)
    others = [blobs(96, 128, seed) for seed in range(20, 26)]
    heir = StudentAsTeacher(heir_of(teacher, others, 16))
    inner = (..., slice(BORDER_PX, -BORDER_PX), slice(BORDER_PX, -BORDER_PX))
    expected = fused_by(teacher, pair)[inner]
    error = float((fused_by(heir, pair)[inner] - expected).square().mean().sqrt())
    assert error < 0.6 * float(expected.std())


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
    """But for the scene's encoder, which starts at random and changes nothing yet."""
    teacher, pair = random_teacher(4), blobs(48, 64, 3)
    one, other = (heir_of(teacher, [pair], 16) for _ in range(2))
    for name, tensor in one.state_dict().items():
        if not name.startswith(("modulation.down", "modulation.mix")):
            assert torch.equal(tensor, other.state_dict()[name]), name
    assert torch.equal(fused_by(StudentAsTeacher(one), pair), fused_by(StudentAsTeacher(other), pair))


def test_statistics_are_those_of_what_the_norms_are_given() -> None:
    """The first norms' in pictures that their thumbnails normalise."""
    teacher, pair = random_teacher(4), blobs(64, 96, 5)
    statistics = norm_statistics(teacher, [pair])
    assert len(statistics) == 2 * (1 + 3 + 2 * 2) + 3
    with torch.no_grad():
        first = teacher.encoder.content_encoder2.model[:2](as_tensor(pair.infrared_hw))
    unit = float((pair.context_2hw[0].var(correction=0) + 64.0).sqrt()) / 255.0
    found = statistics["encoder.content_encoder2.model.2"]
    torch.testing.assert_close(
        found.scale, unit / (first[0].var(dim=(1, 2), correction=0) + 1e-5).sqrt(), rtol=1e-3, atol=0
    )
    assert float(found.centre.abs().max()) == 0.0
    with torch.no_grad():
        second = teacher.encoder.content_encoder1.model[:5](as_tensor(pair.visible_hw))[0]
    found = statistics["encoder.content_encoder1.model.5"]
    deviation = (second.var(dim=(1, 2), correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(found.scale, 1.0 / deviation, rtol=1e-3, atol=0)
    torch.testing.assert_close(found.centre, second.mean(dim=(1, 2)) / deviation, rtol=1e-3, atol=1e-4)


def test_scales_are_averaged_geometrically_and_centres_plainly() -> None:
    teacher, pairs = random_teacher(4), [blobs(64, 64, seed) for seed in (1, 2)]
    singles = [norm_statistics(teacher, [pair]) for pair in pairs]
    for name, both in norm_statistics(teacher, pairs).items():
        one, other = (single[name] for single in singles)
        torch.testing.assert_close(both.scale, (one.scale * other.scale).sqrt())
        torch.testing.assert_close(both.centre, 0.5 * (one.centre + other.centre))


def test_a_teacher_with_style_has_no_heir() -> None:
    teacher = LdFusion(LdFusionShape(width=4, style=True))
    with pytest.raises(ContractError, match="start: expected a teacher without style branch") as info:
        heir_of(teacher, [blobs(32, 32, 1)], 16)
    assert "\n" not in str(info.value)


def test_a_teacher_too_narrow_for_a_students_layers_is_refused() -> None:
    with pytest.raises(ContractError, match="front_channels: expected a multiple of 16, got 8"):
        heir_shape(LdFusion(LdFusionShape(width=2, style=False)), 16)


@settings(max_examples=40, deadline=None)
@given(
    side=st.integers(1, 7),
    start=st.integers(-4, 1),
    block=st.sampled_from([2, 4]),
    is_folded_too=st.booleans(),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_on_blocks_is_the_plain_convolution(
    side: int,
    start: int,
    block: int,
    is_folded_too: bool,
    channels: tuple[int, int],
    rows: int,
    columns: int,
    seed: int,
) -> None:
    """Outputs of `pixel_unshuffle`d pictures: channels first, then rows and columns of a block."""
    torch.manual_seed(seed)
    weight = torch.randn(*channels, side, side, dtype=torch.float64)
    picture = torch.randn(2, channels[1], rows * block, columns * block, dtype=torch.float64)
    stride = 1 if is_folded_too else block
    wide = 16
    padded = F.pad(picture, (wide,) * 4)[..., wide + start :, wide + start :]
    expected = F.conv2d(padded, weight, stride=stride)
    size = (rows, columns) if stride == block else (rows * block, columns * block)
    expected = expected[..., : size[0], : size[1]]
    rewritten = on_blocks(weight, stride, block, start)
    assert rewritten.shape[2] == rewritten.shape[3]
    assert rewritten.shape[2] % 2 == 1
    found = F.conv2d(F.pixel_unshuffle(picture, block), rewritten, padding=rewritten.shape[2] // 2)
    torch.testing.assert_close(F.pixel_shuffle(found, block) if stride == 1 else found, expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (5, 4)])
def test_the_lift_is_the_teachers_transposed_convolution(height: int, width: int) -> None:
    """5x5 with stride 2 as 3x3, whose four outputs a position are the pixels of a 2x2 block."""
    teacher, pair = random_teacher(4), blobs(48, 64, 3)
    statistics = norm_statistics(teacher, [pair])
    heir = heir_of(teacher, [pair], 16)
    assert isinstance(heir.back, FineBack)
    for index, layer in enumerate((heir.lift, heir.back.second, heir.back.third)):
        source, norm = teacher.decoder.model_up[3 * index], teacher.decoder.model_up[3 * index + 1]
        assert isinstance(source, nn.ConvTranspose2d)
        features = torch.randn(2, source.in_channels, height, width)
        usual = statistics[f"decoder.model_up.{3 * index + 1}"]
        whole = F.conv_transpose2d(features, source.weight, source.bias, stride=2)
        normal = (whole * usual.scale - usual.centre) * norm.get_parameter("gamma")[:, None, None]
        expected = (normal + norm.get_parameter("beta")[:, None, None])[..., : 2 * height, : 2 * width]
        if index == 0:
            # The student has infrared before visible.
            features = features.roll(source.in_channels // 2, dims=1)
        with torch.no_grad():
            found = F.pixel_shuffle(layer(F.pad(features, (2, 0, 2, 0))), 2)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_last_layer_is_the_teachers_seven_by_seven() -> None:
    """On what the third layer gives, folded by two as the student folds it."""
    teacher = random_teacher(4)
    heir = heir_of(teacher, [blobs(48, 64, 3)], 16)
    assert isinstance(heir.back, FineBack)
    last = teacher.decoder.model_up[10]
    assert isinstance(last, nn.Conv2d)
    planes = torch.randn(1, last.in_channels, 16, 24)
    folded = space_to_depth(F.pixel_unshuffle(planes, 2), 2)
    with torch.no_grad():
        found = F.pixel_shuffle(heir.back.last(folded), 4)
        expected = F.conv2d(planes, last.weight, last.bias, padding=3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


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
    heir = heir_of(teacher, read_some("train", 12), 96)
    assert isinstance(heir, Student)
    found = [
        psnr_db(fused_by(StudentAsTeacher(heir), pair), fused_by(teacher, pair))
        for pair in read_some("val", 5)
    ]
    assert np.mean(found) > 20.0, found
