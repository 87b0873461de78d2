from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from irvis_train.ends import BlockBack
from irvis_train.student import Student
from irvis_train.student_shape import StudentShape

SMALL: Mapping[str, Any] = {
    "front_channels": 16,
    "deep_channels": 32,
    "residual_blocks": 2,
    "lift_channels": 16,
    "back_channels": 16,
    "scene_channels": 16,
}
SHAPES = {
    "blocks": StudentShape(**SMALL),
    "wide": StudentShape(**SMALL, wide_channels=16, wide_dilations=(1, 2)),
    "joint": StudentShape(
        **{**SMALL, "residual_blocks": 0},
        wide_channels=16,
        wide_dilations=(1, 2),
        joint_channels=32,
        lift_rank=16,
    ),
    "fine": StudentShape("fine", **SMALL),
}
BLOCKS = SHAPES["blocks"]
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def lively(shape: StudentShape, seed: int = 1) -> Student:
    """A student with weights, also where it starts at zero, that let every part of it count."""
    torch.manual_seed(seed)
    student = Student(shape).eval().requires_grad_(False)
    for name, layer in student.named_modules():
        if isinstance(layer, nn.Conv2d) and not name.startswith("modulation"):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if isinstance(student.back, BlockBack):
        nn.init.normal_(student.back.blend.weight, std=0.05)
    nn.init.normal_(student.modulation.leave.weight, std=0.05)
    return student


