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

from irvis_runtime.errors import ContractError
from irvis_train.student import (
    BLOCK_PX,
    MULTIPLE_PX,
    Student,
    StudentShape,
    context_statistics,
    depth_to_space,
    space_to_depth,
)

SMALL = StudentShape(channels=16, trunk_layers=1, wide_channels=16, dilations=(1, 2))


def lively(shape: StudentShape, seed: int = 1) -> Student:
    """A student whose last convolution has weights large enough to show what comes before it."""
    torch.manual_seed(seed)
    student = Student(shape).eval().requires_grad_(False)
    nn.init.normal_(student.blend.weight, std=0.05)
    return student


def inputs(height: int, width: int, count: int = 1, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    infrared, visible = torch.rand(2, count, 1, height, width) * 255.0
    return infrared, visible, torch.rand(count, 2, 64, 64) * 255.0


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"channels": 40}, "channels: expected a multiple of 16, got 40"),
        ({"channels": 0}, "channels: expected a multiple of 16, got 0"),
        ({"wide_channels": -16}, "wide_channels: expected a multiple of 16, got -16"),
        ({"trunk_layers": 0}, "trunk_layers: expected 1 or more, got 0"),
        ({"dilations": (1, 0)}, r"dilations: expected 1 or more each, got \[1, 0\]"),
    ],
)
def test_a_wrong_shape_is_refused(values: Mapping[str, Any], match: str) -> None:
    with pytest.raises(ContractError, match=match):
        StudentShape(**values)


def test_the_shipped_shape_has_the_parameters_of_its_layers() -> None:
    shape = StudentShape()
    c, w, layers = shape.channels, shape.wide_channels, 1 + len(shape.dilations)
    trunk = (32 * 9 + 1) * c + shape.trunk_layers * (9 * c + 1) * c + (9 * c + 1) * 48
    wide = (16 * c + 1) * w + len(shape.dilations) * (9 * w + 1) * w + (w + 1) * 16 * c
    down = (2 * 9 + 1) * 16 + (16 * 9 + 1) * 32 + (32 * 9 + 1) * 64
    mix = (68 + 1) * 128 + (128 + 1) * layers * w
    count = sum(parameter.numel() for parameter in Student(shape).parameters())
    assert count == trunk + wide + down + mix == 507_776


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 6), columns=st.integers(1, 6), count=st.integers(1, 2))
def test_the_output_has_the_size_of_the_pictures(rows: int, columns: int, count: int) -> None:
    infrared, visible, context = inputs(rows * MULTIPLE_PX, columns * MULTIPLE_PX, count)
    assert lively(SMALL)(infrared, visible, context).shape == infrared.shape


def test_folding_the_blend_scale_changes_no_bit() -> None:
    """BLEND_SCALE is a power of two, so that moving it into the weights rounds nothing."""
    student = lively(StudentShape())
    pictures = inputs(64, 96)
    before = student(*pictures)
    weight = student.blend.weight.clone()
    student.fold_blend_scale()
    assert torch.equal(student(*pictures), before)
    assert torch.equal(student.blend.weight, 64.0 * weight)
    student.fold_blend_scale()
    assert torch.equal(student(*pictures), before)


def test_it_starts_as_the_average_of_both_pictures_at_equal_contrast() -> None:
    torch.manual_seed(4)
    student = Student(SMALL).requires_grad_(False)
    infrared, visible, context = inputs(48, 48)
    expected = torch.full_like(infrared, 128.0)
    for index, picture in enumerate((infrared, visible)):
        thumbnail = context[0, index].double()
        deviation = (thumbnail.var(correction=0) + 8.0**2).sqrt()
        expected += 32.0 * ((picture - thumbnail.mean()) / deviation).float()
    difference = (student(infrared, visible, context) - expected).abs()
    assert float(difference.mean()) < 3.0


def test_a_far_change_changes_nothing_here() -> None:
    """Beyond the receptive field, at the same context, not one bit differs."""
    student = lively(StudentShape())
    # Head, three trunk layers and blend reach a block of 4 pixels each, the dilated layers their sum in
    # blocks of 16, and a change at the rim of such a block reaches the next.
    reach_px = 4 * (1 + 3 + 1) + 16 * (sum(student.shape.dilations) + 1)
    width = 704
    infrared, visible, context = inputs(16, width)
    before = student(infrared, visible, context)
    changed = [picture.clone() for picture in (infrared, visible)]
    for picture in changed:
        picture[..., -16:] = 255.0 - picture[..., -16:]
    difference = (student(*changed, context) - before).abs()[0, 0].amax(dim=0)
    far = width - 16 - reach_px
    assert float(difference[:far].max()) == 0.0
    # What is nearer does change, up to the edge of what the dilated layers see.
    assert float(difference[-16:].max()) > 1.0
    assert float(difference[far : far + 64].max()) > 0.0


