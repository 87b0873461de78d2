"""What reaches what: the pictures only what is near, the thumbnails everything."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from irvis_train.student import Student
from irvis_train.student_shape import StudentShape

from .students import SHAPES, each_shape, inputs, lively

# How far a change reaches: the front's layers, each convolution at an eighth, and the way back up.
REACH_PX = {
    "blocks": 4 * 2 + 8 * (2 + 2 * 2) + 8 * 2 + 4 * 3,
    "fine": 8 + 8 * (2 + 2 * 2) + 8 * 2 + 4 * 2 + 8,
}
REACH_PX["short blend"] = REACH_PX["blocks"] - 4
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
    "reflection_pad2d",
    "slice",
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
    # Themselves, the differences of four sizes, and what is made of these.
    of_the_thumbnails = {(64, 64), (62, 62), (30, 30), (14, 14), (6, 6), (1, 1), ()}
    assert {name for name, size in seen if size not in of_the_thumbnails} <= LOCAL
    assert ("mean", (64, 64)) in seen


@each_shape
def test_there_is_no_norm_layer(shape: StudentShape) -> None:
    for name, module in Student(shape).named_modules():
        assert "norm" not in type(module).__name__.lower(), name
        assert "pool" not in type(module).__name__.lower(), name


@each_shape
def test_pictures_of_a_batch_do_not_mix(shape: StudentShape) -> None:
    student = lively(shape)
    infrared, visible, context = inputs(32, 64, count=2)
    together = student(infrared, visible, context)
    for index in range(2):
        alone = student(infrared[index : index + 1], visible[index : index + 1], context[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-4, atol=1e-2)
