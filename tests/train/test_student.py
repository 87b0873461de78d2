from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from irvis_train.student import Student
from irvis_train.student_shape import StudentShape

from .students import BLOCKS, FINE, SHAPES, each_shape, inputs, lively


def test_a_wide_branch_begins_as_nothing() -> None:
    """Where the thumbnails modulate nothing: the branch has rows of its own among the modulation's."""
    narrow, wide = lively(BLOCKS), Student(SHAPES["wide"]).requires_grad_(False)
    for parameter in narrow.modulation.leave.parameters():
        nn.init.zeros_(parameter)
    shared = {name: value for name, value in narrow.state_dict().items() if "modulation.leave" not in name}
    wide.load_state_dict(shared, strict=False)
    pictures = inputs(64, 96)
    torch.testing.assert_close(wide(*pictures), narrow(*pictures))
    nn.init.normal_(wide.get_parameter("wide.leave.weight"))
    assert float((wide(*pictures) - narrow(*pictures)).abs().mean()) > 1.0


FEATURES = 68


def parameters_of_modulation(shape: StudentShape, scales: int, offsets: int) -> int:
    """Filters and tails of both thumbnails, what is usual of the features, the hidden and the last layer."""
    filters = sum(2 * 3 * (3 * step) ** 2 for step in (1, 2, 4, 8)) + 2 * 16
    width = shape.scene_channels
    return filters + 2 * FEATURES + (FEATURES + 1) * width + (FEATURES + width + 1) * (scales + offsets)


def parameters_of(shape: StudentShape) -> int:
    return sum(parameter.numel() for parameter in Student(shape).parameters())