def test_the_context_reaches_every_pixel() -> None:
    student = lively(SMALL)
    infrared, visible, context = inputs(64, 64)
    darker = student(infrared, visible, context * 0.5)
    assert float((darker - student(infrared, visible, context)).abs().min()) > 0.0


def test_tiles_of_one_picture_agree_where_they_see_the_same() -> None:
    student = lively(SMALL)
    reach_px = 4 * 3 + 16 * (1 + 2 + 1)
    infrared, visible, context = inputs(32, 320)
    whole = student(infrared, visible, context)
    tile = student(infrared[..., 160:], visible[..., 160:], context)
    torch.testing.assert_close(tile[..., reach_px:], whole[..., 160 + reach_px :], rtol=1e-5, atol=1e-3)


LOCAL = {
    "convolution",
    "relu",
    "pixel_unshuffle",
    "pixel_shuffle",
    "cat",
    "add",
    "sub",
    "mul",
    "clamp",
    "split",
}


def operators(student: nn.Module, *pictures: Tensor) -> set[tuple[str, tuple[int, ...]]]:
    """Each operator that runs, with the spatial size of what goes in."""
    return {
        (str(node.target).split(".")[1], tuple(source.meta["val"].shape[2:]))
        for node in make_fx(student)(*pictures).graph.nodes
        for source in node.all_input_nodes
        if node.op == "call_function" and isinstance(source.meta.get("val"), Tensor)
    }


def test_only_local_operators_touch_the_pictures() -> None:
    """What looks at a whole plane (means, norms, pools) may look at the thumbnails only."""
    seen = operators(lively(StudentShape()), *inputs(96, 160))
    planes = {(96, 160), (24, 40), (6, 10)}
    assert planes <= {size for _, size in seen}
    assert {name for name, size in seen if size in planes} <= LOCAL
    assert ("mean", (64, 64)) in seen


def test_there_is_no_norm_layer() -> None:
    for name, module in Student(StudentShape()).named_modules():
        assert "norm" not in type(module).__name__.lower(), name
        assert "pool" not in type(module).__name__.lower(), name


@pytest.mark.parametrize("level", [0.0, 255.0])
def test_flat_pictures_give_finite_values(level: float) -> None:
    infrared, visible, context = (torch.full_like(plane, level) for plane in inputs(32, 32))
    fused = lively(StudentShape())(infrared, visible, context)
    assert torch.isfinite(fused).all()


def test_context_statistics_are_mean_and_floored_deviation() -> None:
    context = inputs(16, 16, count=2)[2]
    context[1, 1] = 7.0
    mean, deviation = context_statistics(context)
    planes = context.double().numpy()
    np.testing.assert_allclose(mean[..., 0, 0], planes.mean(axis=(2, 3)), rtol=1e-5)
    np.testing.assert_allclose(deviation[..., 0, 0], np.sqrt(planes.var(axis=(2, 3)) + 64.0), rtol=1e-5)
    assert float(deviation[1, 1]) == 8.0


def test_folding_into_blocks_and_back_is_exact_and_rows_come_first() -> None:
    picture = torch.arange(2 * 8 * 12, dtype=torch.float32).reshape(2, 1, 8, 12)
    blocks = space_to_depth(picture)
    assert torch.equal(depth_to_space(blocks), picture)
    for row in range(BLOCK_PX):
        for column in range(BLOCK_PX):
            assert torch.equal(
                blocks[:, BLOCK_PX * row + column], picture[:, 0, row::BLOCK_PX, column::BLOCK_PX]
            )


def test_pictures_of_a_batch_do_not_mix() -> None:
    student = lively(SMALL)
    infrared, visible, context = inputs(32, 48, count=2)
    together = student(infrared, visible, context)
    for index in range(2):
        alone = student(infrared[index : index + 1], visible[index : index + 1], context[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-5, atol=1e-3)
