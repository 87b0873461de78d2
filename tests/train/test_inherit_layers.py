"""The teacher's convolutions rewritten for a student's blocks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_train import scene_fit
from irvis_train.data import as_tensor
from irvis_train.ends import LIFT_PADDING, FineBack, space_to_depth
from irvis_train.inherit import heir_of, norm_rows, on_blocks
from irvis_train.ldfusion import LayerNorm, LdFusion
from irvis_train.modulation import context_statistics

from .teachers import blobs, random_teacher


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
    rows = norm_rows(teacher, [pair])
    heir = heir_of(teacher, [pair], 16)
    assert isinstance(heir.back, FineBack)
    for index, layer in enumerate((heir.lift, heir.back.second, heir.back.third)):
        source, norm = teacher.decoder.model_up[3 * index], teacher.decoder.model_up[3 * index + 1]
        assert isinstance(source, nn.ConvTranspose2d)
        features = torch.randn(2, source.in_channels, height, width)
        usual = rows[f"decoder.model_up.{3 * index + 1}"].usual()
        whole = F.conv_transpose2d(features, source.weight, source.bias, stride=2)
        normal = (whole * usual.scale - usual.centre) * norm.get_parameter("gamma")[:, None, None]
        expected = (normal + norm.get_parameter("beta")[:, None, None])[..., : 2 * height, : 2 * width]
        if index == 0:
            # The student has infrared before visible.
            features = features.roll(source.in_channels // 2, dims=1)
        with torch.no_grad():
            found = F.pixel_shuffle(layer(F.pad(features, LIFT_PADDING)), 2)
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


# The teacher's convolution, the norm behind it, and the student's layer and modulation that are both.
ENCODED = {
    "front": ("model.7", "model.8", "front.third"),
    "down": ("model.10", "model.11", "down"),
    "0.first": ("model.13.block.1", "model.13.block.2", "blocks.0.first"),
    "0.second": ("model.13.block.5", "model.13.block.6", "blocks.0.second"),
    "1.first": ("model.14.block.1", "model.14.block.2", "blocks.1.first"),
    "1.second": ("model.14.block.5", "model.14.block.6", "blocks.1.second"),
}
DECODED = {"lift": 0, "back.second": 3, "back.third": 6}


def watched(teacher: LdFusion) -> dict[str, tuple[Tensor, Tensor]]:
    """What each convolution and norm was given last and what it gave, by its name."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        def note(module: nn.Module, taken: tuple[Tensor], given: Tensor) -> None:
            seen[name] = (taken[0], given)

        return note

    for name, module in teacher.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d, LayerNorm)):
            module.register_forward_hook(watch(name))
    return seen


def test_each_modulated_layer_does_what_the_norm_behind_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each of some pictures, on the teacher's own features, where the fit holds nothing back."""
    monkeypatch.setattr(scene_fit, "RIDGE", 1e-7)
    teacher, pairs = random_teacher(4), [blobs(48, 64, seed) for seed in range(4)]
    heir = heir_of(teacher, pairs, 16).requires_grad_(False)
    seen = watched(teacher)
    for pair in pairs:
        teacher(as_tensor(pair.infrared_hw), as_tensor(pair.visible_hw))
        context = pair.context_2hw[None]
        made = heir.modulation(context, *context_statistics(context))
        given = dict(zip(heir.modulated_layers(), made, strict=True))
        for picture, number in (("infrared", 2), ("visible", 1)):
            for name, (source, norm, path) in ENCODED.items():
                prefix, layer = f"encoder.content_encoder{number}.", f"{picture}.{path}"
                own, convolution = heir.get_submodule(layer), teacher.get_submodule(prefix + source)
                assert isinstance(own, nn.Conv2d)
                assert isinstance(convolution, nn.Conv2d)
                taken = seen[prefix + source][0]
                scale, offset = given[f"{picture}.{name}"]
                found = F.conv2d(taken, own.weight, own.bias, convolution.stride, convolution.padding)
                expected = seen[prefix + norm][1]
                torch.testing.assert_close(found * scale + offset, expected, rtol=0, atol=1e-3, msg=name)
        for name, index in DECODED.items():
            taken = seen[f"decoder.model_up.{index}"][0]
            if name == "lift":
                # The student has infrared before visible.
                taken = taken.roll(taken.shape[1] // 2, dims=1)
            scale, offset = given[name]
            found = heir.get_submodule(name)(F.pad(taken, LIFT_PADDING))
            if name == "back.third":
                # Modulated on blocks of four pixels, the others pixel by pixel.
                found = F.pixel_shuffle(found * scale + offset, 2)
            else:
                found = F.pixel_shuffle(found, 2) * scale + offset
            expected = seen[f"decoder.model_up.{index + 1}"][1][..., : found.shape[-2], : found.shape[-1]]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-3, msg=name)