def test_block_ends_have_the_parameters_of_their_layers() -> None:
    shape = StudentShape()
    front, deep, lift, back = 32, 64, 32, 48
    encoder = (16 * 9 + 1) * front + (front * 9 + 1) * deep // 2 + (deep // 2 * 16 + 1) * deep
    encoder += 2 * (deep * 9 + 1) * deep
    ends = (2 * deep * 9 + 1) * 4 * lift + (lift * 9 + 1) * back + (back * 9 + 1) * 48
    rows = 2 * (front + deep // 2 + deep + 2 * deep) + lift + 48
    expected = 2 * encoder + ends + parameters_of_modulation(shape, rows, 16)
    assert parameters_of(shape) == expected == 491_766


def test_a_short_blend_saves_eight_of_nine_taps() -> None:
    shape = StudentShape()
    saved = shape.back_channels * 8 * 48
    assert parameters_of(StudentShape(blend_side=1)) == parameters_of(shape) - saved


def test_a_joint_block_a_split_lift_and_a_wide_branch_have_the_parameters_of_their_layers() -> None:
    plain = StudentShape()
    shape = StudentShape(joint_channels=96, lift_rank=16, wide_channels=48, wide_dilations=(1, 2))
    deep, lifted = 2 * 64, 4 * 32
    joint = (deep * 9 + 1) * 96 + (96 * 9 + 1) * deep
    wide = (deep * 16 + 1) * 48 + 2 * (48 * 9 + 1) * 48 + (48 + 1) * deep
    saved = (deep * 9 + 1) * lifted - (deep * 9 + 1) * 16 - (16 + 1) * lifted
    scene = (FEATURES + shape.scene_channels + 1) * (96 + deep + 2 * 48)
    assert parameters_of(shape) == parameters_of(plain) + joint + wide - saved + scene


def test_fine_ends_have_the_parameters_of_their_layers() -> None:
    """As many as the heir of LD-Lite, width 8, has."""
    shape = StudentShape("fine", 32, 64, 2, 64, 64)
    deep = 64
    encoder = (4 * 25 + 1) * 32 + (32 * 9 + 1) * 16 + (16 * 16 + 1) * 32 + (32 * 16 + 1) * deep
    encoder += 4 * (deep * 9 + 1) * deep
    ends = (2 * deep * 9 + 1) * 256 + (64 * 9 + 1) * 128 + (32 * 9 + 1) * 64 + (256 * 9 + 1) * 16
    rows = 2 * (32 + 16 + 32 + deep + 4 * deep) + 64 + 32 + 64 + 16
    assert parameters_of(shape) == 2 * encoder + ends + parameters_of_modulation(shape, rows, rows)


@each_shape
def test_every_modulated_layer_takes_what_is_its_own(shape: StudentShape) -> None:
    """A scale each, an offset some; changing one changes the picture, and as many are made as are taken."""
    student = lively(shape)
    layers = student.modulated_layers()
    is_fine = shape.ends == "fine"
    with_offset = [name for name in layers if is_fine or name in ("wide", "back.constant")]
    places = [("scale", name, student.modulation.scale_rows(name)) for name in layers]
    places += [("offset", name, student.modulation.offset_rows(name)) for name in with_offset]
    assert [row for *_, rows in places for row in range(rows.start, rows.stop)] == list(
        range(student.modulation.leave.out_channels)
    )
    bias = student.get_parameter("modulation.leave.bias")
    pictures = inputs(32, 64)
    before = student(*pictures)
    for kind, name, rows in places:
        assert rows.stop - rows.start == layers[name]
        kept = bias[rows].clone()
        bias[rows] += 0.5
        assert not torch.equal(student(*pictures), before), (kind, name)
        bias[rows] = kept
    assert torch.equal(student(*pictures), before)


def test_modulated_layers_are_named_in_the_order_in_which_they_come() -> None:
    def encoders(layers: dict[str, int]) -> list[tuple[str, int]]:
        return [(f"{picture}.{name}", layers[name]) for picture in ("infrared", "visible") for name in layers]

    assert SHAPES["joint"].residual_blocks == 0
    assert list(Student(SHAPES["joint"]).modulated_layers().items()) == [
        *encoders({"first": 16, "front": 16, "down": 32}),
        *(("joint.first", 32), ("joint.second", 64), ("wide", 16), ("lift", 16)),
        *(("back.weights", 32), ("back.constant", 16)),
    ]
    blocks = {f"{index}.{name}": 32 for index in range(2) for name in ("first", "second")}
    assert list(Student(FINE).modulated_layers().items()) == [
        *encoders({"first": 16, "fine": 8, "front": 16, "down": 32, **blocks}),
        *(("lift", 16), ("back.second", 8), ("back.third", 16), ("back.last", 16)),
    ]


def test_an_offset_of_the_constant_is_the_same_in_every_pixel_and_a_scale_is_not() -> None:
    """Of block ends; the offset counts in units of 64 grey levels."""
    student = lively(BLOCKS)
    pictures = inputs(32, 48)
    before = student(*pictures)
    bias = student.get_parameter("modulation.leave.bias")
    offset, scale = (
        rows("back.constant") for rows in (student.modulation.offset_rows, student.modulation.scale_rows)
    )
    bias[offset] += 0.5
    torch.testing.assert_close(student(*pictures), before + 32.0, rtol=1e-5, atol=1e-2)
    bias[offset] -= 0.5
    bias[scale] += 0.5
    assert float((student(*pictures) - before).std()) > 1.0


@each_shape
def test_a_picture_and_its_thumbnail_may_be_brighter_alike(shape: StudentShape) -> None:
    """By any part of a level: nothing jumps where a mean passes a half. What the level tells is left out."""
    student = lively(shape)
    nn.init.zeros_(student.modulation.leave.weight)
    infrared, visible, context = (0.5 * part + 40.0 for part in inputs(32, 64))
    before = student(infrared, visible, context)
    for more in (0.3, 0.7, 25.0):
        brighter = student(infrared + more, visible + more, context + more)
        torch.testing.assert_close(brighter, before, rtol=1e-3, atol=5e-2)
    assert float((student(infrared + 25.0, visible, context) - before).abs().max()) > 1.0


@settings(max_examples=15, deadline=None)
@given(
    ends=st.sampled_from(list(SHAPES)),
    rows=st.integers(2, 6),
    columns=st.integers(2, 6),
    count=st.integers(1, 2),
)
def test_the_output_has_the_size_of_the_pictures(ends: str, rows: int, columns: int, count: int) -> None:
    multiple = SHAPES[ends].multiple_px
    infrared, visible, context = inputs(rows * multiple, columns * multiple, count)
    assert lively(SHAPES[ends])(infrared, visible, context).shape == infrared.shape


@pytest.mark.parametrize("name", ["blocks", "short blend"])
def test_block_ends_start_as_the_average_of_both_pictures_at_equal_contrast(name: str) -> None:
    torch.manual_seed(4)
    student = Student(SHAPES[name]).requires_grad_(False)
    infrared, visible, context = inputs(48, 48)
    expected = torch.full_like(infrared, 128.0)
    for index, picture in enumerate((infrared, visible)):
        thumbnail = context[0, index].double()
        deviation = (thumbnail.var(correction=0) + 8.0**2).sqrt()
        expected += 32.0 * ((picture - thumbnail.mean()) / deviation).float()
    difference = (student(infrared, visible, context) - expected).abs()
    assert float(difference.mean()) < 3.0


def test_fine_ends_give_grey_levels() -> None:
    infrared, visible, context = inputs(48, 48)
    fused = lively(FINE)(infrared * 10.0 - 1000.0, visible, context)
    assert float(fused.min()) >= 0.0
    assert float(fused.max()) <= 255.0
    assert float(fused.std()) > 10.0


@pytest.mark.parametrize("level", [0.0, 255.0])
@each_shape
def test_flat_pictures_give_finite_values(shape: StudentShape, level: float) -> None:
    infrared, visible, context = (torch.full_like(plane, level) for plane in inputs(32, 32))
    fused = lively(shape)(infrared, visible, context)
    assert torch.isfinite(fused).all()