def inputs(height: int, width: int, count: int = 1, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    infrared, visible = torch.rand(2, count, 1, height, width) * 255.0
    return infrared, visible, torch.rand(count, 2, 64, 64) * 255.0


def test_a_wide_branch_begins_as_nothing() -> None:
    """Where the thumbnails modulate nothing: the branch has rows of its own among the modulation's."""
    narrow, wide = lively(BLOCKS), Student(SHAPES["wide"]).requires_grad_(False)
    nn.init.zeros_(narrow.modulation.leave.weight)
    shared = {name: value for name, value in narrow.state_dict().items() if "modulation.leave" not in name}
    wide.load_state_dict(shared, strict=False)
    pictures = inputs(64, 96)
    torch.testing.assert_close(wide(*pictures), narrow(*pictures))
    nn.init.normal_(wide.get_parameter("wide.leave.weight"))
    assert float((wide(*pictures) - narrow(*pictures)).abs().mean()) > 1.0


def parameters_of_modulation(shape: StudentShape, scales: int, offsets: int) -> int:
    down = (4 * 9 + 1) * 32 + (32 * 9 + 1) * 48 + (48 * 9 + 1) * 64
    pooled = 2 * (32 + 48 + 64) + 4
    return down + (pooled + 1) * shape.scene_channels + (shape.scene_channels + 1) * (scales + offsets)


def parameters_of(shape: StudentShape) -> int:
    return sum(parameter.numel() for parameter in Student(shape).parameters())


def test_block_ends_have_the_parameters_of_their_layers() -> None:
    shape = StudentShape()
    front, deep, lift, back = 32, 64, 32, 48
    encoder = (16 * 9 + 1) * front + (front * 9 + 1) * deep // 2 + (deep // 2 * 16 + 1) * deep
    encoder += 2 * (deep * 9 + 1) * deep
    ends = (2 * deep * 9 + 1) * 4 * lift + (lift * 9 + 1) * back + (back * 9 + 1) * 48
    rows = 2 * (deep // 2 + deep + 2 * deep) + lift + 48
    expected = 2 * encoder + ends + parameters_of_modulation(shape, rows, 16)
    assert parameters_of(shape) == expected == 547_056


def test_a_joint_block_a_split_lift_and_a_wide_branch_have_the_parameters_of_their_layers() -> None:
    plain = StudentShape()
    shape = StudentShape(joint_channels=96, lift_rank=16, wide_channels=48, wide_dilations=(1, 2))
    deep, lifted = 2 * 64, 4 * 32
    joint = (deep * 9 + 1) * 96 + (96 * 9 + 1) * deep
    wide = (deep * 16 + 1) * 48 + 2 * (48 * 9 + 1) * 48 + (48 + 1) * deep
    saved = (deep * 9 + 1) * lifted - (deep * 9 + 1) * 16 - (16 + 1) * lifted
    scene = (shape.scene_channels + 1) * (96 + deep + 2 * 48)
    assert parameters_of(shape) == parameters_of(plain) + joint + wide - saved + scene


def test_fine_ends_have_the_parameters_of_their_layers() -> None:
    """As many as the heir of LD-Lite, width 8, has."""
    shape = StudentShape("fine", 32, 64, 2, 64, 64)
    deep = 64
    encoder = (4 * 25 + 1) * 32 + (32 * 9 + 1) * 16 + (16 * 16 + 1) * 32 + (32 * 16 + 1) * deep
    encoder += 4 * (deep * 9 + 1) * deep
    ends = (2 * deep * 9 + 1) * 256 + (64 * 9 + 1) * 128 + (32 * 9 + 1) * 64 + (256 * 9 + 1) * 16
    rows = 2 * (16 + 32 + deep + 4 * deep) + 64 + 32 + 16
    assert parameters_of(shape) == 2 * encoder + ends + parameters_of_modulation(shape, rows, rows)


@each_shape
def test_every_modulated_layer_takes_what_is_its_own(shape: StudentShape) -> None:
    """A scale each, an offset some; changing one changes the picture, and as many are made as are taken."""
    student = lively(shape)
    layers = student.modulated_layers()
    is_fine = shape.ends == "fine"
    with_offset = [name for name in layers if is_fine or name in ("wide", "back.constant")]
    taken = [("scale", name) for name in layers] + [("offset", name) for name in with_offset]
    assert student.modulation.leave.out_channels == sum(layers[name] for _, name in taken)
    bias = student.get_parameter("modulation.leave.bias")
    pictures = inputs(32, 64)
    before, first = student(*pictures), 0
    for kind, name in taken:
        rows = slice(first, first + layers[name])
        kept = bias[rows].clone()
        bias[rows] += 0.5
        assert not torch.equal(student(*pictures), before), (kind, name)
        bias[rows] = kept
        first += layers[name]
    assert torch.equal(student(*pictures), before)


def test_modulated_layers_are_named_in_the_order_in_which_they_come() -> None:
    encoders = [f"{picture}.{name}" for picture in ("infrared", "visible") for name in ("front", "down")]
    assert SHAPES["joint"].residual_blocks == 0
    assert list(Student(SHAPES["joint"]).modulated_layers().items()) == [
        *zip(encoders, (16, 32, 16, 32), strict=True),
        *(("joint.first", 32), ("joint.second", 64), ("wide", 16), ("lift", 16)),
        *(("back.weights", 32), ("back.constant", 16)),
    ]


def test_an_offset_of_the_constant_is_the_same_in_every_pixel_and_a_scale_is_not() -> None:
    """Of block ends; the offset counts in units of 64 grey levels."""
    student = lively(BLOCKS)
    pictures = inputs(32, 48)
    before = student(*pictures)
    bias = student.get_parameter("modulation.leave.bias")
    bias[-16:] += 0.5
    torch.testing.assert_close(student(*pictures), before + 32.0, rtol=1e-5, atol=1e-2)
    bias[-16:] -= 0.5
    bias[-32:-16] += 0.5
    assert float((student(*pictures) - before).std()) > 1.0


@each_shape
def test_pictures_are_normalised_with_whole_levels(shape: StudentShape) -> None:
    """A thumbnail's mean of 99.7 or 100.3 counts as 100, one of 100.7 as 101."""
    student = lively(shape)
    nn.init.zeros_(student.modulation.leave.weight)
    infrared, visible, context = inputs(32, 64)
    means = torch.tensor([100.0, 57.0])[:, None, None]
    context = context * 0.5 - (context * 0.5).mean(dim=(2, 3), keepdim=True) + means
    before = student(infrared, visible, context + 0.3)
    torch.testing.assert_close(student(infrared, visible, context - 0.3), before, rtol=1e-4, atol=1e-2)
    beyond = student(infrared, visible, context + 0.7)
    torch.testing.assert_close(
        beyond, student(infrared - 1.0, visible - 1.0, context + 0.3), rtol=1e-4, atol=1e-2
    )
    assert float((beyond - before).abs().max()) > 0.1


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


def test_block_ends_start_as_the_average_of_both_pictures_at_equal_contrast() -> None:
    torch.manual_seed(4)
    student = Student(BLOCKS).requires_grad_(False)
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
    fused = lively(SHAPES["fine"])(infrared * 10.0 - 1000.0, visible, context)
    assert float(fused.min()) >= 0.0
    assert float(fused.max()) <= 255.0
    assert float(fused.std()) > 10.0


# How far a change reaches: the front's layers, each convolution at an eighth, and the way back up.
REACH_PX = {
    "blocks": 4 * 2 + 8 * (2 + 2 * 2) + 8 * 2 + 4 * 3,
    "fine": 8 + 8 * (2 + 2 * 2) + 8 * 2 + 4 * 2 + 8,
}
REACH_PX["wide"] = REACH_PX["blocks"] + 32 * (1 + 2 + 2)
REACH_PX["joint"] = REACH_PX["wide"] - 8 * 2


@pytest.mark.parametrize("ends", SHAPES)
def test_a_far_change_changes_nothing_here(ends: str) -> None:
    """Beyond the receptive field, at the same context, not one bit differs."""
    student = lively(SHAPES[ends])
    width, changed_px = 416, 32
    infrared, visible, context = inputs(32, width)
    before = student(infrared, visible, context)
    for at_the_right in (True, False):
        changed = [picture.clone() for picture in (infrared, visible)]
        for picture in changed:
            window = picture[..., -changed_px:] if at_the_right else picture[..., :changed_px]
            window.copy_(255.0 - window)
        difference = (student(*changed, context) - before).abs()[0, 0].amax(dim=0)
        if not at_the_right:
            difference = difference.flip(0)
        far = width - changed_px - REACH_PX[ends]
        assert float(difference[:far].max()) == 0.0
        # What is nearer does change: at once, and nearly as far as that, up to the coarsest grid's cells.
        near = far + 48 + SHAPES[ends].multiple_px
        assert float(difference[-changed_px:].max()) > 1.0
        assert float(difference[far:near].max()) > 0.0


@each_shape
def test_the_context_reaches_every_pixel(shape: StudentShape) -> None:
    student = lively(shape)
    infrared, visible, context = inputs(64, 64)
    darker = student(infrared, visible, context * 0.5)
    assert float(((darker - student(infrared, visible, context)).abs() > 0.0).float().mean()) > 0.99


@pytest.mark.parametrize("ends", SHAPES)
def test_tiles_of_one_picture_agree_where_they_see_the_same(ends: str) -> None:
    student = lively(SHAPES[ends])
    reach_px = REACH_PX[ends]
    infrared, visible, context = inputs(32, 480)
    whole = student(infrared, visible, context)
    tile = student(infrared[..., 160:], visible[..., 160:], context)
    torch.testing.assert_close(tile[..., reach_px:], whole[..., 160 + reach_px :], rtol=1e-4, atol=1e-2)


LOCAL = {
    "convolution",
    "relu",
    "pixel_unshuffle",
    "pixel_shuffle",
    "constant_pad_nd",
    "cat",
    "add",
    "sub",
    "mul",
    "clamp",
    "split",
    "sigmoid",
    "upsample_bilinear2d",
    # What folding many channels by two is made of.
    "view",
    "_unsafe_view",
    "transpose",
    "clone",
}


def operators(student: nn.Module, *pictures: Tensor) -> set[tuple[str, tuple[int, ...]]]:
    """Each operator that runs, with the spatial size of what goes in."""
    return {
        (str(node.target).split(".")[1], tuple(source.meta["val"].shape[2:]))
        for node in make_fx(student)(*pictures).graph.nodes
        for source in node.all_input_nodes
        if node.op == "call_function" and isinstance(source.meta.get("val"), Tensor)
    }


@each_shape
def test_only_local_operators_touch_the_pictures(shape: StudentShape) -> None:
    """What looks at a whole plane (means, norms, pools) may look at the thumbnails only."""
    seen = operators(lively(shape), *inputs(96, 160))
    planes = {(96, 160), (24, 40), (12, 20)}
    assert planes <= {size for _, size in seen}
    of_the_thumbnails = {(64, 64), (32, 32), (16, 16), (8, 8), (1, 1), ()}
    assert {name for name, size in seen if size not in of_the_thumbnails} <= LOCAL
    assert ("mean", (64, 64)) in seen


@each_shape
def test_there_is_no_norm_layer(shape: StudentShape) -> None:
    for name, module in Student(shape).named_modules():
        assert "norm" not in type(module).__name__.lower(), name
        assert "pool" not in type(module).__name__.lower(), name


@pytest.mark.parametrize("level", [0.0, 255.0])
@each_shape
def test_flat_pictures_give_finite_values(shape: StudentShape, level: float) -> None:
    infrared, visible, context = (torch.full_like(plane, level) for plane in inputs(32, 32))
    fused = lively(shape)(infrared, visible, context)
    assert torch.isfinite(fused).all()


@each_shape
def test_pictures_of_a_batch_do_not_mix(shape: StudentShape) -> None:
    student = lively(shape)
    infrared, visible, context = inputs(32, 64, count=2)
    together = student(infrared, visible, context)
    for index in range(2):
        alone = student(infrared[index : index + 1], visible[index : index + 1], context[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-4, atol=1e-2)
