from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

from irvis_runtime.errors import ContractError
from irvis_train.student import (
    BlockBack,
    Student,
    StudentShape,
    context_statistics,
    space_to_depth,
)

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


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"front_channels": 40}, "front_channels: expected a multiple of 16, got 40"),
        ({"front_channels": 0}, "front_channels: expected a multiple of 16, got 0"),
        ({"deep_channels": 48}, "deep_channels: expected a multiple of 32, got 48"),
        ({"lift_channels": -16}, "lift_channels: expected a multiple of 16, got -16"),
        ({"back_channels": 8}, "back_channels: expected a multiple of 16, got 8"),
        ({"scene_channels": 90}, "scene_channels: expected a multiple of 16, got 90"),
        ({"residual_blocks": 0}, "residual_blocks: expected 1 or more, got 0"),
        ({"back_layers": 0}, "back_layers: expected 1 or more, got 0"),
        ({"wide_channels": 8}, "wide_channels: expected 0 or a multiple of 16, got 8"),
        ({"wide_channels": -16}, "wide_channels: expected 0 or a multiple of 16, got -16"),
        ({"wide_dilations": (1, 0)}, r"wide_dilations: expected 1 or more each, got \[1, 0\]"),
    ],
)
def test_a_wrong_shape_is_refused(values: Mapping[str, Any], match: str) -> None:
    with pytest.raises(ContractError, match=match):
        StudentShape(**values)


def test_a_wide_branch_works_at_a_32nd() -> None:
    assert {name: shape.multiple_px for name, shape in SHAPES.items()} == {"blocks": 8, "wide": 32, "fine": 8}


def test_a_wide_branch_begins_as_nothing() -> None:
    narrow, wide = lively(BLOCKS), Student(SHAPES["wide"]).requires_grad_(False)
    wide.load_state_dict(narrow.state_dict(), strict=False)
    pictures = inputs(64, 96)
    torch.testing.assert_close(wide(*pictures), narrow(*pictures))
    nn.init.normal_(wide.get_parameter("wide.leave.weight"))
    assert float((wide(*pictures) - narrow(*pictures)).abs().mean()) > 1.0


def parameters_of_modulation(shape: StudentShape, rows: int) -> int:
    down = (4 * 9 + 1) * 32 + (32 * 9 + 1) * 48 + (48 * 9 + 1) * 64
    pooled = 2 * (32 + 48 + 64) + 4
    return down + (pooled + 1) * shape.scene_channels + (shape.scene_channels + 1) * 2 * rows


def test_block_ends_have_the_parameters_of_their_layers() -> None:
    shape = StudentShape()
    front, deep, lift, back = 32, 64, 32, 48
    encoder = (16 * 9 + 1) * front + (front * 9 + 1) * deep // 2 + (deep // 2 * 16 + 1) * deep
    encoder += 2 * (deep * 9 + 1) * deep
    ends = (2 * deep * 9 + 1) * 4 * lift + (lift * 9 + 1) * back + (back * 9 + 1) * 48
    rows = 2 * (deep // 2 + deep + 2 * deep) + lift + 48
    count = sum(parameter.numel() for parameter in Student(shape).parameters())
    assert count == 2 * encoder + ends + parameters_of_modulation(shape, rows) == 596_720


def test_fine_ends_have_the_parameters_of_their_layers() -> None:
    """As many as the heir of LD-Lite, width 8, has."""
    shape = StudentShape("fine", 32, 64, 2, 64, 64)
    deep = 64
    encoder = (4 * 25 + 1) * 32 + (32 * 9 + 1) * 16 + (16 * 16 + 1) * 32 + (32 * 16 + 1) * deep
    encoder += 4 * (deep * 9 + 1) * deep
    ends = (2 * deep * 9 + 1) * 256 + (64 * 9 + 1) * 128 + (32 * 9 + 1) * 64 + (256 * 9 + 1) * 16
    rows = 2 * (16 + 32 + deep + 4 * deep) + 64 + 32 + 16
    count = sum(parameter.numel() for parameter in Student(shape).parameters())
    assert count == 2 * encoder + ends + parameters_of_modulation(shape, rows)


@each_shape
def test_every_modulated_layer_takes_a_scale_and_an_offset_of_its_own(shape: StudentShape) -> None:
    """Changing one row changes the picture, and as many rows are made as are taken."""
    student = lively(shape)
    layers = student.modulated_layers()
    assert student.modulation.leave.out_channels == 2 * sum(layers.values())
    bias = student.get_parameter("modulation.leave.bias")
    pictures = inputs(32, 64)
    before = student(*pictures)
    first = 0
    for name, channels in layers.items():
        for start in (first, first + sum(layers.values())):
            rows = slice(start, start + channels)
            kept = bias[rows].clone()
            bias[rows] += 0.5
            assert not torch.equal(student(*pictures), before), name
            bias[rows] = kept
        first += channels
    assert torch.equal(student(*pictures), before)


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
        # What is nearer does change: at once, and nearly as far as that.
        assert float(difference[-changed_px:].max()) > 1.0
        assert float(difference[far : far + 64].max()) > 0.0


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
    "avg_pool2d",
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


def test_context_statistics_are_mean_and_floored_deviation() -> None:
    context = inputs(16, 16, count=2)[2]
    context[1, 1] = 7.0
    mean, deviation = context_statistics(context)
    planes = context.double().numpy()
    np.testing.assert_allclose(mean[..., 0, 0], planes.mean(axis=(2, 3)), rtol=1e-5)
    np.testing.assert_allclose(deviation[..., 0, 0], np.sqrt(planes.var(axis=(2, 3)) + 64.0), rtol=1e-5)
    assert float(deviation[1, 1]) == 8.0


@settings(max_examples=20, deadline=None)
@given(
    block=st.sampled_from([2, 4]),
    channels=st.integers(1, 3),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
)
def test_folding_puts_rows_first_then_columns_then_channels(
    block: int, channels: int, rows: int, columns: int
) -> None:
    """As ONNX SpaceToDepth; pixel_unshuffle puts the channels first."""
    planes = torch.randn(2, channels, rows * block, columns * block)
    blocks = space_to_depth(planes, block)
    assert blocks.shape == (2, channels * block**2, rows, columns)
    for row in range(block):
        for column in range(block):
            place = (row * block + column) * channels
            assert torch.equal(blocks[:, place : place + channels], planes[..., row::block, column::block])


def test_one_channel_folds_as_pixel_shuffle_unfolds() -> None:
    picture = torch.randn(2, 1, 8, 12)
    assert torch.equal(F.pixel_shuffle(space_to_depth(picture, 4), 4), picture)


@each_shape
def test_pictures_of_a_batch_do_not_mix(shape: StudentShape) -> None:
    student = lively(shape)
    infrared, visible, context = inputs(32, 64, count=2)
    together = student(infrared, visible, context)
    for index in range(2):
        alone = student(infrared[index : index + 1], visible[index : index + 1], context[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-4, atol=1e-2)
